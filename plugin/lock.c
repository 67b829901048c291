// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/lock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/lock_note.h"
#include "sys/net_lock.h"
#include "sys/processes.h"

int hf_lock_image(int netns, const struct hf_image *image, const char *why, struct hf_error *err)
{
	char comment[HF_LOCK_NOTE_TEXT];
	struct hf_lock_note note = {.pid = (uint32_t)getpid(), .time = (int64_t)time(NULL)};
	struct hf_lock lock = {
		.comment = comment, .conns = image->conns, .n_conns = image->n_conns};

	snprintf(note.why, sizeof(note.why), "%s", why);
	/* 0, unknown, where it cannot be read: then the number alone must do. */
	hf_process_start(getpid(), &note.start);
	memcpy(lock.id, image->id, HF_ID_SIZE);
	hf_lock_note_format(comment, &note);
	return hf_net_lock(netns, &lock, err);
}
