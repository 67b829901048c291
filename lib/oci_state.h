/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_OCI_STATE_H
#define HF_LIB_OCI_STATE_H

/* The state of a container that an OCI runtime hands to its hooks (runtime-spec, runtime.md), read
 * strictly. */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/error.h"
#include "lib/unreachable.h"

/* Bytes of a state. Annotations are the bulk of one, and Kubernetes allows 256 KiB of them. */
#define HF_OCI_STATE_MAX (1u << 20)
#define HF_OCI_ID_MAX    1024 /* bytes of an id */

struct hf_oci_state {
	char id[HF_OCI_ID_MAX + 1];
	char status[64];
	pid_t pid; /* of the container's first process; 0: none is told */
	char bundle[PATH_MAX];
	bool has_unreachable; /* an annotation says what follows */
	enum hf_unreachable on_unreachable;
};

/*
 * Reads a state. ociVersion, id, status and bundle must be there, the bundle's path must be
 * absolute, and what is there must be right. Unknown members are fine. Returns 0, or -EBADMSG or
 * -E2BIG with the name of the member.
 */
int hf_oci_state_read(
	struct hf_oci_state *state, const char *text, size_t len, struct hf_error *err);

#endif
