// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/write_behind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is written at once; it ends at a multiple of that, for which the kernel has large pages. */
#define PART  ((size_t)256 << 10)
#define RING  (2 * HF_BEHIND_ROOM)
#define SMALL (2 * PART) /* what a short file makes do with */
/* A thread costs more than it saves in a shorter file. */
#define ALONE_TO ((uint64_t)4 << 20)

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static bool is_due(const struct hf_write_behind *behind)
{
	return behind->filled / PART > behind->written / PART ||
	       (behind->all && behind->filled > behind->written);
}

/* The lock is held, but not meanwhile. */
static void write_part(struct hf_write_behind *behind)
{
	uint64_t at = behind->written;
	size_t len = PART - at % PART;
	int ret = behind->ret;

	if (len > behind->filled - at)
		len = behind->filled - at;
	pthread_mutex_unlock(&behind->lock);
	if (ret == 0)
		ret = write_all(behind->fd, behind->ring + at % behind->size, len);
	pthread_mutex_lock(&behind->lock);
	behind->ret = ret;
	behind->written += len;
}

/* The second thread. The other one waits only for what it has to do. */
static void *write_parts(void *context)
{
	struct hf_write_behind *behind = context;

	pthread_mutex_lock(&behind->lock);
	while (!behind->end || is_due(behind)) {
		if (is_due(behind))
			write_part(behind);
		else
			pthread_cond_wait(&behind->moved, &behind->lock);
		pthread_cond_signal(&behind->moved);
	}
	pthread_mutex_unlock(&behind->lock);
	return NULL;
}

/* Has written what is due, or sees to it that the thread does. The lock is held. */
static void push(struct hf_write_behind *behind)
{
	if (behind->thread.runs && is_due(behind))
		pthread_cond_signal(&behind->moved);
	while (!behind->thread.runs && is_due(behind))
		write_part(behind);
}

int hf_write_behind_start(struct hf_write_behind *behind, int fd)
{
	memset(behind, 0, sizeof(*behind));
	behind->fd = fd;
	behind->size = SMALL;
	behind->ring = malloc(RING);
	if (!behind->ring)
		return -ENOMEM;
	pthread_mutex_init(&behind->lock, NULL);
	pthread_cond_init(&behind->moved, NULL);
	return 0;
}

struct iovec hf_write_behind_next(const struct hf_write_behind *behind, size_t len)
{
	size_t at = behind->filled % behind->size, most = behind->size - at;

	return (struct iovec){behind->ring + at, len < most ? len : most};
}

/* With all written, since each byte has another place then. */
static void grow(struct hf_write_behind *behind)
{
	if (behind->size == RING)
		return;
	hf_write_behind_flush(behind);
	behind->size = RING;
}

size_t hf_write_behind_room(struct hf_write_behind *behind, size_t len, struct iovec to[2])
{
	if (len > HF_BEHIND_ROOM)
		len = HF_BEHIND_ROOM;
	if (!behind->thread.runs && !behind->alone && behind->filled >= ALONE_TO) {
		grow(behind);
		behind->alone = !hf_thread_start(&behind->thread, write_parts, behind);
	}
	if (len > behind->size / 2)
		grow(behind);
	pthread_mutex_lock(&behind->lock);
	/* Without a thread never more than a part is left. */
	while (behind->filled + len - behind->written > behind->size)
		pthread_cond_wait(&behind->moved, &behind->lock);
	pthread_mutex_unlock(&behind->lock);
	to[0] = hf_write_behind_next(behind, len);
	to[1] = (struct iovec){behind->ring, len - to[0].iov_len};
	return len;
}

int hf_write_behind_add(struct hf_write_behind *behind, size_t len)
{
	int ret;

	pthread_mutex_lock(&behind->lock);
	behind->filled += len;
	push(behind);
	ret = behind->ret;
	pthread_mutex_unlock(&behind->lock);
	return ret;
}

int hf_write_behind_put(struct hf_write_behind *behind, const void *data, size_t len)
{
	const uint8_t *from = data;
	int ret = 0;

	while (len > 0 && ret == 0) {
		struct iovec to[2];
		size_t part;

		hf_write_behind_room(behind, len < PART ? len : PART, to);
		part = to[0].iov_len;
		memcpy(to[0].iov_base, from, part);
		ret = hf_write_behind_add(behind, part);
		from += part;
		len -= part;
	}
	return ret;
}

int hf_write_behind_flush(struct hf_write_behind *behind)
{
	int ret;

	pthread_mutex_lock(&behind->lock);
	behind->all = true;
	push(behind);
	while (behind->written < behind->filled)
		pthread_cond_wait(&behind->moved, &behind->lock);
	behind->all = false;
	ret = behind->ret;
	pthread_mutex_unlock(&behind->lock);
	return ret;
}

int hf_write_behind_skip(struct hf_write_behind *behind, size_t len)
{
	pthread_mutex_lock(&behind->lock);
	behind->filled += len;
	behind->written += len;
	pthread_mutex_unlock(&behind->lock);
	return lseek(behind->fd, (off_t)behind->written, SEEK_SET) < 0 ? -errno : 0;
}

int hf_write_behind_end(struct hf_write_behind *behind)
{
	int ret = hf_write_behind_flush(behind);

	pthread_mutex_lock(&behind->lock);
	behind->end = true;
	pthread_cond_signal(&behind->moved);
	pthread_mutex_unlock(&behind->lock);
	hf_thread_end(&behind->thread);
	pthread_cond_destroy(&behind->moved);
	pthread_mutex_destroy(&behind->lock);
	free(behind->ring);
	behind->ring = NULL;
	return ret;
}
