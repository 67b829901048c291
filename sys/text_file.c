// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/cleanup.h"

int hf_text_file_read(const char *path, char **text, size_t *len, struct hf_error *err)
{
	hf_autofree char *buffer = malloc(HF_TEXT_FILE_MAX);
	hf_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;

	if (fd < 0)
		return hf_error_sys(err, -errno, "cannot open %s", path);
	if (!buffer)
		return hf_error_sys(err, -ENOMEM, "cannot read %s", path);
	while (used < HF_TEXT_FILE_MAX) {
		ssize_t n = read(fd, buffer + used, HF_TEXT_FILE_MAX - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return hf_error_sys(err, -errno, "cannot read %s", path);
		if (n == 0) {
			buffer[used] = '\0';
			*text = buffer;
			*len = used;
			buffer = NULL;
			return 0;
		}
		used += (size_t)n;
	}
	return hf_error_set(err, -EFBIG, "%s is longer than 64 KiB", path);
}
