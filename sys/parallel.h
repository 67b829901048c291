/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_PARALLEL_H
#define HF_SYS_PARALLEL_H

/*
 * One kind of work on many sockets, by all processors at once: while the tasks stand still, or wait
 * to be resumed, every moment counts.
 */
#include <stdint.h>

#include "lib/error.h"

#define HF_PARALLEL_MAX 8 /* shares */

/* Does the items from..to-1, one share of the work. Returns 0 or a negative errno. */
typedef int hf_share(void *context, uint32_t from, uint32_t to, struct hf_error *err);

/*
 * Splits n items into shares of neighbours, not below `least` items each, and returns when all are
 * done. Each share has a thread of its own, with all signals blocked; the first one is the
 * caller's, who also does those for which there is no thread. What one fails at, the others do not
 * learn. Returns 0, or what the first of the failed shares returned, with its text.
 */
int hf_parallel(uint32_t n, uint32_t least, hf_share *work, void *context, struct hf_error *err);

#endif
