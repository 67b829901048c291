// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast check: whether a checkpoint would keep its connections on this machine, and if not, why.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/check.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "config.h"
#include "sys/command.h"

static const struct hf_check checks[] = {
	{.name = "permissions", .run = hf_check_permissions},
	{.name = "kernel", .run = hf_check_kernel},
	{.name = "tcp-repair", .run = hf_check_repair},
	{.name = "pidfd", .run = hf_check_pidfd},
	{.name = "sock-diag", .run = hf_check_sock_diag},
	{.name = "nftables", .run = hf_check_nftables},
	{.name = "bridge", .run = hf_check_bridge},
	{.name = "barrier", .run = hf_check_barrier},
	{.name = "holdfast.conf", .run = hf_check_configuration},
	{.name = "criu", .run = hf_check_criu},
	{.name = "libcriu", .run = hf_check_libcriu, .user = HF_CRIU_CRUN},
	{.name = "criu-files", .run = hf_check_criu_files},
	{.name = "options-criu", .run = hf_check_options, .user = HF_CRIU_ITSELF},
	{.name = "options-crun", .run = hf_check_options, .user = HF_CRIU_CRUN},
	{.name = "options-runc", .run = hf_check_options, .user = HF_CRIU_RUNC},
	{.name = "plugin", .run = hf_check_plugin},
	{.name = "hooks", .run = hf_check_hooks},
};
#define N_CHECKS (sizeof(checks) / sizeof(checks[0]))

static const char *const words[HF_CHECK_RESULTS] = {
	[HF_CHECK_PASS] = "PASS",
	[HF_CHECK_WARN] = "WARN",
	[HF_CHECK_FAIL] = "FAIL",
	[HF_CHECK_SKIP] = "SKIP",
};

/* In plain ASCII, whatever is quoted of files and programs: for terminals and for JSON. */
void hf_found(struct hf_finding *finding, enum hf_check_result result, const char *format, ...)
{
	va_list args;

	finding->result = result;
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
	for (char *at = finding->text; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

static void look_at_users(struct hf_check_context *context, bool some)
{
	for (int i = 0; i < HF_CRIU_USERS; i++) {
		struct hf_check_user *user = &context->users[i];
		char path[PATH_MAX];

		user->installed = hf_command_find(hf_criu_user_name(i), path);
		user->left_out = some && !user->asked_for;
		user->ret = hf_criu_files_read(&user->files, i, &user->err);
		user->verdict = hf_criu_judge(&user->files.options, user->advice);
		if (i == HF_CRIU_ITSELF)
			memcpy(context->criu, path, sizeof(path));
	}
}

/* Names on the command line are those whose options count. Returns how many, or -1. */
static int take_names(struct hf_check_context *context, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		int user = 0;

		while (user < HF_CRIU_USERS && strcmp(argv[i], hf_criu_user_name(user)) != 0)
			user++;
		if (user == HF_CRIU_USERS)
			return -1;
		context->users[user].asked_for = true;
	}
	return argc;
}

static void put_json(yajl_gen gen, const struct hf_finding findings[N_CHECKS], unsigned int failed)
{
	yajl_gen_map_open(gen);
	hf_json_string(gen, "version", PACKAGE_VERSION);
	hf_json_text(gen, "checks");
	yajl_gen_array_open(gen);
	for (size_t i = 0; i < N_CHECKS; i++) {
		yajl_gen_map_open(gen);
		hf_json_string(gen, "name", checks[i].name);
		hf_json_string(gen, "result", words[findings[i].result]);
		hf_json_string(gen, "text", findings[i].text);
		yajl_gen_map_close(gen);
	}
	yajl_gen_array_close(gen);
	hf_json_number(gen, "failed", failed);
	yajl_gen_map_close(gen);
}

static int print_json(const struct hf_finding findings[N_CHECKS], unsigned int failed)
{
	yajl_gen gen = hf_json_begin();

	if (!gen)
		return -1;
	put_json(gen, findings, failed);
	return hf_json_end(gen);
}

static void print_lines(const struct hf_finding findings[N_CHECKS], unsigned int failed)
{
	for (size_t i = 0; i < N_CHECKS; i++)
		printf("%s  %-13s  %s\n", words[findings[i].result], checks[i].name,
			findings[i].text);
	if (failed)
		printf("%u check%s failed\n", failed, failed == 1 ? "" : "s");
	else
		puts("nothing failed");
}

static int run(const struct hf_check_context *context, bool json)
{
	struct hf_finding findings[N_CHECKS];
	unsigned int failed = 0;
	int ret = 0;

	for (size_t i = 0; i < N_CHECKS; i++) {
		checks[i].run(context, &checks[i], &findings[i]);
		failed += findings[i].result == HF_CHECK_FAIL;
	}
	if (json)
		ret = print_json(findings, failed);
	else
		print_lines(findings, failed);
	return hf_output_flush() < 0 || ret < 0 || failed ? HF_EXIT_FAILURE : HF_EXIT_OK;
}

int hf_verb_check(int argc, char **argv)
{
	static const struct option known[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	struct hf_check_context *context = calloc(1, sizeof(*context));
	bool json = false, wrong = false;
	int option, named, ret;

	if (!context) {
		fprintf(stderr, "holdfast: out of memory\n");
		return HF_EXIT_FAILURE;
	}
	opterr = 0;
	while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		json = json || option == 'j';
		wrong = wrong || option == '?';
	}
	named = take_names(context, argc - optind, argv + optind);
	if (wrong || named < 0) {
		fprintf(stderr, "usage: holdfast check [--json] [criu] [crun] [runc]\n");
		ret = HF_EXIT_USAGE;
	} else {
		look_at_users(context, named > 0);
		ret = run(context, json);
	}
	free(context);
	return ret;
}
