/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_UNREACHABLE_H
#define HF_PLUGIN_UNREACHABLE_H

/* Connections that cannot be had where they are restored, and are closed for that
 * (on-unreachable = close). */
#include <stdbool.h>

#include "lib/conn.h"
#include "sys/raw_socket.h"

/* True if hf_tcp_rebuild() failed because of the connection's addresses: the local one is not here,
 * the peer cannot be reached from here, another socket has them. */
bool hf_unreachable(int ret);

/*
 * Tells the peer by RSTs. A peer takes one that has the very sequence number which it expects (RFC
 * 5961 section 3.2); that is one of a few, since we do not know what has arrived.
 */
void hf_unreachable_tell(struct hf_raw *raw, const struct hf_conn *conn);

#endif
