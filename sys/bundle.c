// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/bounded_read.h"

#define CONFIG_NAME "config.json"
#define CMDLINE_MAX (256u << 10)

/* Whatever lies there: a device or a pipe is not waited for. */
static int open_config(const char *bundle, struct hf_error *err)
{
	hf_autoclose int dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	hf_autoclose int fd = -1;
	struct stat st;

	if (dir < 0)
		return hf_error_sys(err, -errno, "cannot open it");
	fd = openat(dir, CONFIG_NAME, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return hf_error_sys(err, -errno, "cannot open " CONFIG_NAME);
	if (!S_ISREG(st.st_mode))
		return hf_error_set(err, -EINVAL, CONFIG_NAME " is not a regular file");
	return hf_steal_fd(&fd);
}

static int read_config(const char *bundle, struct hf_oci_config *config, struct hf_error *err)
{
	hf_autoclose int fd = open_config(bundle, err);
	hf_autofree char *text = NULL;
	size_t len = 0;
	int ret = fd;

	if (ret < 0)
		return ret;
	ret = hf_bounded_read(fd, HF_OCI_CONFIG_MAX, &text, &len, err);
	if (ret == 0)
		ret = hf_oci_config_read(config, text, len, err);
	return ret < 0 ? hf_error_context(err, ret, CONFIG_NAME) : 0;
}

int hf_bundle_config(const char *bundle, struct hf_oci_config *config, struct hf_error *err)
{
	int ret = read_config(bundle, config, err);

	return ret < 0 ? hf_error_context(err, ret, "the bundle %.200s", bundle) : 0;
}

/* The value of --bundle DIR, --bundle=DIR or -b DIR. */
static const char *option_value(const char *word, const char *next)
{
	static const char equal[] = "--bundle=";

	if (strcmp(word, "--bundle") == 0 || strcmp(word, "-b") == 0)
		return next;
	return strncmp(word, equal, sizeof(equal) - 1) == 0 ? word + sizeof(equal) - 1 : NULL;
}

/* Looks through the words of a command line, each with a zero byte at its end. True if it is about
 * a restore; *value is in it, or NULL. */
static bool scan(const char *words, size_t len, const char **value)
{
	bool restores = false;

	*value = NULL;
	for (const char *word = words; word < words + len; word += strlen(word) + 1) {
		const char *next = word + strlen(word) + 1;
		const char *found = option_value(word, next < words + len ? next : NULL);

		restores = restores || strcmp(word, "restore") == 0;
		if (found && !*value)
			*value = found;
	}
	return restores;
}

/* The directory, where a name without a slash at its start is one in the process's own. */
static int absolute(pid_t pid, const char *value, char **bundle, struct hf_error *err)
{
	int n;

	if (value && value[0] == '/')
		n = asprintf(bundle, "%s", value);
	else
		n = asprintf(bundle, "/proc/%d/cwd/%s", (int)pid, value ? value : "");
	return n < 0 ? hf_error_sys(err, -ENOMEM, "cannot look for the bundle") : 1;
}

static bool has_config(const char *bundle)
{
	hf_autoclose int dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return dir >= 0 && faccessat(dir, CONFIG_NAME, F_OK, 0) == 0;
}

int hf_bundle_of_runtime(pid_t pid, char **bundle, struct hf_error *err)
{
	hf_autoclose int fd = -1;
	hf_autofree char *words = NULL;
	const char *value;
	char path[64];
	size_t len = 0;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* It has ended: then it restores nothing. */
	if (fd < 0)
		return 0;
	ret = hf_bounded_read(fd, CMDLINE_MAX, &words, &len, err);
	if (ret == -EFBIG)
		return 0;
	if (ret < 0)
		return ret;
	if (len == 0 || words[len - 1] != '\0' || !scan(words, len, &value))
		return 0;
	ret = absolute(pid, value, bundle, err);
	if (ret == 1 && !has_config(*bundle)) {
		free(*bundle);
		*bundle = NULL;
		return 0;
	}
	return ret;
}
