/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_IN_USE_H
#define HF_CLI_IN_USE_H

#include "lib/error.h"
#include "lib/image.h"

/*
 * Looks for the connections of an image in all network namespaces of this machine, but for those
 * over loopback, which are each namespace's own. Returns 0 if nobody has one, -EBUSY if the
 * container runs here, or another negative errno where not everything could be seen.
 */
int hf_in_use(const struct hf_image *image, struct hf_error *err);

#endif
