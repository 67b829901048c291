/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a stream stood still: the last few pauses between two readings. Both ends of a stream and
 * who watches them are to speak of the same moments, so these are of CLOCK_REALTIME: CRIU gives a
 * restored program a monotonic clock that did not see the outage.
 */
#ifndef HF_TEST_GAPS_H
#define HF_TEST_GAPS_H

#include <stdint.h>

#define GAPS   4
#define GAP_NS UINT64_C(250000000) /* shorter ones are not noted */

struct gap {
	uint64_t start, end;
};

struct gaps {
	uint64_t last;
	unsigned int n;
	struct gap gap[GAPS]; /* number i is at i % GAPS */
};

/* A reading: the stream's position after it, and when it was. */
#define READINGS 8

struct reading {
	uint64_t when, position;
};

static inline void gaps_start(struct gaps *g, uint64_t now)
{
	g->last = now;
	g->n = 0;
}

static inline void gaps_progress(struct gaps *g, uint64_t now)
{
	if (now - g->last > GAP_NS)
		g->gap[g->n++ % GAPS] = (struct gap){g->last, now};
	g->last = now;
}

#endif
