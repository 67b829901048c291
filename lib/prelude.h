/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_PRELUDE_H
#define HF_LIB_PRELUDE_H

/*
 * Before the lock closes, each peer is told that our window is full. It then stops of itself, and
 * after the restore the real window makes it go on at once; a peer that runs into the lock instead
 * doubles its retransmission timer at every try.
 *
 *   1. The lock holds what we send: the kernel would tell the peer of its real window.
 *   2. A segment made by hand acknowledges all that has arrived, with a window of 0.
 *   3. What was under way arrives within a round trip; we wait for it, within limits.
 *   4. A second one acknowledges that.
 *   5. The lock closes.
 *   6. After the unlock lib/kick.h's acknowledgement tells the real window.
 *
 * This takes back a window that the peer may have used already. RFC 9293 section 3.8.6 discourages
 * that and says what a sender must do about it: not fail, send nothing new, and go on to send again
 * what is not acknowledged. So a peer of any make keeps its data; only time is at stake, unless it
 * gives up sooner when it asks for a window than when it sends again (lwIP does: 7.5 minutes).
 * Where a segment of ours is lost, the peer runs into the lock, or later asks for the window (the
 * same RFC, section 3.8.6.1), as any peer must.
 *
 * Linux before 6.7, and lwIP, ignore a smaller window that acknowledges nothing new: with such
 * peers this works where something of theirs is not acknowledged yet.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/segment.h"

/*
 * True if the peer is to be told: it may be sending, and our side takes what it sends.
 *
 * Not within one address: what a connection sends over the loopback device is not held
 * (lib/lock_rules.h), so that the kernel's next acknowledgement would open the window again.
 *
 * Not where a segment got lost, and one behind it is here: its last window update has a sequence
 * number that is still to come. Linux would send the lost one again and double its timer with a
 * window of 0 too, but would then not listen to ICMP errors (tcp_retransmit_timer(),
 * tcp_ld_RTO_revert()).
 */
bool hf_prelude_wanted(const struct hf_conn *conn);

/* True if the peer has that address. */
bool hf_prelude_is_at(const struct hf_conn *conn, const struct hf_address *address);

/* Step 2 and 4. */
struct hf_segment hf_prelude_ack(const struct hf_conn *conn);

/* What the kernel knows of a connection's round-trip time, in microseconds, as struct tcp_info has
 * it. */
struct hf_rtt {
	uint32_t least;    /* tcpi_min_rtt; UINT32_MAX: unknown */
	uint32_t smoothed; /* tcpi_rtt; 0: unknown */
	uint32_t received; /* tcpi_rcv_rtt, measured by what is received; 0: unknown */
};

/* The best that is known, in microseconds; 0 for nothing. The least time counts: others may have
 * the peer's delayed acknowledgements in them. */
uint32_t hf_rtt_us(const struct hf_rtt *rtt);

/*
 * How long to wait until what such a peer had under way is here, in microseconds, at most the
 * limit; 0 where its round trip is longer than that.
 */
uint64_t hf_prelude_wait_us(const struct hf_rtt *rtt, uint64_t limit_us);

#endif
