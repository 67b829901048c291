// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast check: CRIU, and the options with which it is run. */
#include <dlfcn.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli/check.h"
#include "sys/command.h"

#define SECONDS 20

/* With a configuration file that CRIU refuses it would not even tell its version. */
static const char *ask_version(const struct hf_check_context *context, struct hf_version *version,
	struct hf_finding *finding)
{
	const char *const argv[] = {context->criu, "--no-default-config", "--version", NULL};
	static struct hf_command command;
	struct hf_error err = HF_ERROR_INIT;
	const char *line;

	if (hf_command_run(&command, argv, SECONDS, &err) < 0) {
		hf_found(finding, HF_CHECK_FAIL, "%s", err.text);
		return NULL;
	}
	line = hf_command_line(&command);
	if (strncmp(line, "Version: ", 9) == 0 && hf_version_parse(version, line + 9))
		return line + 9;
	hf_found(finding, HF_CHECK_FAIL, "%s does not tell its version, but: %s", context->criu,
		line);
	return NULL;
}

HF_CHECK_FUNCTION(hf_check_criu)
{
	struct hf_version version = {0}, kernel = {0}, oldest;
	struct utsname name;
	const char *text;

	(void)check;
	if (!context->criu[0]) {
		hf_found(finding, HF_CHECK_FAIL, "not installed: install CRIU 4.2 or later");
		return;
	}
	text = ask_version(context, &version, finding);
	if (!text)
		return;
	uname(&name);
	hf_version_parse(&kernel, name.release);
	oldest = hf_criu_oldest(&kernel);
	if (hf_version_before(&version, oldest.major, oldest.minor))
		hf_found(finding, HF_CHECK_FAIL,
			"%s is version %s: Linux %u.%u needs %u.%u or later", context->criu, text,
			kernel.major, kernel.minor, oldest.major, oldest.minor);
	else
		hf_found(finding, HF_CHECK_PASS, "%s, version %s", context->criu, text);
}

/* crun loads it when it needs it, and hands it the name of the configuration file. */
HF_CHECK_FUNCTION(hf_check_libcriu)
{
	const struct hf_check_user *user = &context->users[check->user];
	void *library;

	if (!user->installed || user->left_out) {
		hf_found(finding, HF_CHECK_SKIP, "only crun needs it, which is %s",
			user->installed ? "not asked for" : "not installed");
		return;
	}
	library = dlopen("libcriu.so.2", RTLD_LAZY | RTLD_LOCAL);
	if (!library)
		hf_found(finding, HF_CHECK_FAIL,
			"crun cannot make checkpoints without it: install libcriu2 (%s)",
			dlerror());
	else if (!dlsym(library, "criu_set_config_file"))
		hf_found(finding, HF_CHECK_FAIL,
			"too old, crun does not read %s with it: install that of CRIU 4.2",
			user->files.own);
	else
		hf_found(finding, HF_CHECK_PASS, "libcriu.so.2 hands crun's options on");
	if (library)
		dlclose(library);
}

static bool counts(const struct hf_check_user *user)
{
	return user->installed && !user->left_out;
}

/* Whether it is a file of an earlier user as well. */
static bool was_seen(const struct hf_check_context *context, int before, const char *path)
{
	for (int i = 0; i < before; i++)
		for (size_t k = 0; counts(&context->users[i]) && k < context->users[i].files.n; k++)
			if (strcmp(context->users[i].files.paths[k], path) == 0)
				return true;
	return false;
}

/* CRIU reads the file before it comes to what it is asked. */
static bool is_taken(
	const struct hf_check_context *context, const char *path, struct hf_finding *finding)
{
	const char *const argv[] = {context->criu, "--config", path, "--version", NULL};
	static struct hf_command command;
	struct hf_error err = HF_ERROR_INIT;

	if (hf_command_run(&command, argv, SECONDS, &err) < 0)
		hf_found(finding, HF_CHECK_FAIL, "%s", err.text);
	else if (command.status != 0)
		hf_found(finding, HF_CHECK_FAIL, "CRIU refuses %s: %s", path,
			hf_command_line(&command));
	else
		return true;
	return false;
}

HF_CHECK_FUNCTION(hf_check_criu_files)
{
	size_t n = 0;

	(void)check;
	if (!context->criu[0]) {
		hf_found(finding, HF_CHECK_SKIP, "CRIU is not installed");
		return;
	}
	for (int i = 0; i < HF_CRIU_USERS; i++) {
		const struct hf_check_user *user = &context->users[i];

		if (!counts(user))
			continue;
		if (user->ret < 0) {
			hf_found(finding, HF_CHECK_FAIL, "%s", user->err.text);
			return;
		}
		for (size_t k = 0; k < user->files.n; k++) {
			if (was_seen(context, i, user->files.paths[k]))
				continue;
			if (!is_taken(context, user->files.paths[k], finding))
				return;
			n++;
		}
	}
	hf_found(finding, HF_CHECK_PASS, "CRIU takes all of its %zu configuration files", n);
}

/* Not everybody who has CRIU runs it by hand. */
static enum hf_check_result when_off(const struct hf_check *check, const struct hf_check_user *user)
{
	return check->user == HF_CRIU_ITSELF && !user->asked_for ? HF_CHECK_WARN : HF_CHECK_FAIL;
}

HF_CHECK_FUNCTION(hf_check_options)
{
	const struct hf_check_user *user = &context->users[check->user];
	const struct hf_criu_options *options = &user->files.options;
	const char *name = hf_criu_user_name(check->user);

	if (!user->installed)
		hf_found(finding, user->asked_for ? HF_CHECK_FAIL : HF_CHECK_SKIP,
			"%s is not installed", name);
	else if (user->left_out)
		hf_found(finding, HF_CHECK_SKIP, "not asked for");
	else if (user->ret < 0)
		hf_found(finding, HF_CHECK_FAIL, "%s", user->err.text);
	else if (user->verdict == HF_CRIU_OFF)
		hf_found(finding, when_off(check, user), "holdfast is not switched on: %s to %s",
			user->advice, user->files.own);
	else if (user->verdict == HF_CRIU_WRONG)
		hf_found(finding, HF_CHECK_FAIL, "%s: %s", user->files.own, user->advice);
	else if (user->verdict == HF_CRIU_BESIDE)
		hf_found(finding, HF_CHECK_PASS,
			"CRIU restores connections itself (tcp-established in %s), with holdfast "
			"beside it",
			options->tcp_established.place.file);
	else if (*user->advice)
		hf_found(finding, HF_CHECK_WARN, "%s: %s", user->files.own, user->advice);
	else
		hf_found(finding, HF_CHECK_PASS,
			"tcp-close, network-lock skip and skip-in-flight are in force (%s)",
			options->tcp_close.place.file);
}
