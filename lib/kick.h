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
 * The error as a whole packet, as raw(7) with IP_HDRINCL takes it: from our address to the peer,
 * host unreachable (IPv4) or no route (IPv6; the only code that counts there). It quotes a segment
 * of the peer that begins with recv.seq. Returns its length.
 */
size_t hf_kick_build(uint8_t buf[HF_KICK_SIZE], const struct hf_conn *conn);

#endif
