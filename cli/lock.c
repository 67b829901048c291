// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * holdfast lock: holds the packets of a checkpoint's connections on a host where it is about to be
 * restored, from before the container's network is set up. The restore removes the lock.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/checkpoint.h"
#include "cli/in_use.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "lib/cleanup.h"
#include "sys/config_file.h"
#include "sys/net_lock.h"
#include "sys/netns.h"

#define MAX_TIMEOUT_S 86400

struct wish {
	bool json;
	uint32_t timeout_s; /* 0: as it is configured */
	const char *netns;  /* NULL: our own */
	const char *checkpoint;
};

/* What came of it. */
struct result {
	int taken;                /* enum hf_lock_taken */
	struct hf_lock_view view; /* the lock as it is now */
};

/* 0 if it is no number, or one out of range. */
static uint32_t parse_timeout(const char *text)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return 0;
	value = strtoul(text, &end, 10);
	return *end == '\0' && value <= MAX_TIMEOUT_S ? (uint32_t)value : 0;
}

static int parse(int argc, char **argv, struct wish *wish)
{
	static const struct option known[] = {{"json", no_argument, NULL, 'j'},
		{"netns", required_argument, NULL, 'n'}, {"timeout", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0}};
	bool wrong = false;
	int option;

	memset(wish, 0, sizeof(*wish));
	opterr = 0;
	while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		wish->json = wish->json || option == 'j';
		wrong = wrong || option == '?';
		if (option == 'n')
			wish->netns = optarg;
		if (option == 't')
			wish->timeout_s = parse_timeout(optarg);
		if (option == 't' && wish->timeout_s == 0) {
			fprintf(stderr, "holdfast: --timeout is from 1 to %d seconds\n",
				MAX_TIMEOUT_S);
			return -1;
		}
	}
	wish->checkpoint = argv[optind];
	if (!wrong && optind + 1 == argc)
		return 0;
	fprintf(stderr, "usage: holdfast lock [--json] [--timeout SECONDS] [--netns PATH] "
			"CHECKPOINT\n");
	return -1;
}

static int find_timeout(struct wish *wish, struct hf_error *err)
{
	struct hf_config config;
	int ret = wish->timeout_s ? 0 : hf_config_load(&config, err);

	if (wish->timeout_s == 0 && ret == 0)
		wish->timeout_s = config.lock_timeout_s;
	return ret;
}

/* Looks the lock up. It may have been removed again by now. */
static int look(
	int netns, const struct hf_image *image, struct result *result, struct hf_error *err)
{
	struct hf_lock_list list = {0};
	int ret = hf_net_locks(netns, &list, err);

	for (size_t i = 0; i < list.n; i++)
		if (memcmp(list.locks[i].id, image->id, HF_ID_SIZE) == 0) {
			result->view = list.locks[i];
			memset(&list.locks[i], 0, sizeof(list.locks[i]));
		}
	hf_lock_list_clear(&list);
	return ret;
}

static int take_lock(const struct wish *wish, const struct hf_image *image, struct result *result,
	struct hf_error *err)
{
	hf_autoclose int netns =
		wish->netns ? hf_netns_open_path(wish->netns, err) : hf_netns_open(0, err);
	int ret = netns < 0 ? netns : hf_in_use(image, err);

	/* One that holds nothing any more would be taken for this one. */
	if (ret == 0)
		ret = hf_net_unlock_expired(netns, err);
	if (ret >= 0)
		ret = hf_net_lock_host(netns, image, "lock", wish->timeout_s, err);
	if (ret < 0)
		return ret;
	result->taken = ret;
	return look(netns, image, result, err);
}

static uint64_t seconds_left(const struct result *result)
{
	return (result->view.left_ms + 999) / 1000;
}

static void print_line(
	const struct wish *wish, const struct hf_image *image, const struct result *result)
{
	const char *where = wish->netns ? wish->netns : "this network namespace";
	char id[HF_ID_TEXT];

	hf_id_format(id, image->id);
	if (result->taken == HF_LOCK_NOTHING) {
		printf("checkpoint %s: nothing to hold\n", id);
		return;
	}
	printf("lock %s %s in %s: %" PRIu32 " connections, %" PRIu32 " addresses that listen", id,
		result->taken == HF_LOCK_TAKEN ? "taken" : "is there already", where,
		result->view.conns.n, result->view.listeners.n);
	if (result->view.left_ms)
		printf(", for %s%" PRIu64 " s", result->taken == HF_LOCK_TAKEN ? "" : "another ",
			seconds_left(result));
	putchar('\n');
}

static int print_json(const struct hf_image *image, const struct result *result)
{
	static const char *const outcomes[] = {[HF_LOCK_TAKEN] = "taken",
		[HF_LOCK_THERE] = "already there",
		[HF_LOCK_NOTHING] = "nothing to hold"};
	yajl_gen gen = hf_json_begin();
	char id[HF_ID_TEXT];

	if (!gen)
		return -1;
	yajl_gen_map_open(gen);
	hf_json_string(gen, "id", hf_id_format(id, image->id));
	hf_json_string(gen, "outcome", outcomes[result->taken]);
	hf_json_number(gen, "connections", result->view.conns.n);
	hf_json_number(gen, "listeners", result->view.listeners.n);
	if (result->view.left_ms)
		hf_json_number(gen, "expires_in", seconds_left(result));
	yajl_gen_map_close(gen);
	return hf_json_end(gen);
}

static int print(const struct wish *wish, const struct hf_image *image, const struct result *result)
{
	int ret = 0;

	if (wish->json)
		ret = print_json(image, result);
	else
		print_line(wish, image, result);
	return hf_output_flush() < 0 || ret < 0 ? HF_EXIT_FAILURE : HF_EXIT_OK;
}

int hf_verb_lock(int argc, char **argv)
{
	struct hf_error err = HF_ERROR_INIT;
	struct hf_image image = {0};
	struct result result = {0};
	struct wish wish;
	int ret;

	if (parse(argc, argv, &wish) < 0)
		return HF_EXIT_USAGE;
	ret = find_timeout(&wish, &err);
	if (ret == 0)
		ret = hf_checkpoint_read(wish.checkpoint, &image, &err);
	if (ret == 0)
		ret = take_lock(&wish, &image, &result, &err);
	if (ret < 0)
		fprintf(stderr, "holdfast: %s%s\n", err.text,
			ret == -EPERM || ret == -EACCES ? " (lock needs to be run as root)" : "");
	ret = ret < 0 ? HF_EXIT_FAILURE : print(&wish, &image, &result);
	hf_lock_view_clear(&result.view);
	hf_image_clear(&image);
	return ret;
}
