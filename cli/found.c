// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/found.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/lock_rules.h"

int hf_found_parse(int argc, char **argv, struct hf_found_options *options)
{
	static const struct option known[] = {{"json", no_argument, NULL, 'j'},
		{"netns", required_argument, NULL, 'n'}, {"dry-run", no_argument, NULL, 'd'},
		{NULL, 0, NULL, 0}};
	bool recovers = strcmp(argv[0], "recover") == 0;
	bool wrong = false;
	int option;

	memset(options, 0, sizeof(*options));
	opterr = 0;
	while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		options->json = options->json || option == 'j';
		options->dry_run = options->dry_run || option == 'd';
		if (option == 'n')
			options->netns = optarg;
		wrong = wrong || option == '?' || (option == 'd' && !recovers);
	}
	if (!wrong && optind == argc)
		return 0;
	fprintf(stderr, "usage: holdfast %s %s[--json] [--netns PATH]\n", argv[0],
		recovers ? "[--dry-run] " : "");
	return -1;
}

uint64_t hf_found_age(const struct hf_found_lock *lock)
{
	int64_t now = (int64_t)time(NULL);

	return lock->view.note.pid && now > lock->view.note.time
		       ? (uint64_t)(now - lock->view.note.time)
		       : 0;
}

static void format_seconds(char buf[HF_FOUND_TEXT], uint64_t seconds)
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	size_t i = 0;

	while (units[i].seconds > 1 && seconds < 2 * units[i].seconds)
		i++;
	snprintf(buf, HF_FOUND_TEXT, "%" PRIu64 " %s", seconds / units[i].seconds, units[i].name);
}

char *hf_found_age_text(char buf[HF_FOUND_TEXT], const struct hf_found_lock *lock)
{
	if (lock->view.note.pid)
		format_seconds(buf, hf_found_age(lock));
	else
		snprintf(buf, HF_FOUND_TEXT, "?");
	return buf;
}

char *hf_found_left_text(char buf[HF_FOUND_TEXT], const struct hf_found_lock *lock)
{
	if (lock->view.note.timeout_s)
		format_seconds(buf, lock->view.left_ms / 1000);
	else
		snprintf(buf, HF_FOUND_TEXT, "-");
	return buf;
}

char *hf_found_owner_text(char buf[HF_FOUND_TEXT], const struct hf_found_lock *lock)
{
	const struct hf_lock_note *note = &lock->view.note;

	if (note->pid)
		snprintf(buf, HF_FOUND_TEXT, "%s, pid %" PRIu32 "%s", note->why, note->pid,
			lock->owner_runs ? "" : " (ended)");
	else
		snprintf(buf, HF_FOUND_TEXT, "?");
	return buf;
}

static void put_owner(yajl_gen gen, const struct hf_found_lock *lock)
{
	const struct hf_lock_note *note = &lock->view.note;

	if (!note->pid)
		return;
	hf_json_number(gen, "created", (uint64_t)note->time);
	hf_json_number(gen, "age", hf_found_age(lock));
	hf_json_text(gen, "owner");
	yajl_gen_map_open(gen);
	hf_json_string(gen, "why", note->why);
	hf_json_number(gen, "pid", note->pid);
	hf_json_bool(gen, "runs", lock->owner_runs);
	yajl_gen_map_close(gen);
}

void hf_found_put_lock(yajl_gen gen, const struct hf_found_lock *lock)
{
	char id[HF_ID_TEXT], table[HF_TABLE_NAME];

	hf_json_string(gen, "id", hf_id_format(id, lock->view.id));
	hf_json_string(gen, "table", hf_table_name(table, lock->view.id));
	hf_json_string(gen, "netns", lock->netns->path);
	hf_json_number(gen, "netns_inode", lock->netns->inode);
	hf_json_string(gen, "situation", hf_situation_name(lock->situation));
	hf_json_number(gen, "connections", lock->view.conns.n);
	hf_json_number(gen, "open", lock->n_open);
	hf_json_number(gen, "packets_held", lock->view.packets);
	hf_json_number(gen, "bytes_held", lock->view.bytes);
	hf_json_bool(gen, "host", lock->view.note.timeout_s != 0);
	if (lock->view.note.timeout_s)
		hf_json_number(gen, "expires_in", lock->view.left_ms / 1000);
	put_owner(gen, lock);
	if (lock->situation == HF_LOCK_BUSY)
		hf_json_number(gen, "busy_pid", (uint64_t)lock->busy.pid);
}

void hf_found_put_error(yajl_gen gen, const struct hf_survey *survey)
{
	if (survey->err.code)
		hf_json_string(gen, "error", survey->err.text);
}

void hf_found_print_error(const struct hf_survey *survey, const char *verb)
{
	bool denied = survey->err.code == -EACCES || survey->err.code == -EPERM;

	if (survey->err.code && denied)
		fprintf(stderr, "holdfast: %s (%s needs to be run as root)\n", survey->err.text,
			verb);
	else if (survey->err.code)
		fprintf(stderr, "holdfast: %s\n", survey->err.text);
}
