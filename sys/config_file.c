// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define MAX_SIZE 65536

int hf_config_load(struct hf_config *config, struct hf_error *err)
{
	const char *named = getenv("HOLDFAST_CONF");
	const char *path = named ? named : HF_CONFIG_FILE;
	hf_autofree char *text = malloc(MAX_SIZE);
	hf_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	int ret = 0;

	*config = hf_config_defaults();
	if (!text)
		return hf_error_sys(err, -ENOMEM, "cannot read %s", path);
	if (fd < 0 && (errno != ENOENT || named))
		return hf_error_sys(err, -errno, "cannot open %s", path);
	while (fd >= 0) {
		ssize_t n = read(fd, text + len, MAX_SIZE - len);

		if (n < 0)
			return hf_error_sys(err, -errno, "cannot read %s", path);
		if (n == 0)
			break;
		len += (size_t)n;
		if (len == MAX_SIZE)
			return hf_error_set(err, -EFBIG, "%s is longer than 64 KiB", path);
	}
	if (fd >= 0)
		ret = hf_config_parse(config, path, text, len, err);
	return ret < 0 ? ret : hf_config_environment(config, getenv("HOLDFAST"), err);
}
