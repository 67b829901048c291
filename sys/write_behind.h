/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_WRITE_BEHIND_H
#define HF_SYS_WRITE_BEHIND_H

/*
 * A new file, written from its start to its end. What is to be written is put into a ring of
 * memory, or made there; where the file becomes long a second thread writes it, so that the next
 * bytes are fetched meanwhile.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "sys/parallel.h"

#define HF_BEHIND_ROOM ((size_t)8 << 20) /* there can always be; twice as much in all */

struct hf_write_behind {
	int fd;
	uint8_t *ring; /* the byte at N of the file is at N modulo its size */
	size_t size;
	struct hf_thread thread;
	bool alone; /* no thread can be had */

	/* Of both threads; `filled` is changed by the owner's alone. */
	pthread_mutex_t lock;
	pthread_cond_t moved;
	uint64_t filled, written; /* so far, in the file */
	bool all;                 /* also the last part, though it is not full */
	bool end;
	int ret; /* of the first write that failed; from then on nothing is written */
};

/*
 * What returns an int returns 0 or a negative errno, which may be that of an earlier call's bytes.
 */

/* fd is not owned. -ENOMEM: there is nothing to be ended. */
int hf_write_behind_start(struct hf_write_behind *behind, int fd);

/* With all added for which there was room before. Waits until there is room for len bytes, or for
 * HF_BEHIND_ROOM, in two places of which the second one may be empty. Returns how much that is. */
size_t hf_write_behind_room(struct hf_write_behind *behind, size_t len, struct iovec to[2]);

/* Of that room what is to be added next: len bytes, or as many as are in one place. */
struct iovec hf_write_behind_next(const struct hf_write_behind *behind, size_t len);

/* So many bytes are there now. */
int hf_write_behind_add(struct hf_write_behind *behind, size_t len);

/* Copies them there. */
int hf_write_behind_put(struct hf_write_behind *behind, const void *data, size_t len);

/* Returns when all is written. */
int hf_write_behind_flush(struct hf_write_behind *behind);

/* After a flush: leaves out what somebody else has written. */
int hf_write_behind_skip(struct hf_write_behind *behind, size_t len);

/* A flush that leaves no thread and no memory. */
int hf_write_behind_end(struct hf_write_behind *behind);

#endif
