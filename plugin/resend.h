/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_RESEND_H
#define HF_PLUGIN_RESEND_H

#include <stdint.h>

#include "lib/conn.h"
#include "lib/resend.h"
#include "sys/raw_socket.h"

/* Sends again what was under way, as chosen: of a socket that has just been resumed. `image` is the
 * image's file. */
void hf_resend(
	int sock, const struct hf_conn *conn, enum hf_resend how, struct hf_raw *raw, int image);

/* Sees to it that everything has gone out, when all have been started; one of each a connection. */
void hf_resend_finish(
	const int *socks, const struct hf_conn *conns, const enum hf_resend *how, uint32_t n);

#endif
