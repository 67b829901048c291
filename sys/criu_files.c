// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/criu_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/text_file.h"

#define DEFAULT_FILE "/etc/criu/default.conf"
#define HOME_FILE    ".criu/default.conf"
#define CRUN_FILE    "/etc/criu/crun.conf"
#define RUNC_FILE    "/etc/criu/runc.conf"

const char *hf_criu_user_name(enum hf_criu_user user)
{
	static const char *const names[] = {
		[HF_CRIU_ITSELF] = "criu", [HF_CRIU_CRUN] = "crun", [HF_CRIU_RUNC] = "runc"};

	return names[user];
}

static int read_one(struct hf_criu_files *files, const char *path, struct hf_error *err)
{
	char *kept = files->paths[files->n];
	hf_autofree char *text = NULL;
	struct hf_error why = HF_ERROR_INIT;
	size_t len = 0;
	int ret = hf_text_file_read(path, &text, &len, &why);

	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return hf_error_set(err, ret, "%s", why.text);
	snprintf(kept, PATH_MAX, "%s", path);
	files->n++;
	hf_criu_config_read(&files->options, kept, text, len);
	return 0;
}

/* What CRIU reads, whoever runs it. */
static int read_defaults(struct hf_criu_files *files, struct hf_error *err)
{
	const char *home = getenv("HOME"), *named = getenv("CRIU_CONFIG_FILE");
	char path[PATH_MAX];
	int ret = read_one(files, DEFAULT_FILE, err);

	snprintf(path, sizeof(path), "%s/" HOME_FILE, home ? home : "");
	if (ret == 0 && home)
		ret = read_one(files, path, err);
	if (ret == 0 && named)
		ret = read_one(files, named, err);
	return ret;
}

/*
 * What the runtimes' requests always say, and that is not to be there unless they are asked for it.
 * (Versions of crun differ about tcp-close; with the option in its own file all are the same.)
 */
static void apply_request(struct hf_criu_options *options, enum hf_criu_user user)
{
	hf_criu_flag_reset(&options->tcp_established);
	hf_criu_flag_reset(user == HF_CRIU_CRUN ? &options->tcp_close : &options->skip_in_flight);
}

int hf_criu_files_read(struct hf_criu_files *files, enum hf_criu_user user, struct hf_error *err)
{
	const char *own = DEFAULT_FILE;
	int ret;

	memset(files, 0, sizeof(*files));
	ret = read_defaults(files, err);
	if (user == HF_CRIU_CRUN)
		own = access(CRUN_FILE, F_OK) == 0 || access(RUNC_FILE, F_OK) < 0 ? CRUN_FILE
										  : RUNC_FILE;
	else if (user == HF_CRIU_RUNC)
		own = RUNC_FILE;
	snprintf(files->own, sizeof(files->own), "%s", own);
	if (ret < 0 || user == HF_CRIU_ITSELF)
		return ret;
	apply_request(&files->options, user);
	return read_one(files, own, err);
}
