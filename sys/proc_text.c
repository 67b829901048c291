// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/proc_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/cleanup.h"

int hf_proc_text(pid_t pid, const char *name, char buf[HF_PROC_TEXT])
{
	char path[64];
	hf_autoclose int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, HF_PROC_TEXT - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n ? 0 : -ESRCH;
}
