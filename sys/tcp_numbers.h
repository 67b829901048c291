/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_TCP_NUMBERS_H
#define HF_SYS_TCP_NUMBERS_H

/* What the kernel says of a connection in one call each, in the terms of struct hf_conn. All that
 * return something return 0 or a negative errno. */
#include "lib/conn.h"

struct tcp_info;

/* What this kernel does not fill in is 0. */
int hf_tcp_get_info(int sock, struct tcp_info *info);

/* What the two ends agreed on in their handshake: options and window scales. */
void hf_tcp_agreed(struct hf_conn *conn, const struct tcp_info *info);

/* The clock of its timestamps: it runs on. */
int hf_tcp_get_timestamp(int sock, struct hf_conn *conn);

/* Repair mode only. */
int hf_tcp_get_window(int sock, struct hf_window *window);

#endif
