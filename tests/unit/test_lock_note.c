// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/unit.h"

#include "lib/lock_note.h"

static const struct hf_lock_note sample = {
	.why = "checkpoint", .pid = 4711, .start = 123456, .time = 1795435200};
#define SAMPLE "holdfast: checkpoint, pid 4711 (start 123456), 2026-11-23T12:00:00Z"

static void assert_same(const struct hf_lock_note *note, const struct hf_lock_note *wanted)
{
	assert_string_equal(note->why, wanted->why);
	assert_int_equal(note->pid, wanted->pid);
	assert_int_equal(note->start, wanted->start);
	assert_int_equal(note->time, wanted->time);
	assert_int_equal(note->timeout_s, wanted->timeout_s);
}

static void test_there_and_back(void **state)
{
	const struct hf_lock_note longest = {.why = "abcdefghijklmno",
		.pid = UINT32_MAX,
		.start = UINT64_MAX,
		.time = 253402300799,
		.timeout_s = UINT32_MAX};
	struct hf_lock_note expires = sample;
	char text[HF_LOCK_NOTE_TEXT];
	struct hf_lock_note note;

	(void)state;
	assert_string_equal(hf_lock_note_format(text, &sample), SAMPLE);
	assert_true(hf_lock_note_parse(&note, text));
	assert_same(&note, &sample);
	expires.timeout_s = 900;
	assert_string_equal(hf_lock_note_format(text, &expires), SAMPLE ", for 900 s");
	assert_true(hf_lock_note_parse(&note, text));
	assert_same(&note, &expires);
	assert_true(hf_lock_note_parse(&note, hf_lock_note_format(text, &longest)));
	assert_same(&note, &longest);
}

static void test_other_texts(void **state)
{
	static const char *const others[] = {
		"",
		"holdfast",
		"somebody else's",
		SAMPLE " ",
		" " SAMPLE,
		SAMPLE ", for 0 s",
		SAMPLE ", for 9",
		SAMPLE ", for 4294967296 s",
		"holdfast: checkpoint, pid -1 (start 123456), 2026-11-23T12:00:00Z",
		"holdfast: checkpoint, pid 4294967296 (start 123456), 2026-11-23T12:00:00Z",
		"holdfast: checkpoint, pid 4711 (start 123456), 2026-13-23T12:00:00Z",
		"holdfast: checkpoint, pid 4711 (start 123456), 2026-11-23T12:00:00",
		"holdfast: checkpointcheckpoint, pid 4711 (start 123456), 2026-11-23T12:00:00Z",
		"holdfast: hf-fault, pid 4711 (start 123456), 2026-11-23T12:00:00Z",
	};
	const struct hf_lock_note none = {0};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(others); i++) {
		struct hf_lock_note note = sample;

		if (hf_lock_note_parse(&note, others[i]))
			fail_msg("\"%s\" was taken", others[i]);
		assert_same(&note, &none);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_other_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
