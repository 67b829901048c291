/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_RESTORE_H
#define HF_PLUGIN_RESTORE_H

/*
 * The restore of a tree's TCP connections: all or nothing.
 *
 * hf_restore_prepare() before anything exists, hf_restore() when all tasks exist and are stopped,
 * hf_restore_clear() at the end.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/config.h"
#include "lib/error.h"
#include "lib/image.h"
#include "sys/sock_options.h"

#define HF_CLOSED_NAMED 10

struct hf_restore {
	struct hf_config config;
	struct hf_image image;
	int file;                              /* the image, open */
	int host;                              /* network namespace of CRIU itself, -1: not open */
	uint64_t netns_inode;                  /* of the target, once it is known */
	bool host_locked;                      /* the lock on the host is this restore's own */
	bool locked;                           /* the lock is in the target's network namespace */
	bool unlocked;                         /* the application goes on, whatever comes */
	bool lock_was_there;                   /* since the dump */
	struct hf_sock_options_writer options; /* whose report says what could not be set */
	struct hf_error tracking;              /* why the host was not told of the connections */
	uint32_t n_closed;                     /* that could not be had here, see on-unreachable */
	char closed[HF_CLOSED_NAMED][HF_CONN_TEXT]; /* the first of them */
	bool is_copy;    /* their peers were not told: the original runs on, on this host */
	uint32_t n_kept; /* connections that CRIU had restored itself */
	uint64_t lock_us, rebuild_us, resume_us;
};

/*
 * Reads and checks the image and takes the lock where the network namespace is known already.
 * Returns 0, -ENOENT if there is no image, or another negative errno; *restore needs no clearing
 * then.
 */
int hf_restore_prepare(struct hf_restore *restore, int image_dir, const struct hf_config *config,
	struct hf_error *err);

/*
 * When the tasks have been made, with their namespaces: takes the lock where that could not be told
 * before. Returns 1 if it did, 0 if there was nothing to be done, or a negative errno.
 */
int hf_restore_forked(struct hf_restore *restore, struct hf_error *err);

/*
 * Rebuilds every connection in the tree of `root`, removes the lock, lets traffic flow. On failure
 * every task of the tree has been killed, no packet was sent and the lock is still there: the
 * restore can be tried again. Only where restore->unlocked is set it concerns one connection, and
 * all others go on.
 */
int hf_restore(struct hf_restore *restore, pid_t root, struct hf_error *err);

/*
 * At the end of a restore that has failed: was it one of a copy, while the original runs on in
 * another network namespace of this host? The lock on the host, kept for another try, would cut
 * that off; so it is removed, if this restore took it. Returns how many connections the original
 * has in use, or a negative errno.
 */
int hf_restore_spare_original(struct hf_restore *restore, struct hf_error *err);

void hf_restore_clear(struct hf_restore *restore);

#endif
