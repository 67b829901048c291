/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_TCP_PEEK_H
#define HF_SYS_TCP_PEEK_H

/* A live connection: its numbers, for a segment in its name (lib/prelude.h), and a push. */
#include <stdint.h>

#include "lib/conn.h"
#include "lib/error.h"
#include "lib/prelude.h"

/* What changes when something arrives. */
struct hf_tcp_pulse {
	uint64_t bytes;        /* in order */
	uint32_t out_of_order; /* packets */
};

/*
 * Fills in state, sequence numbers, window scales, timestamp and receive window of an identified
 * socket, as hf_tcp_read() does: all that hf_kick_ack() takes. What arrives meanwhile is not in
 * *pulse, which is taken first. The socket is in repair mode for a moment if it has a stream, and
 * hf_tcp_thaw() undoes one that was broken off. Returns 0; 1, and only the pulse and the state, if
 * nothing has arrived for longer than silent_ms; or a negative errno.
 */
int hf_tcp_peek(int sock, struct hf_conn *conn, uint32_t silent_ms, struct hf_tcp_pulse *pulse,
	struct hf_rtt *rtt, struct hf_error *err);

/*
 * Sends what is queued and may go. Where a lock had refused it the kernel would try again after a
 * timer, 200 ms at least.
 */
void hf_tcp_flush(int sock);

int hf_tcp_pulse(int sock, struct hf_tcp_pulse *pulse, struct hf_error *err);

#endif
