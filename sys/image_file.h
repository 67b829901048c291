/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_IMAGE_FILE_H
#define HF_SYS_IMAGE_FILE_H

/* holdfast.img in an image directory. */
#include <sys/types.h>

#include "lib/error.h"
#include "lib/image.h"
#include "sys/write_behind.h"

/* A file that is being written. */
struct hf_image_file {
	int fd;
	struct hf_write_behind out;
};

/* Creates the image in directory `dir`, mode 0600, in place of one that is there. -ENOTDIR: no real
 * directory. */
int hf_image_file_create(struct hf_image_file *file, int dir, struct hf_error *err);

/* Where hf_image_write_*() writes. Valid while the file is open. */
struct hf_output hf_image_file_output(struct hf_image_file *file);

/* So many bytes are there now, where hf_write_behind_room() said. */
int hf_image_file_add(struct hf_image_file *file, size_t len, struct hf_error *err);

/* Writes all that is there. */
int hf_image_file_flush(struct hf_image_file *file, struct hf_error *err);

/* Writes all that is there and closes the file, in any case. */
int hf_image_file_finish(struct hf_image_file *file, struct hf_error *err);

/* Removes the image; one that is not there is fine. */
int hf_image_file_remove(int dir, struct hf_error *err);

/* Opens the image for reading. Returns the fd, -ENOENT if there is none, or another negative errno.
 */
int hf_image_file_open(int dir, struct hf_error *err);

/*
 * Takes the image out of the open files of a process: of CRIU, in which the plugin has it open
 * while it restores. Returns an fd, whose position is the same as that process's; -ENOENT if it has
 * none open, or another negative errno.
 */
int hf_image_file_of(pid_t pid, struct hf_error *err);

/* Reads and checks the image of an fd from hf_image_file_open(), from its start. */
int hf_image_file_read(int fd, struct hf_image *image, struct hf_error *err);

/* Reads len bytes at offset: a queue. */
int hf_image_file_at(int fd, uint64_t offset, void *data, size_t len, struct hf_error *err);

#endif
