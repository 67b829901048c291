// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/lock_note.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WHEN_TEXT 40

char *hf_lock_note_format(char buf[HF_LOCK_NOTE_TEXT], const struct hf_lock_note *note)
{
	time_t seconds = (time_t)note->time;
	struct tm when = {0};
	char text[WHEN_TEXT];

	gmtime_r(&seconds, &when);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &when);
	snprintf(buf, HF_LOCK_NOTE_TEXT, "holdfast: %s, pid %" PRIu32 " (start %" PRIu64 "), %s",
		note->why, note->pid, note->start, text);
	if (note->timeout_s) {
		size_t len = strlen(buf);

		snprintf(
			buf + len, HF_LOCK_NOTE_TEXT - len, ", for %" PRIu32 " s", note->timeout_s);
	}
	return buf;
}

bool hf_lock_note_parse(struct hf_lock_note *note, const char *text)
{
	struct tm when = {0};
	char again[HF_LOCK_NOTE_TEXT];
	int n;

	memset(note, 0, sizeof(*note));
	/* What does not fit shows below. NOLINTNEXTLINE(cert-err34-c) */
	n = sscanf(text,
		"holdfast: %15[a-z], pid %" SCNu32 " (start %" SCNu64 "), %4d-%2d-%2dT%2d:%2d:%2dZ"
		", for %" SCNu32 " s",
		note->why, &note->pid, &note->start, &when.tm_year, &when.tm_mon, &when.tm_mday,
		&when.tm_hour, &when.tm_min, &when.tm_sec, &note->timeout_s);
	when.tm_year -= 1900;
	when.tm_mon -= 1;
	note->time = n >= 9 ? (int64_t)timegm(&when) : 0;
	if (n >= 9 && strcmp(hf_lock_note_format(again, note), text) == 0)
		return true;
	memset(note, 0, sizeof(*note));
	return false;
}
