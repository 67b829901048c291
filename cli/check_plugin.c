// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * holdfast check: whether CRIU finds our plugin and loads it. Only CRIU itself can tell, since the
 * plugin needs functions of it: it loads all plugins at the start of a pre-dump, and then finds
 * that there is no such process.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/check.h"
#include "config.h"
#include "lib/cleanup.h"
#include "sys/command.h"

#define SECONDS 30
#define NAME    "holdfast_plugin.so"
#define NOBODY  "2147483647" /* beyond the largest number of a process */

static const char *libdir_of_environment(void)
{
	const char *libdir = getenv("CRIU_LIBS_DIR");

	return libdir ? libdir : "";
}

/* The one that CRIU was built with stands in its help. */
static void ask_default_libdir(const char *criu, char libdir[HF_CRIU_VALUE])
{
	const char *const argv[] = {criu, "--help", NULL};
	static const char before[] = "path to a plugin directory (by default ";
	static struct hf_command command;
	const char *at;

	libdir[0] = '\0';
	if (hf_command_run(&command, argv, SECONDS, NULL) < 0)
		return;
	at = strstr(command.output, before);
	if (!at)
		return;
	at += strlen(before);
	snprintf(libdir, HF_CRIU_VALUE, "%.*s", (int)strcspn(at, ")"), at);
}

static void find_libdir(const struct hf_check_context *context,
	const struct hf_criu_options *options, char libdir[HF_CRIU_VALUE])
{
	if (options->libdir.text[0])
		snprintf(libdir, HF_CRIU_VALUE, "%s", options->libdir.text);
	else if (*libdir_of_environment())
		snprintf(libdir, HF_CRIU_VALUE, "%s", libdir_of_environment());
	else
		ask_default_libdir(context->criu, libdir);
	for (size_t len = strlen(libdir); len > 1 && libdir[len - 1] == '/'; len--)
		libdir[len - 1] = '\0';
}

/* What CRIU writes into its image directory, and the directory. */
static void remove_directory(const char *path)
{
	DIR *dir = opendir(path);
	int fd = dir ? dirfd(dir) : -1;
	struct dirent *entry;

	while (fd >= 0 && (entry = readdir(dir)))
		if (entry->d_type == DT_REG)
			unlinkat(fd, entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

static int have_criu_load(const struct hf_check_context *context, const char *libdir,
	struct hf_command *command, struct hf_error *err)
{
	char images[] = "/tmp/holdfast-check.XXXXXX";
	const char *const argv[] = {context->criu, "pre-dump", "--no-default-config", "--libdir",
		libdir, "--tree", NOBODY, "--images-dir", images, "--log-file", "-", "-v4", NULL};
	int ret;

	if (!mkdtemp(images))
		return hf_error_set(err, -1, "cannot make a directory in /tmp");
	ret = hf_command_run(command, argv, SECONDS, err);
	remove_directory(images);
	return ret;
}

/* The line of the output with this text, ended, and without the time in front; NULL: there is none.
 */
static char *find_line(char *output, const char *part)
{
	char *at = strstr(output, part), *time;

	if (!at)
		return NULL;
	while (at > output && at[-1] != '\n')
		at--;
	at[strcspn(at, "\n")] = '\0';
	time = at[0] == '(' ? strstr(at, ") ") : NULL;
	return time ? time + 2 : at;
}

/* CRIU goes on with no plugin if it cannot load one of them. */
static void judge_output(char *output, const char *libdir, struct hf_finding *finding)
{
	static const char says[] = "holdfast: version ";
	const char *at = strstr(output, says);
	const char *version = at ? at + strlen(says) : "unknown";
	bool loaded = strstr(output, "Plugin \"holdfast\"");
	char mine[32];
	const char *error;

	snprintf(mine, sizeof(mine), "%.*s", (int)strcspn(version, "\n"), version);
	error = find_line(output, "Error (criu/plugin.c");
	if (!loaded || error)
		hf_found(finding, HF_CHECK_FAIL, "CRIU does not load %s/" NAME ": %s", libdir,
			error ? error : "no reason told");
	else if (strcmp(mine, PACKAGE_VERSION) != 0)
		hf_found(finding, HF_CHECK_FAIL,
			"%s/" NAME " is of version %s, this command of version %s: install both "
			"from one build",
			libdir, mine, PACKAGE_VERSION);
	else
		hf_found(finding, HF_CHECK_PASS, "CRIU loads %s/" NAME ", version %s", libdir,
			PACKAGE_VERSION);
}

/* True if it is found right. */
static bool check_libdir(const struct hf_check_context *context, const char *libdir,
	enum hf_criu_user user, struct hf_finding *finding)
{
	static struct hf_command command;
	struct hf_error err = HF_ERROR_INIT;
	char path[HF_CRIU_VALUE + sizeof(NAME)];
	const struct hf_criu_place *place = &context->users[user].files.options.libdir.place;

	snprintf(path, sizeof(path), "%s/" NAME, libdir);
	if (access(path, R_OK) < 0)
		hf_found(finding, HF_CHECK_FAIL,
			"no %s, where %s looks for it (libdir is set in: %s): install it there, or "
			"correct libdir",
			path, hf_criu_user_name(user), place->file ? place->file : "no file");
	else if (have_criu_load(context, libdir, &command, &err) < 0)
		hf_found(finding, HF_CHECK_FAIL, "%s", err.text);
	else
		judge_output(command.output, libdir, finding);
	return finding->result == HF_CHECK_PASS;
}

HF_CHECK_FUNCTION(hf_check_plugin)
{
	char last[HF_CRIU_VALUE] = "", libdir[HF_CRIU_VALUE];

	(void)check;
	hf_found(finding, HF_CHECK_SKIP, "holdfast is not switched on for any that are checked");
	if (!context->criu[0])
		hf_found(finding, HF_CHECK_SKIP, "CRIU is not installed");
	for (int i = 0; context->criu[0] && i < HF_CRIU_USERS; i++) {
		const struct hf_check_user *user = &context->users[i];

		if (!user->installed || user->left_out || user->ret < 0 ||
			user->verdict == HF_CRIU_OFF)
			continue;
		find_libdir(context, &user->files.options, libdir);
		if (strcmp(libdir, last) == 0)
			continue;
		if (!check_libdir(context, libdir, i, finding))
			return;
		memcpy(last, libdir, sizeof(last));
	}
}
