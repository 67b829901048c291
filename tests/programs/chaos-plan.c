// SPDX-License-Identifier: GPL-2.0-or-later
/* Random numbers, and what follows from them for a connection. */
#include "chaos.h"

uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t x = a + (b + 1) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t next_random(struct task *task)
{
	return mix(task->seed, task->random++);
}

uint64_t below(struct task *task, uint64_t limit)
{
	return limit ? next_random(task) % limit : 0;
}

bool one_in(struct task *task, uint64_t n)
{
	return below(task, n) == 0;
}

/* Small ones are as frequent as large ones. */
static uint64_t stream_size(uint64_t random)
{
	static const uint64_t limits[] = {
		1, 101, 101, 10000, 10000, 300000, 300000, 300000, 4000000};
	uint64_t limit = limits[random % (sizeof(limits) / sizeof(limits[0]))];

	return (random >> 8) % limit;
}

void make_plan(struct plan *plan, uint64_t seed, uint64_t id)
{
	uint64_t key = mix(seed, id);

	plan->total[CONNECTOR] = ID_BYTES + stream_size(mix(key, 1));
	plan->total[ACCEPTOR] = stream_size(mix(key, 2));
	plan->reset_by = mix(key, 3) % 16 < 2 ? mix(key, 3) % 16 : NOBODY;
	plan->reset_at = 0;
	if (plan->reset_by != NOBODY)
		plan->reset_at = mix(key, 4) % (plan->total[plan->reset_by] + 1);
	if (plan->reset_by == CONNECTOR && plan->reset_at < ID_BYTES)
		plan->reset_at = ID_BYTES;
	for (unsigned int side = 0; side < 2; side++)
		plan->early_close[side] = mix(key, 5 + side) % 6 == 0;
	/* At most one: that side waits for the other's end of stream before it sends its own. */
	plan->shut_read[CONNECTOR] = plan->reset_by == NOBODY && mix(key, 7) % 12 == 0;
	plan->shut_read[ACCEPTOR] = plan->reset_by == NOBODY && mix(key, 7) % 12 == 1;
	/* Linux sends no window updates after SHUT_RD: no more than what always fits. */
	for (unsigned int side = 0; side < 2; side++)
		if (plan->shut_read[side] && plan->total[!side] > SHUT_READ_MOST)
			plan->total[!side] = SHUT_READ_MOST;
	plan->urgent = mix(key, 9) % 10 == 0;
}

size_t random_size(struct task *task)
{
	static const uint64_t limits[] = {1, 100, 5000, SIZE_MAX_IO};

	return 1 + below(task, limits[below(task, 4)]);
}
