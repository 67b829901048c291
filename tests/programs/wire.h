/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What hf-peer and hf-server say to each other. Both run on one machine, so the numbers are in
 * host byte order.
 *
 * The peer connects and sends a header, the server answers with a hello. Then both directions carry
 * the pattern of stream.h, each from position 0. The connection ends in one way only: the peer
 * shuts down its sending side; the server, having read everything, stops, sends a trailer with the
 * totals and closes.
 */
#ifndef HF_TEST_WIRE_H
#define HF_TEST_WIRE_H

#include <stdint.h>

#define WIRE_HEADER_MAGIC  "hfhead2"
#define WIRE_HELLO_MAGIC   "hfhelo1"
#define WIRE_TRAILER_MAGIC "hftail2"

enum wire_role {
	WIRE_IDLE,   /* nothing flows until the peer ends the connection with a ping */
	WIRE_ECHO,   /* the server returns what it got */
	WIRE_SOURCE, /* server to peer */
	WIRE_SINK,   /* peer to server */
	WIRE_DUPLEX, /* both at once */
	WIRE_WAKE,   /* nothing, until the server finds that it was stopped: then so many bytes come
		      */
	WIRE_HOLD,   /* an exact number of bytes each way, which nobody reads */
	WIRE_ROLES
};

struct wire_header {
	char magic[8];
	uint32_t role;
	uint32_t nagle; /* leave TCP_NODELAY off */
	uint64_t seed;
	uint64_t write_rate;  /* bytes per second which the server sends at most, 0: no limit */
	uint64_t write_chunk; /* in pieces of so many bytes at least */
	uint64_t read_rate;   /* the same for its reading */
	uint64_t hold_in;     /* WIRE_HOLD: do not read while the queue holds no more than this */
	uint64_t hold_out;    /* WIRE_HOLD, WIRE_WAKE: send exactly so much */
	uint64_t hold_ms;     /* WIRE_HOLD: read after this time in any case, 0: never */
	int64_t flip_down;    /* send this byte wrong, on purpose; -1: none */
};

struct wire_hello {
	char magic[8];
	uint32_t pid; /* as the server sees it */
	uint32_t reserved;
};

/*
 * Both ends are to speak of the same moments, so times are those of CLOCK_REALTIME: CRIU gives a
 * restored program a monotonic clock that did not see the outage.
 */
struct wire_trailer {
	char magic[8];
	uint64_t down_total; /* pattern bytes sent by the server */
	uint64_t up_checked; /* pattern bytes it got */
	int64_t up_bad;      /* position of the first wrong one, or -1 */
	uint64_t resumed;    /* when it ran again after it was stopped, or 0 */
	uint64_t advanced;   /* when it read first what had come after that, or 0 */
};

/* An echo is the same stream in both directions; all else must not be taken for its opposite. */
static inline uint64_t wire_seed_down(uint32_t role, uint64_t seed)
{
	return role == WIRE_ECHO || role == WIRE_IDLE ? seed : ~seed;
}

#endif
