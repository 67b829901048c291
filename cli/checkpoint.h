/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_CHECKPOINT_H
#define HF_CLI_CHECKPOINT_H

/* The CHECKPOINT of a command line, in any form in which one is kept. */
#include "lib/error.h"
#include "lib/image.h"

/*
 * Reads and checks the image of a checkpoint into *image, zeroed before: `path` is CRIU's image
 * directory, one with the image directory `checkpoint` in it, or a checkpoint archive. Returns 0 or
 * a negative errno, and a text that starts with the path.
 */
int hf_checkpoint_read(const char *path, struct hf_image *image, struct hf_error *err);

#endif
