/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_OCI_CONFIG_H
#define HF_LIB_OCI_CONFIG_H

/* What we want of an OCI bundle's config.json (runtime-spec, config-linux.md), read strictly. */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/error.h"
#include "lib/unreachable.h"

/* Bytes of a configuration: many times what a runtime is given in practice. */
#define HF_OCI_CONFIG_MAX (16u << 20)

enum hf_oci_netns {
	HF_OCI_NETNS_RUNTIME, /* that of the runtime: the container has none of its own */
	HF_OCI_NETNS_NEW,     /* made by the runtime, for this container */
	HF_OCI_NETNS_PATH     /* made by others; other containers may be in it, too */
};

struct hf_oci_config {
	enum hf_oci_netns netns;
	char netns_path[PATH_MAX];
	bool has_unreachable; /* an annotation says what follows */
	enum hf_unreachable on_unreachable;
};

/*
 * Reads a configuration. Everything may be missing, but what is there must be right: the type of
 * each namespace, one network namespace at most, its path absolute. Returns 0, or -EBADMSG or
 * -E2BIG with the name of the member.
 */
int hf_oci_config_read(
	struct hf_oci_config *config, const char *text, size_t len, struct hf_error *err);

#endif
