/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_VERBS_H
#define HF_CLI_VERBS_H

/* The verbs of the command, one file each. argv[0] is the verb. They return an exit code of
 * holdfast(8). */
enum hf_exit {
	HF_EXIT_OK = 0,
	HF_EXIT_FAILURE = 1,
	HF_EXIT_USAGE = 2,
	HF_EXIT_TO_DO = 3, /* recover --dry-run: there is something to put right */
	HF_EXIT_NONE = 4   /* unlock: there is no such lock */
};

int hf_verb_check(int argc, char **argv);
int hf_verb_lock(int argc, char **argv);
int hf_verb_recover(int argc, char **argv);
int hf_verb_show(int argc, char **argv);
int hf_verb_status(int argc, char **argv);
int hf_verb_unlock(int argc, char **argv);

#endif
