// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/error.h"

#include "tests/unit/unit.h"

static void test_set(void **state)
{
	struct hf_error err = HF_ERROR_INIT;

	(void)state;
	assert_int_equal(err.code, 0);
	assert_string_equal(err.text, "");
	assert_int_equal(hf_error_set(&err, -EINVAL, "%s:%d", "file", 7), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(err.text, "file:7");
	assert_int_equal(hf_error_set(&err, -EIO, "later"), -EIO);
	assert_int_equal(err.code, -EIO);
	assert_string_equal(err.text, "later");
}

static void test_sys(void **state)
{
	struct hf_error err = HF_ERROR_INIT;
	char expected[sizeof(err.text)];

	(void)state;
	assert_int_equal(hf_error_sys(&err, -ENOENT, "cannot open %s", "it"), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	strcpy(expected, "cannot open it: ");
	strcat(expected, strerror(ENOENT));
	assert_string_equal(err.text, expected);
}

/* A number that is no errno still gives a text. */
static void test_sys_unknown(void **state)
{
	struct hf_error err = HF_ERROR_INIT;

	(void)state;
	assert_int_equal(hf_error_sys(&err, -99999, "it failed"), -99999);
	assert_contains(err.text, "it failed: ");
	assert_contains(err.text, "99999");
}

static void test_context(void **state)
{
	struct hf_error err = HF_ERROR_INIT;

	(void)state;
	hf_error_set(&err, -EBADMSG, "port: is 0");
	assert_int_equal(hf_error_context(&err, -EBADMSG, "connection %d", 3), -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_string_equal(err.text, "connection 3: port: is 0");
	assert_int_equal(hf_error_context(&err, -EBADMSG, "%s", "holdfast.img"), -EBADMSG);
	assert_string_equal(err.text, "holdfast.img: connection 3: port: is 0");
	/* The object and the caller never disagree. */
	assert_int_equal(hf_error_context(&err, -EIO, "restore"), -EIO);
	assert_int_equal(err.code, -EIO);
}

/* Texts around the size of the buffer: cut, ended, and nothing beside it written. */
static void test_truncation(void **state)
{
	struct {
		struct hf_error err;
		char guard[64];
	} box;
	const size_t size = sizeof(box.err.text);
	char words[2 * sizeof(box.err.text)];

	(void)state;
	for (size_t len = size - 40; len < size + 40; len++) {
		size_t kept = len < size ? len : size - 1;

		memset(words, 'x', len);
		words[len] = '\0';
		memset(&box, 'g', sizeof(box));
		assert_int_equal(hf_error_set(&box.err, -EIO, "%s", words), -EIO);
		assert_int_equal(strlen(box.err.text), kept);
		assert_memory_equal(box.err.text, words, kept);

		memset(&box.err, 0, sizeof(box.err));
		assert_int_equal(hf_error_sys(&box.err, -EIO, "%s", words), -EIO);
		assert_true(strlen(box.err.text) >= kept && strlen(box.err.text) < size);
		assert_memory_equal(box.err.text, words, kept);

		memset(&box.err, 0, sizeof(box.err));
		hf_error_set(&box.err, -EIO, "why");
		assert_int_equal(hf_error_context(&box.err, -EIO, "%s", words), -EIO);
		assert_true(strlen(box.err.text) >= kept && strlen(box.err.text) < size);
		assert_memory_equal(box.err.text, words, kept);

		memset(&box.err, 0, sizeof(box.err));
		hf_error_set(&box.err, -EIO, "%s", words);
		assert_int_equal(hf_error_context(&box.err, -EIO, "where"), -EIO);
		assert_int_equal(strncmp(box.err.text, "where: xxx", 10), 0);
		assert_true(strlen(box.err.text) >= kept && strlen(box.err.text) < size);

		for (size_t i = 0; i < sizeof(box.guard); i++)
			assert_int_equal(box.guard[i], 'g');
	}
}

/* Callers who do not want the text. */
static void test_null(void **state)
{
	(void)state;
	assert_int_equal(hf_error_set(NULL, -EIO, "%s", "text"), -EIO);
	assert_int_equal(hf_error_sys(NULL, -ENOMEM, "%s", "text"), -ENOMEM);
	assert_int_equal(hf_error_context(NULL, -EBADMSG, "%s", "text"), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_sys),
		cmocka_unit_test(test_sys_unknown),
		cmocka_unit_test(test_context),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
