// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/lock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sys/net_lock.h"

int hf_lock_image(int netns, const struct hf_image *image, const char *why, struct hf_error *err)
{
	char comment[96];
	struct hf_lock lock = {
		.comment = comment, .conns = image->conns, .n_conns = image->n_conns};

	memcpy(lock.id, image->id, HF_ID_SIZE);
	snprintf(comment, sizeof(comment), "holdfast: %s, pid %d, %lld", why, (int)getpid(),
		(long long)time(NULL));
	return hf_net_lock(netns, &lock, err);
}
