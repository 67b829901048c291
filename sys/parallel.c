// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>

struct share {
	hf_share *work;
	void *context;
	uint32_t from, to;
	struct hf_error err;
	int ret;
	pthread_t thread;
	bool has_thread;
};

static void *run(void *context)
{
	struct share *share = context;

	share->ret = share->work(share->context, share->from, share->to, &share->err);
	return NULL;
}

static uint32_t processors(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

static uint32_t count(uint32_t n, uint32_t least)
{
	uint32_t shares = processors();

	if (shares > HF_PARALLEL_MAX)
		shares = HF_PARALLEL_MAX;
	if (shares > n / least)
		shares = n / least;
	return shares ? shares : 1;
}

/* CRIU's handlers are for the thread that it knows. */
static void start(struct share *shares, uint32_t n)
{
	sigset_t all, old;

	sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
		return;
	for (uint32_t i = 1; i < n; i++)
		shares[i].has_thread =
			pthread_create(&shares[i].thread, NULL, run, &shares[i]) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

int hf_parallel(uint32_t n, uint32_t least, hf_share *work, void *context, struct hf_error *err)
{
	struct share shares[HF_PARALLEL_MAX] = {0};
	uint32_t n_shares = count(n, least);
	int ret = 0;

	for (uint32_t i = 0; i < n_shares; i++) {
		shares[i].work = work;
		shares[i].context = context;
		shares[i].from = (uint32_t)((uint64_t)n * i / n_shares);
		shares[i].to = (uint32_t)((uint64_t)n * (i + 1) / n_shares);
	}
	start(shares, n_shares);
	for (uint32_t i = 0; i < n_shares; i++)
		if (!shares[i].has_thread)
			run(&shares[i]);
	for (uint32_t i = 0; i < n_shares; i++) {
		if (shares[i].has_thread)
			pthread_join(shares[i].thread, NULL);
		if (ret == 0 && shares[i].ret < 0) {
			ret = shares[i].ret;
			if (err)
				*err = shares[i].err;
		}
	}
	return ret;
}
