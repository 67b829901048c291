/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_COMMAND_H
#define HF_SYS_COMMAND_H

/* Other programs: where they are, and what they say. */
#include <limits.h>
#include <stdbool.h>

#include "lib/error.h"

/* Finds a program in PATH, and where administrators' programs are; false if there is none. */
bool hf_command_find(const char *name, char path[PATH_MAX]);

#define HF_COMMAND_OUTPUT (32u << 10)

struct hf_command {
	int status;                     /* exit status; 128 and more: the number of a signal */
	char output[HF_COMMAND_OUTPUT]; /* of both kinds, as text; the rest is cut */
};

/*
 * Runs a program to its end, but for no longer than `seconds`; argv[0] is its path, argv ends with
 * NULL. Returns 0 whatever its exit status, or a negative errno: it does not start, or -ETIMEDOUT.
 */
int hf_command_run(struct hf_command *command, const char *const argv[], unsigned int seconds,
	struct hf_error *err);

/* The first line of the output that is not empty; "" if there is none. It changes the output. */
const char *hf_command_line(struct hf_command *command);

#endif
