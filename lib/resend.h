/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_RESEND_H
#define HF_LIB_RESEND_H

/*
 * Data that we had sent before the dump and that nobody has acknowledged. It may be lost, and a
 * restored socket knows no round-trip time: its kernel would send it again after 1 to 4 s. What is
 * done about that, docs/resume.md:
 *
 *   HELD        Where all of it fits into the first window, it is queued as if it had never been
 *               sent, and goes out when repair mode ends.
 *   TAIL        Else, with SACK, its last bytes are sent once more by hand. The peer's SACK for
 *               them shows what is missing, and the kernel sends that (RFC 8985).
 *   DUPLICATES  Else, without SACK, the socket gets the duplicate acknowledgements by which the
 *               peer would say the same (RFC 5681 section 3.2).
 *
 * None of them can lose anything: what the peer has already it ignores and acknowledges, and what
 * is lost now the kernel sends by its timer.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/segment.h"

enum hf_resend {
	HF_RESEND_BY_TIMER,
	HF_RESEND_HELD,
	HF_RESEND_TAIL,
	HF_RESEND_DUPLICATES,
};

/* What is allowed, holdfast.conf(5). */
struct hf_resend_rules {
	bool hold;       /* hold-back: HELD and TAIL */
	bool duplicates; /* duplicate-acks */
};

/* What the kernel would send of a new connection without hearing from the peer. */
struct hf_first_window {
	uint32_t packets; /* congestion window */
	uint32_t mss;     /* bytes of data in each */
	bool paced;       /* not all at once: the program has set SO_MAX_PACING_RATE */
};

/* Packets of one byte each that end the queue: so many that have a SACK make the kernel sure that
 * what is before them is lost, and not just late (kernel tcp_rack_reo_wnd()). */
#define HF_RESEND_TAIL_BYTES 3

/* Three, and one that counts as a window update. */
#define HF_RESEND_N_DUPLICATES 4

/* True if data, or our FIN, was sent and not acknowledged. */
bool hf_resend_wanted(const struct hf_conn *conn);

/* How to send it again; hf_resend_wanted() is true. */
enum hf_resend hf_resend_choose(const struct hf_conn *conn, const struct hf_resend_rules *rules,
	const struct hf_first_window *first);

/* HELD: makes all of it count as unsent, for the steps of lib/tcp_state.h. */
void hf_resend_hold(struct hf_conn *conn);

/* TAIL: where it begins in the send queue. */
uint32_t hf_resend_tail_at(const struct hf_conn *conn);

/* TAIL: the segment with byte `i` of the tail, from us to the peer. */
struct hf_segment hf_resend_tail(const struct hf_conn *conn, unsigned int i, uint8_t byte);

/* DUPLICATES: the segment, from the peer to us. */
struct hf_segment hf_resend_duplicate(const struct hf_conn *conn);

#endif
