/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_UNREACHABLE_H
#define HF_LIB_UNREACHABLE_H

/* What becomes of a connection whose addresses are not to be had where it is restored: a word of
 * the configuration, and of an annotation of the container. */
#include <stdbool.h>
#include <stddef.h>

#define HF_UNREACHABLE_ANNOTATION "org.holdfast.on-unreachable"

enum hf_unreachable {
	HF_UNREACHABLE_ABORT, /* the restore fails */
	HF_UNREACHABLE_CLOSE  /* the peer gets an RST, the application end of file */
};

/* Reads "abort" or "close"; false, and nothing changes, for anything else. */
bool hf_unreachable_parse(enum hf_unreachable *to, const char *text, size_t len);

#endif
