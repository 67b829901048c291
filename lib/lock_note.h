/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_LOCK_NOTE_H
#define HF_LIB_LOCK_NOTE_H

/*
 * The comment of a lock's table: who took it, why and when, for `nft list` and for us.
 *
 *   holdfast: checkpoint, pid 4711 (start 123456), 2026-11-23T12:00:00Z
 *
 * and where its elements expire, on the host, with ", for 900 s" at the end.
 */
#include <stdbool.h>
#include <stdint.h>

#define HF_LOCK_NOTE_TEXT 112 /* bytes of the text, with its end */

struct hf_lock_note {
	char why[16];       /* lower-case letters: "checkpoint", "restore" */
	uint32_t pid;       /* of CRIU, in its own pid namespace */
	uint64_t start;     /* when that process started, in the unit of proc(5); 0: unknown */
	int64_t time;       /* seconds since 1970, UTC */
	uint32_t timeout_s; /* of the elements; 0: they do not expire */
};

/* The text into buf. Returns buf. */
char *hf_lock_note_format(char buf[HF_LOCK_NOTE_TEXT], const struct hf_lock_note *note);

/* Reads a text of that form; false, and *note is all 0, for any other. */
bool hf_lock_note_parse(struct hf_lock_note *note, const char *text);

#endif
