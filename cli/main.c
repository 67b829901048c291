// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"
#include "config.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
	const char *purpose;
} verbs[] = {
	{"check", hf_verb_check, "check [--json] [criu] [crun] [runc]",
		"whether everything is there, and how to correct what is not"},
	{"show", hf_verb_show, "show [--json] CHECKPOINT",
		"what a checkpoint, a directory or an archive, holds"},
	{"lock", hf_verb_lock, "lock [--json] [--timeout SECONDS] [--netns PATH] CHECKPOINT",
		"hold its connections where it is about to be restored"},
	{"unlock", hf_verb_unlock,
		"unlock [--json] [--netns PATH] [--force] ID|CHECKPOINT, or --all", "remove locks"},
	{"status", hf_verb_status, "status [--json] [--netns PATH]", "the locks that there are"},
	{"recover", hf_verb_recover, "recover [--dry-run] [--json] [--netns PATH]",
		"put right what a checkpoint that was killed left behind"},
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *to)
{
	fprintf(to, "usage: holdfast VERB ...\n\n");
	for (size_t i = 0; i < N_VERBS; i++)
		fprintf(to, "  holdfast %s\n      %s\n", verbs[i].usage, verbs[i].purpose);
	fprintf(to, "  holdfast --version\n  holdfast --help\n");
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return HF_EXIT_OK;
	}
	if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
		puts(PACKAGE_STRING);
		return HF_EXIT_OK;
	}
	for (size_t i = 0; argc >= 2 && i < N_VERBS; i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	usage(stderr);
	return HF_EXIT_USAGE;
}
