/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_PARALLEL_H
#define HF_SYS_PARALLEL_H

/*
 * One kind of work on many sockets, by all processors at once: while the tasks stand still, or wait
 * to be resumed, every moment counts.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/error.h"

#define HF_PARALLEL_MAX 8 /* shares */

/*
 * Does the items from..to-1, one share of the work. Returns 0 or a negative errno. It closes the
 * files that it opens, and no others, unless hf_has_own_files().
 */
typedef int hf_share(void *context, uint32_t from, uint32_t to, struct hf_error *err);

/*
 * Splits n items into shares of neighbours, not below `least` items each, and returns when all are
 * done. Each share has a thread of its own, with all signals blocked; the first one is the
 * caller's, who also does those for which there is no thread. What one fails at, the others do not
 * learn. Returns 0, or what the first of the failed shares returned, with its text.
 *
 * The threads get tables of files of their own, where the kernel lets them: a call on a descriptor
 * costs a sixth less where nobody else can close it meanwhile (fdget()).
 */
int hf_parallel(uint32_t n, uint32_t least, hf_share *work, void *context, struct hf_error *err);

/* True in a thread for which that is so: what it closes is closed in its own table only. */
bool hf_has_own_files(void);

/* One call beside what the caller does meanwhile, with the same files. */
struct hf_background {
	int (*call)(void *context, struct hf_error *err);
	void *context;
	struct hf_error err;
	int ret;
	pthread_t thread;
	bool has_thread;
	nlink_t threads; /* that there were before */
};

/* Starts it; where there is no thread for it, it is done before this returns. */
void hf_background_start(struct hf_background *background,
	int (*call)(void *context, struct hf_error *err), void *context);

/* Waits for its end, and returns what it returned. */
int hf_background_end(struct hf_background *background, struct hf_error *err);

#endif
