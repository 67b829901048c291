/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A meter of stalls: the longest time in which nothing moved although something was expected to. */
#ifndef HF_TEST_METER_H
#define HF_TEST_METER_H

#include <stdbool.h>
#include <stdint.h>

struct meter {
	bool expecting;
	uint64_t since, longest;
};

static inline void meter_expect(struct meter *m, bool expecting, uint64_t now)
{
	if (m->expecting == expecting)
		return;
	if (m->expecting && now - m->since > m->longest)
		m->longest = now - m->since;
	m->expecting = expecting;
	m->since = now;
}

static inline void meter_progress(struct meter *m, uint64_t now)
{
	if (m->expecting && now - m->since > m->longest)
		m->longest = now - m->since;
	m->since = now;
}

static inline uint64_t meter_longest(const struct meter *m, uint64_t now)
{
	uint64_t current = m->expecting && now > m->since ? now - m->since : 0;

	return current > m->longest ? current : m->longest;
}

#endif
