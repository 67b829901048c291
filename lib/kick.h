/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_KICK_H
#define HF_LIB_KICK_H

/*
 * A peer that was held off has doubled its retransmission timer at every try, and may wait as long
 * again as the outage has lasted. An ICMP error that says that its segment could not be delivered
 * makes its TCP undo one doubling (RFC 6069; tcp_ld_RTO_revert()), and when the time for that has
 * passed already, send again at once.
 *
 * The kernel does so where the error quotes the first byte that the peer has not seen acknowledged,
 * and something was sent again; else it is not changed by it. Its application sees at most one soft
 * error, in SO_ERROR, unless it asked for errors by IP_RECVERR.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/segment.h"

#define HF_KICK_SIZE 128 /* bytes of the longest packet */

/*
 * How many errors a peer gets after an outage of so many seconds: as many as it can have doubled
 * its timer, from the 200 ms with which Linux begins (TCP_RTO_MIN), and two more for a timer that
 * began lower. At most 8, after which Linux waits two minutes.
 */
unsigned int hf_kick_count(uint64_t outage_s);

/*
 * When a peer is seen to. What wakes it is a burst of packets, and where there are many peers those
 * that need it keep others from running: so they come first, and all others are asked about, of the
 * kernel, before anything is sent to them.
 *
 * True if the peer gets its errors at once: it was sending, and did not pause as far as is known.
 */
bool hf_kick_at_once(const struct hf_conn *conn);

/* How long after the first word the peer is asked about: an answer would have come. Microseconds.
 */
uint32_t hf_kick_due_us(const struct hf_conn *conn);

/* True if the peer may be sending again: not where it has finished, or is not connected yet. */
bool hf_kick_wanted(const struct hf_conn *conn);

/*
 * Our acknowledgement of all that has arrived, with the real window. Before the error: the peer may
 * not have seen it when the lock came, and the error would then quote nothing that it waits for.
 * After a prelude (lib/prelude.h): it opens the window.
 *
 * Its timestamp is that of the reading, which is not older than any that the peer knows, unless the
 * kernel has sent since. What it echoes is not known: 0, which counts for nothing (RFC 7323
 * section 3.2).
 */
struct hf_segment hf_kick_ack(const struct hf_conn *conn);

/*
 * The first word of n: the same acknowledgement, without a timestamp. What our kernel sends again
 * meanwhile has a later one, but tells no window that counts: it begins before what the peer
 * expects. Linux takes a segment without one.
 *
 * Peers that have paused all go on in the same moment, each with a first window of its own; where
 * they are many that is more than a network takes, and those that come last would wait for what the
 * first have had in store. So it offers them a share only, two segments at least, and our kernel
 * offers all as soon as it has heard from them.
 */
struct hf_segment hf_kick_first_word(const struct hf_conn *conn, uint32_t n);

/*
 * The error as a whole packet, as raw(7) with IP_HDRINCL takes it: from our address to the peer,
 * host unreachable (IPv4) or no route (IPv6; the only code that counts there). It quotes a segment
 * of the peer that begins with recv.seq. Returns its length.
 */
size_t hf_kick_build(uint8_t buf[HF_KICK_SIZE], const struct hf_conn *conn);

#endif
