// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast check: our OCI hook, in the directories of oci-hooks(5) that podman and CRI-O read. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yajl/yajl_tree.h>

#include "cli/check.h"
#include "lib/cleanup.h"
#include "sys/command.h"
#include "sys/text_file.h"

#define PROGRAM "holdfast-hook"

/* A file in a later one stands for a file of the same name in an earlier one. */
static const char *const directories[] = {
	"/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"};
#define N_DIRECTORIES (sizeof(directories) / sizeof(directories[0]))

static bool is_overridden(size_t directory, const char *name)
{
	char path[PATH_MAX];

	for (size_t i = directory + 1; i < N_DIRECTORIES; i++) {
		snprintf(path, sizeof(path), "%s/%s", directories[i], name);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* Looks at one file: true if it is about our hook, and then it is judged. */
static bool check_file(const char *path, struct hf_finding *finding)
{
	static const char *const to_path[] = {"hook", "path", NULL};
	hf_autofree char *text = NULL;
	struct hf_error err = HF_ERROR_INIT;
	const char *program;
	yajl_val root, value;
	size_t len;
	bool ours;

	if (hf_text_file_read(path, &text, &len, &err) < 0) {
		hf_found(finding, HF_CHECK_FAIL, "%s", err.text);
		return strstr(path, "holdfast") != NULL;
	}
	root = yajl_tree_parse(text, NULL, 0);
	value = root ? yajl_tree_get(root, (const char **)to_path, yajl_t_string) : NULL;
	program = value ? YAJL_GET_STRING(value) : NULL;
	ours = program ? ends_with(program, "/" PROGRAM) : strstr(path, "holdfast") != NULL;
	if (ours && !program)
		hf_found(finding, HF_CHECK_FAIL, "%s is no description of a hook", path);
	else if (ours && access(program, X_OK) < 0)
		hf_found(finding, HF_CHECK_FAIL,
			"%s names %s, which cannot be run: install it there, or correct the path",
			path, program);
	else if (ours)
		hf_found(finding, HF_CHECK_PASS, "%s runs %s", path, program);
	yajl_tree_free(root);
	return ours;
}

static bool check_directory(size_t number, struct hf_finding *finding)
{
	DIR *dir = opendir(directories[number]);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		char path[PATH_MAX];

		if (!ends_with(entry->d_name, ".json") || is_overridden(number, entry->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directories[number], entry->d_name);
		found = check_file(path, finding);
	}
	if (dir)
		closedir(dir);
	return found;
}

HF_CHECK_FUNCTION(hf_check_hooks)
{
	char path[PATH_MAX];

	(void)context;
	(void)check;
	if (!hf_command_find("podman", path) && !hf_command_find("crio", path)) {
		hf_found(finding, HF_CHECK_SKIP, "neither podman nor CRI-O is installed");
		return;
	}
	for (size_t i = N_DIRECTORIES; i-- > 0;)
		if (check_directory(i, finding))
			return;
	hf_found(finding, HF_CHECK_FAIL,
		"no file in %s or %s names " PROGRAM ": install the one that comes with holdfast",
		directories[0], directories[1]);
}
