/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_ARCHIVE_H
#define HF_SYS_ARCHIVE_H

/*
 * The image in a checkpoint archive, as `podman container checkpoint --export` and the container
 * engines of Kubernetes make them: a tar file, plain or compressed with gzip or zstd, with CRIU's
 * image directory in it.
 */
#include "lib/error.h"
#include "lib/image.h"

/*
 * Reads and checks the image, from the start of the file or pipe `fd` to its end; nothing is
 * unpacked, and the memory that it takes does not depend on the archive's size. *image is zeroed
 * before. -ENOENT, without a text: there is none in it. -ENOTUNIQ: there are several. Else what
 * hf_image_read() returns, or another negative errno: no archive, a damaged one.
 */
int hf_archive_image(int fd, struct hf_image *image, struct hf_error *err);

#endif
