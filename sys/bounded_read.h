/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_BOUNDED_READ_H
#define HF_SYS_BOUNDED_READ_H

/* Texts of a size that others choose. */
#include <stddef.h>

#include "lib/error.h"

/* Reads to the end into *text, which the caller frees. Returns 0, -EFBIG if there are more than
 * `max` bytes, or another negative errno. */
int hf_bounded_read(int fd, size_t max, char **text, size_t *len, struct hf_error *err);

#endif
