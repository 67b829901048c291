// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast unlock: removes locks that are asked for, wherever they are. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/checkpoint.h"
#include "cli/found.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "sys/net_lock.h"

#define MIN_DIGITS 8 /* of an id that is cut short */

struct wish {
	bool json, all, force;
	const char *netns;   /* NULL: all of them */
	const char *what;    /* an id or a checkpoint; NULL: all */
	char id[HF_ID_TEXT]; /* the digits that count */
};

enum outcome { OUTCOME_REMOVED, OUTCOME_BUSY, OUTCOME_FAILED, OUTCOMES };

struct removal {
	const struct wish *wish;
	struct hf_survey survey;
	yajl_gen gen; /* NULL: lines of text */
	unsigned int count[OUTCOMES];
};

static int usage(void)
{
	fprintf(stderr, "usage: holdfast unlock [--json] [--netns PATH] [--force] ID|CHECKPOINT\n"
			"       holdfast unlock [--json] [--netns PATH] --all\n");
	return -1;
}

static int parse(int argc, char **argv, struct wish *wish)
{
	static const struct option known[] = {{"json", no_argument, NULL, 'j'},
		{"netns", required_argument, NULL, 'n'}, {"all", no_argument, NULL, 'a'},
		{"force", no_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
	bool wrong = false;
	int option;

	memset(wish, 0, sizeof(*wish));
	opterr = 0;
	while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		wish->json = wish->json || option == 'j';
		wish->all = wish->all || option == 'a';
		wish->force = wish->force || option == 'f';
		wrong = wrong || option == '?';
		if (option == 'n')
			wish->netns = optarg;
	}
	if (wrong || optind + !wish->all != argc || (wish->all && wish->force))
		return usage();
	wish->what = argv[optind];
	return 0;
}

static bool is_id(const char *text)
{
	size_t len = strlen(text);

	return len >= MIN_DIGITS && len < HF_ID_TEXT &&
	       strspn(text, "0123456789abcdefABCDEF") == len;
}

/* An id, as far as it is told, or that of the checkpoint. */
static int find_id(struct wish *wish, struct hf_error *err)
{
	struct hf_image image = {0};
	int ret;

	if (is_id(wish->what)) {
		for (size_t i = 0; wish->what[i]; i++)
			wish->id[i] = (char)(wish->what[i] | ('a' ^ 'A'));
		return 0;
	}
	ret = hf_checkpoint_read(wish->what, &image, err);
	if (ret == 0)
		hf_id_format(wish->id, image.id);
	hf_image_clear(&image);
	return ret;
}

static bool is_wanted(const struct wish *wish, const struct hf_found_lock *lock)
{
	char id[HF_ID_TEXT];

	hf_id_format(id, lock->view.id);
	return wish->all || strncmp(id, wish->id, strlen(wish->id)) == 0;
}

/* Two locks that are meant, of different checkpoints. */
static bool is_ambiguous(const struct removal *removal)
{
	const struct hf_found_lock *first = NULL;

	for (size_t i = 0; i < removal->survey.n_locks; i++) {
		const struct hf_found_lock *lock = &removal->survey.locks[i];

		if (!is_wanted(removal->wish, lock))
			continue;
		if (first && memcmp(first->view.id, lock->view.id, HF_ID_SIZE) != 0)
			return true;
		first = lock;
	}
	return false;
}

static void put_lock(yajl_gen gen, const struct hf_found_lock *lock, enum outcome outcome,
	const struct hf_error *err)
{
	static const char *const names[] = {[OUTCOME_REMOVED] = "removed",
		[OUTCOME_BUSY] = "left alone",
		[OUTCOME_FAILED] = "failed"};

	yajl_gen_map_open(gen);
	hf_found_put_lock(gen, lock);
	hf_json_string(gen, "outcome", names[outcome]);
	if (outcome == OUTCOME_FAILED)
		hf_json_string(gen, "error", err->text);
	yajl_gen_map_close(gen);
}

static void print_lock(
	const struct hf_found_lock *lock, enum outcome outcome, const struct hf_error *err)
{
	char id[HF_ID_TEXT], age[HF_FOUND_TEXT], owner[HF_FOUND_TEXT];

	printf("lock %s in %s (%s; age %s; %" PRIu32 " connections): ",
		hf_id_format(id, lock->view.id), lock->netns->path,
		hf_found_owner_text(owner, lock), hf_found_age_text(age, lock), lock->view.conns.n);
	if (outcome == OUTCOME_REMOVED)
		puts("removed");
	else if (outcome == OUTCOME_BUSY)
		printf("left alone, %s (pid %d) is busy\n", lock->busy.name, (int)lock->busy.pid);
	else
		printf("%s\n", err->text);
}

static void remove_lock(struct removal *removal, const struct hf_found_lock *lock)
{
	struct hf_error err = HF_ERROR_INIT;
	enum outcome outcome = OUTCOME_REMOVED;

	if (lock->situation == HF_LOCK_BUSY && !removal->wish->force)
		outcome = OUTCOME_BUSY;
	else if (hf_net_unlock_host(lock->netns->fd, lock->view.id, &err) < 0)
		outcome = OUTCOME_FAILED;
	removal->count[outcome]++;
	if (removal->gen)
		put_lock(removal->gen, lock, outcome, &err);
	else
		print_lock(lock, outcome, &err);
}

static void remove_all(struct removal *removal)
{
	yajl_gen gen = removal->gen;

	if (gen) {
		yajl_gen_map_open(gen);
		hf_json_text(gen, "locks");
		yajl_gen_array_open(gen);
	}
	for (size_t i = 0; i < removal->survey.n_locks; i++)
		if (is_wanted(removal->wish, &removal->survey.locks[i]))
			remove_lock(removal, &removal->survey.locks[i]);
	if (gen) {
		yajl_gen_array_close(gen);
		hf_found_put_error(gen, &removal->survey);
		yajl_gen_map_close(gen);
	}
}

/* Of those that nobody is busy with all are gone, or the one that was meant. */
static int exit_code(const struct removal *removal)
{
	const struct wish *wish = removal->wish;

	if (removal->survey.err.code || removal->count[OUTCOME_FAILED])
		return HF_EXIT_FAILURE;
	if (wish->all)
		return HF_EXIT_OK;
	if (removal->count[OUTCOME_BUSY]) {
		fprintf(stderr, "holdfast: a dump or a restore is going on; --force removes the "
				"lock all the same, and its connections may be reset\n");
		return HF_EXIT_FAILURE;
	}
	if (removal->count[OUTCOME_REMOVED])
		return HF_EXIT_OK;
	fprintf(stderr, "holdfast: there is no lock %s\n", wish->id);
	return HF_EXIT_NONE;
}

static int run(struct removal *removal)
{
	const struct wish *wish = removal->wish;
	int written, ret;

	hf_survey(&removal->survey, wish->netns, false);
	if (!wish->all && is_ambiguous(removal)) {
		fprintf(stderr, "holdfast: there are several locks %s...: more digits are needed\n",
			wish->id);
		return HF_EXIT_FAILURE;
	}
	removal->gen = wish->json ? hf_json_begin() : NULL;
	if (wish->json && !removal->gen)
		return HF_EXIT_FAILURE;
	remove_all(removal);
	if (!wish->json && wish->all && removal->survey.n_locks == 0 &&
		removal->survey.err.code == 0)
		puts("no locks");
	written = removal->gen ? hf_json_end(removal->gen) : 0;
	hf_found_print_error(&removal->survey, "unlock");
	ret = exit_code(removal);
	return hf_output_flush() < 0 || written < 0 ? HF_EXIT_FAILURE : ret;
}

int hf_verb_unlock(int argc, char **argv)
{
	struct hf_error err = HF_ERROR_INIT;
	struct removal removal = {0};
	struct wish wish;
	int ret;

	if (parse(argc, argv, &wish) < 0)
		return HF_EXIT_USAGE;
	if (!wish.all && find_id(&wish, &err) < 0) {
		fprintf(stderr, "holdfast: %s\n", err.text);
		return HF_EXIT_FAILURE;
	}
	removal.wish = &wish;
	ret = run(&removal);
	hf_survey_clear(&removal.survey);
	return ret;
}
