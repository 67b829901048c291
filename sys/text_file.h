/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_TEXT_FILE_H
#define HF_SYS_TEXT_FILE_H

/* Small files, read as a whole: configurations. */
#include <stddef.h>

#include "lib/error.h"

#define HF_TEXT_FILE_MAX 65536

/*
 * Reads a file of less than HF_TEXT_FILE_MAX bytes into *text, which the caller frees; a zero byte
 * follows it. Returns 0 or a negative errno: -ENOENT if there is none, -EFBIG if it is longer.
 */
int hf_text_file_read(const char *path, char **text, size_t *len, struct hf_error *err);

#endif
