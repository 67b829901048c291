// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GONE_ATTEMPTS 10000 /* of 10 us */

struct share {
	hf_share *work;
	void *context;
	uint32_t from, to;
	struct hf_error err;
	int ret;
	pthread_t thread;
	bool has_thread;
};

static _Thread_local bool has_own_files;

static void *run(void *context)
{
	struct share *share = context;

	share->ret = share->work(share->context, share->from, share->to, &share->err);
	return NULL;
}

static void *run_thread(void *context)
{
	has_own_files = unshare(CLONE_FILES) == 0;
	return run(context);
}

bool hf_has_own_files(void)
{
	return has_own_files;
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

/* With all signals blocked: CRIU's handlers are for the thread that it knows. */
static bool start(pthread_t *thread, void *(*routine)(void *), void *context)
{
	sigset_t all, old;
	bool started;

	sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
		return false;
	started = pthread_create(thread, NULL, routine, context) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return started;
}

static nlink_t count_threads(void)
{
	struct stat tasks;

	return stat("/proc/self/task", &tasks) == 0 ? tasks.st_nlink : 0;
}

/*
 * pthread_join() returns a moment before the kernel has done with a thread, and as long as there is
 * one CRIU may not enter a mount namespace (mntns_install() wants fs->users to be 1).
 */
static void await_threads(nlink_t before)
{
	for (int i = 0; i < GONE_ATTEMPTS && count_threads() > before; i++)
		usleep(10);
}

int hf_parallel(uint32_t n, uint32_t least, hf_share *work, void *context, struct hf_error *err)
{
	struct share shares[HF_PARALLEL_MAX] = {0};
	uint32_t n_shares = count(n, least);
	/* Without threads there is nothing to wait for, and /proc need not be asked. */
	nlink_t threads = n_shares > 1 ? count_threads() : 0;
	int ret = 0;

	for (uint32_t i = 0; i < n_shares; i++) {
		shares[i].work = work;
		shares[i].context = context;
		shares[i].from = (uint32_t)((uint64_t)n * i / n_shares);
		shares[i].to = (uint32_t)((uint64_t)n * (i + 1) / n_shares);
		shares[i].has_thread = i > 0 && start(&shares[i].thread, run_thread, &shares[i]);
	}
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
	if (n_shares > 1)
		await_threads(threads);
	return ret;
}

static void *run_background(void *context)
{
	struct hf_background *background = context;

	background->ret = background->call(background->context, &background->err);
	return NULL;
}

void hf_background_start(struct hf_background *background,
	int (*call)(void *context, struct hf_error *err), void *context)
{
	memset(background, 0, sizeof(*background));
	background->call = call;
	background->context = context;
	background->threads = count_threads();
	background->has_thread = start(&background->thread, run_background, background);
	if (!background->has_thread)
		run_background(background);
}

int hf_background_end(struct hf_background *background, struct hf_error *err)
{
	if (background->has_thread) {
		pthread_join(background->thread, NULL);
		await_threads(background->threads);
	}
	if (background->ret < 0 && err)
		*err = background->err;
	return background->ret;
}
