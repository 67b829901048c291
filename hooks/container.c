// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hooks/hook.h"
#include "lib/cleanup.h"
#include "sys/bounded_read.h"

#define CONFIG_NAME "config.json"

int hf_container_read_state(struct hf_container *container, int input, struct hf_error *err)
{
	hf_autofree char *text = NULL;
	size_t len = 0;
	int ret = hf_bounded_read(input, HF_OCI_STATE_MAX, &text, &len, err);

	if (ret == 0)
		ret = hf_oci_state_read(&container->state, text, len, err);
	return ret < 0 ? hf_error_context(err, ret, "the container's state") : 0;
}

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

static int read_config(struct hf_oci_config *config, const char *bundle, struct hf_error *err)
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

int hf_container_read_config(struct hf_container *container, struct hf_error *err)
{
	int ret = read_config(&container->config, container->state.bundle, err);

	return ret < 0 ? hf_error_context(err, ret, "the bundle %.200s", container->state.bundle)
		       : 0;
}
