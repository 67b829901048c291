/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_OCI_TEXT_H
#define HF_LIB_OCI_TEXT_H

/* Strings of OCI's JSON texts, checked and copied. The caller has made sure that they fit. Return 0
 * or -EBADMSG. */
#include <stddef.h>

#include "lib/error.h"
#include "lib/unreachable.h"

#define HF_OCI_WORD_MAX 32 /* bytes of an annotation of ours */

/* One that is not empty. */
int hf_oci_copy(char *to, const char *text, size_t len, struct hf_error *err);

/* A path from the root. */
int hf_oci_copy_path(char *to, const char *text, size_t len, struct hf_error *err);

/* HF_UNREACHABLE_ANNOTATION. */
int hf_oci_unreachable(enum hf_unreachable *to, const char *text, size_t len, struct hf_error *err);

#endif
