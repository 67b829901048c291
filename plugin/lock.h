/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_LOCK_H
#define HF_PLUGIN_LOCK_H

/* The lock of a checkpoint: that of everything in its image. */
#include "lib/error.h"
#include "lib/image.h"

/* Takes it. `why`, a lower-case word, goes into the table's comment. Returns 0, 1 if it was there
 * already, or a negative errno. */
int hf_lock_image(int netns, const struct hf_image *image, const char *why, struct hf_error *err);

#endif
