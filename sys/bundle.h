/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_BUNDLE_H
#define HF_SYS_BUNDLE_H

/* The OCI bundle of a container, a directory with config.json. */
#include <sys/types.h>

#include "lib/error.h"
#include "lib/oci_config.h"

/* Reads the configuration. Returns 0 or a negative errno. */
int hf_bundle_config(const char *bundle, struct hf_oci_config *config, struct hf_error *err);

/*
 * The bundle that a process restores, if it is a runtime that does so: one that was called with the
 * word "restore". Its option --bundle or -b names it, or else its working directory is it. Returns
 * 1 and the path, which the caller frees; 0 if there is none; or a negative errno.
 */
int hf_bundle_of_runtime(pid_t pid, char **bundle, struct hf_error *err);

#endif
