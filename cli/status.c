// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast status: every lock, whose it is and what it holds. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/found.h"
#include "cli/output.h"
#include "cli/verbs.h"

static void print_lock(const struct hf_found_lock *lock)
{
	char id[HF_ID_TEXT], age[HF_FOUND_TEXT], left[HF_FOUND_TEXT], owner[HF_FOUND_TEXT];

	printf("%-32s %-9s %6" PRIu32 " %6" PRIu32 " %8" PRIu64 " %8s %8s  %-32s %s\n",
		hf_id_format(id, lock->view.id), hf_situation_name(lock->situation),
		lock->view.conns.n, lock->n_open, lock->view.packets, hf_found_age_text(age, lock),
		hf_found_left_text(left, lock), hf_found_owner_text(owner, lock),
		lock->netns->path);
}

static void print_table(const struct hf_survey *survey)
{
	if (survey->n_locks)
		printf("%-32s %-9s %6s %6s %8s %8s %8s  %-32s %s\n", "LOCK", "SITUATION", "CONNS",
			"OPEN", "HELD", "AGE", "LEFT", "OWNER", "NETWORK NAMESPACE");
	else if (survey->err.code == 0)
		puts("no locks");
	for (size_t i = 0; i < survey->n_locks; i++)
		print_lock(&survey->locks[i]);
}

static int print_json(const struct hf_survey *survey)
{
	yajl_gen gen = hf_json_begin();

	if (!gen)
		return -1;
	yajl_gen_map_open(gen);
	hf_json_text(gen, "locks");
	yajl_gen_array_open(gen);
	for (size_t i = 0; i < survey->n_locks; i++) {
		yajl_gen_map_open(gen);
		hf_found_put_lock(gen, &survey->locks[i]);
		yajl_gen_map_close(gen);
	}
	yajl_gen_array_close(gen);
	hf_found_put_error(gen, survey);
	yajl_gen_map_close(gen);
	return hf_json_end(gen);
}

int hf_verb_status(int argc, char **argv)
{
	struct hf_found_options options;
	struct hf_survey survey;
	int ret = HF_EXIT_OK;

	if (hf_found_parse(argc, argv, &options) < 0)
		return HF_EXIT_USAGE;
	if (hf_survey(&survey, options.netns, false) < 0)
		ret = HF_EXIT_FAILURE;
	if (!options.json)
		print_table(&survey);
	else if (print_json(&survey) < 0)
		ret = HF_EXIT_FAILURE;
	hf_found_print_error(&survey, "status");
	hf_survey_clear(&survey);
	return hf_output_flush() < 0 ? HF_EXIT_FAILURE : ret;
}
