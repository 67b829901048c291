/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_ALIASES_H
#define HF_PLUGIN_ALIASES_H

/* What the host's address translation makes of the connections of an image. */
#include "lib/error.h"
#include "lib/image.h"

/* Fills image->aliases in, from the connection tracking of the host's network namespace: of the
 * connections that it translates, and of the listeners where these came in. */
int hf_aliases_find(int host, struct hf_image *image, struct hf_error *err);

#endif
