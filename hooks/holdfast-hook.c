// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The OCI hook. Every stage reads the container's state on the standard input; which stage it is
 * says the argument, or where there is none the state: hook files of podman and CRI-O have one
 * command line for all stages.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "hooks/hook.h"
#include "hooks/privileges.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum stage { STAGE_TOLD, STAGE_START, STAGE_STOP };

static const struct {
	const char *name;
	enum stage stage;
} stages[] = {{"prestart", STAGE_START}, {"createRuntime", STAGE_START}, {"poststop", STAGE_STOP}};

static int usage(FILE *to)
{
	fputs("usage: holdfast-hook [prestart | createRuntime | poststop] <STATE\n"
	      "       holdfast-hook --version | --help\n",
		to);
	return to == stdout ? EXIT_DONE : EXIT_USAGE;
}

/* One line, whatever the container's state has put into it. */
static void complain(const char *name, const struct hf_error *err)
{
	char line[sizeof(err->text) + 64];

	snprintf(line, sizeof(line), "holdfast-hook: %s%s%s", name, *name ? ": " : "", err->text);
	for (char *at = line; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	fprintf(stderr, "%s\n", line);
}

/* A container that is gone has no process any more. */
static int told_stage(const struct hf_oci_state *state, enum stage *stage, struct hf_error *err)
{
	if (state->pid)
		*stage = STAGE_START;
	else if (strcmp(state->status, "stopped") == 0)
		*stage = STAGE_STOP;
	else
		return hf_error_set(err, -EBADMSG,
			"the container's state: pid: missing, but the status is `%s`",
			state->status);
	return 0;
}

/* The stage must be known even where we may do nothing. */
static int find_out(struct hf_container *container, enum stage *stage, struct hf_error *err)
{
	int ret = hf_container_read_state(container, STDIN_FILENO, err);

	if (ret == 0 && *stage == STAGE_TOLD)
		ret = told_stage(&container->state, stage, err);
	return ret;
}

static int run(enum stage *stage, struct hf_error *err)
{
	static struct hf_container container;
	struct hf_error denied = HF_ERROR_INIT;
	int allowed = hf_privileges_drop(&denied);
	int ret = allowed < 0 && allowed != -EACCES ? allowed : find_out(&container, stage, err);

	if (allowed < 0 && (ret == 0 || ret == allowed)) {
		*err = denied;
		return allowed;
	}
	if (ret == 0)
		ret = hf_container_read_config(&container, err);
	if (ret < 0)
		return ret;
	return *stage == STAGE_START ? hf_hook_start(&container, err)
				     : hf_hook_stop(&container, err);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	enum stage stage = STAGE_TOLD;
	struct hf_error err = HF_ERROR_INIT;
	int ret;

	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
		if (strcmp(name, stages[i].name) == 0)
			stage = stages[i].stage;
	if (argc == 2 && strcmp(name, "--version") == 0) {
		puts("holdfast-hook " PACKAGE_VERSION);
		return EXIT_DONE;
	}
	if (argc == 2 && strcmp(name, "--help") == 0)
		return usage(stdout);
	if (argc > 2 || (argc == 2 && stage == STAGE_TOLD))
		return usage(stderr);
	signal(SIGPIPE, SIG_IGN);
	ret = run(&stage, &err);
	if (ret != 0)
		complain(name, &err);
	/* Of a failure then runc says that the container cannot be removed, and calls no other
	 * hook. */
	return ret < 0 && stage != STAGE_STOP ? EXIT_FAILED : EXIT_DONE;
}
