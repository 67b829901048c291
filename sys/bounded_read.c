// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/bounded_read.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define FIRST_ROOM 16384

/* As much as there is room for. Returns how many bytes, 0 at the end. */
static ssize_t read_some(int fd, char *to, size_t room)
{
	ssize_t n;

	do {
		n = read(fd, to, room);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int hf_bounded_read(int fd, size_t max, char **text, size_t *len, struct hf_error *err)
{
	hf_autofree char *buffer = NULL;
	size_t room = 0, used = 0;

	for (;;) {
		ssize_t n;

		if (used == room) {
			char *grown;

			room = room ? 2 * room : FIRST_ROOM;
			grown = realloc(buffer, room);
			if (!grown)
				return hf_error_sys(err, -ENOMEM, "cannot read it");
			buffer = grown;
		}
		n = read_some(fd, buffer + used, room - used);
		if (n < 0)
			return hf_error_sys(err, (int)n, "cannot read it");
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max)
			return hf_error_set(err, -EFBIG, "longer than %zu KiB", max / 1024);
	}
	*text = buffer;
	*len = used;
	buffer = NULL;
	return 0;
}
