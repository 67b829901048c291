/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_CRIU_FILES_H
#define HF_SYS_CRIU_FILES_H

/*
 * The configuration files of CRIU, for those who run it.
 *
 * CRIU reads /etc/criu/default.conf, then .criu/default.conf in HOME, then the file that
 * CRIU_CONFIG_FILE in the environment names. A runtime's request comes after these, and with it the
 * runtime's own file: runc.conf for runc, for crun crun.conf or, where there is none, runc.conf.
 */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/criu_config.h"
#include "lib/error.h"

enum hf_criu_user { HF_CRIU_ITSELF, HF_CRIU_CRUN, HF_CRIU_RUNC, HF_CRIU_USERS };

#define HF_CRIU_FILES 4

struct hf_criu_files {
	char paths[HF_CRIU_FILES][PATH_MAX]; /* those that are there, in the order of reading */
	size_t n;
	char own[PATH_MAX];             /* where the user's options belong; perhaps not there */
	struct hf_criu_options options; /* in force; they point to the paths */
};

/* "criu", "crun", "runc": the name of the user's program. */
const char *hf_criu_user_name(enum hf_criu_user user);

/* Reads them. Returns 0, or a negative errno where one is there and cannot be read. */
int hf_criu_files_read(struct hf_criu_files *files, enum hf_criu_user user, struct hf_error *err);

#endif
