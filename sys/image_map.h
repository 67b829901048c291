/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_IMAGE_MAP_H
#define HF_SYS_IMAGE_MAP_H

/*
 * A part of the image as memory, which the kernel copies a long queue into or out of: it takes no
 * memory beside the file's own.
 *
 * Only system calls may touch it. A file that somebody cuts off, a full disk or a bad one would
 * kill us (SIGBUS) where we read or wrote ourselves; a system call returns EFAULT.
 */
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/image.h"
#include "sys/image_file.h"

struct hf_image_map {
	uint8_t *data;
	size_t len;
	void *pages; /* NULL: the file cannot be mapped, and `data` is plain memory */
	size_t size;
};
#define HF_IMAGE_MAP_NONE ((struct hf_image_map){NULL, 0, NULL, 0})

/*
 * Of a file that is being written: len bytes, which come after the `before` bytes that are written
 * next. When they are there, hf_image_map_done().
 */
int hf_image_map_next(struct hf_image_map *map, struct hf_image_file *file, size_t before,
	size_t len, struct hf_error *err);

/* Puts the bytes into the image, of which they are the next of the last socket's queues. */
int hf_image_map_done(struct hf_image_map *map, struct hf_image_file *file,
	struct hf_image_writer *writer, struct hf_error *err);

/* Of an image that is read: len bytes at offset. */
int hf_image_map_read(
	struct hf_image_map *map, int fd, uint64_t offset, size_t len, struct hf_error *err);

/* Zeroes it; one that is none is fine. */
void hf_image_map_clear(struct hf_image_map *map);

#endif
