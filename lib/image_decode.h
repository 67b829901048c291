/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_IMAGE_DECODE_H
#define HF_LIB_IMAGE_DECODE_H

/*
 * From the messages of an image to the structures of lib/conn.h, for image_read.c alone. What is
 * checked here is what gets lost on the way: messages that are missing, counts and numbers that do
 * not fit. The rest is for the checks of the structures, which are run as the last step.
 *
 * On failure the structure holds what it owns already, for the caller to clear.
 */
#include <stdbool.h>

#include "lib/image.h"
#include "lib/image.pb-c.h"

/* Every field that a message has and this version does not know makes the image bad. */
static inline bool hf_has_unknown_fields(const ProtobufCMessage *message)
{
	return !message || message->n_unknown_fields > 0;
}

/* All of the header but the number of sockets, which is only checked. */
int hf_decode_header(const Holdfast__Header *from, struct hf_image *image, struct hf_error *err);

/* One socket; *to is zeroed. */
int hf_decode_socket(const Holdfast__Socket *from, struct hf_conn *to, struct hf_error *err);

#endif
