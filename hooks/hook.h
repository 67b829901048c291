/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_HOOKS_HOOK_H
#define HF_HOOKS_HOOK_H

/* The OCI hook's stages. What a container is comes from its runtime: the state on the standard
 * input, and the bundle. */
#include "lib/error.h"
#include "lib/oci_config.h"
#include "lib/oci_state.h"

struct hf_container {
	struct hf_oci_state state;
	struct hf_oci_config config;
};

/* Reads the state from the file descriptor `input`, then the configuration in the bundle that it
 * names. */
int hf_container_read_state(struct hf_container *container, int input, struct hf_error *err);
int hf_container_read_config(struct hf_container *container, struct hf_error *err);

/* Done, but *err says what somebody should know. */
#define HF_HOOK_WARNING 1

/* The stages. Return 0, HF_HOOK_WARNING, or a negative errno.
 *
 * prestart, createRuntime: the container's namespaces are there, its network perhaps not yet. Where
 * CRIU restores the container the lock is there afterwards; for a container that starts the network
 * namespace is rid of what failed restores have left.
 */
int hf_hook_start(const struct hf_container *container, struct hf_error *err);

/* poststop: the container is gone. The same for its network namespace, if that is still there. */
int hf_hook_stop(const struct hf_container *container, struct hf_error *err);

#endif
