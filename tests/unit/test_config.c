// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config.h"

#include "tests/unit/unit.h"

static int parse(struct hf_config *config, const char *text, struct hf_error *err)
{
	/* A copy of exactly this size, without an end mark: a sanitizer sees a read past it. */
	size_t len = strlen(text);
	char *copy = malloc(len + !len);
	int ret;

	assert_non_null(copy);
	memcpy(copy, text, len);
	ret = hf_config_parse(config, "a.conf", copy, len, err);
	free(copy);
	return ret;
}

static void test_defaults(void **state)
{
	(void)state;
	assert_true(hf_config_defaults().on);
	assert_int_equal(hf_config_defaults().orphan_timeout_ms, 200);
	assert_int_equal(hf_config_defaults().lock_timeout_s, 900);
	assert_true(hf_config_defaults().kick);
	assert_true(hf_config_defaults().prelude);
	assert_int_equal(hf_config_defaults().prelude_limit_ms, 50);
	assert_true(hf_config_defaults().resend.hold);
	assert_true(hf_config_defaults().resend.duplicates);
	assert_int_equal(hf_config_defaults().on_unreachable, HF_UNREACHABLE_ABORT);
}

static void test_good(void **state)
{
	static const struct {
		const char *text;
		bool before, after;
	} cases[] = {
		{"", true, true},
		{"", false, false},
		{"\n\n\n", true, true},
		{"# mode = off\n", true, true},
		{"  \t # only a comment", true, true},
		{"#", true, true},
		{"mode = off\n", true, false},
		{"mode = on\n", false, true},
		{"mode = off", true, false},
		{"mode=off", true, false},
		{"mode\t=\toff\n", true, false},
		{"  mode =   off   \n", true, false},
		{"mode = off # because\n", true, false},
		{"mode = off#because\n", true, false},
		{"mode = off\r\n", true, false},
		{"\r\n# first\r\n\r\nmode = off\r\n# last\r\n", true, false},
		{"# mode = on\nmode = off\n# mode = on\n", true, false},
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct hf_config config = {.on = cases[i].before};
		struct hf_error err = HF_ERROR_INIT;

		if (parse(&config, cases[i].text, &err) != 0)
			fail_msg("case %zu: %s", i, err.text);
		if (config.on != cases[i].after)
			fail_msg("case %zu: \"%s\" left %d", i, cases[i].text, config.on);
		assert_int_equal(err.code, 0);
		assert_string_equal(err.text, "");
	}
}

static void test_values(void **state)
{
	struct hf_config config = hf_config_defaults();

	(void)state;
	assert_int_equal(parse(&config,
				 "orphan-timeout = 60000\nlock-timeout = 1\n"
				 "on-unreachable = close\nkick = off\n"
				 "prelude = off\nprelude-limit = 1000\nhold-back = off\n",
				 NULL),
		0);
	assert_int_equal(config.orphan_timeout_ms, 60000);
	assert_int_equal(config.lock_timeout_s, 1);
	assert_int_equal(config.on_unreachable, HF_UNREACHABLE_CLOSE);
	assert_false(config.kick);
	assert_false(config.prelude);
	assert_int_equal(config.prelude_limit_ms, 1000);
	assert_false(config.resend.hold);
	assert_true(config.resend.duplicates);
	assert_int_equal(
		parse(&config, "on-unreachable = abort\nduplicate-acks = off\nlock-timeout = 86400",
			NULL),
		0);
	assert_false(config.resend.duplicates);
	assert_int_equal(config.lock_timeout_s, 86400);
	assert_int_equal(config.on_unreachable, HF_UNREACHABLE_ABORT);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *where, *what;
	} cases[] = {
		{"mode\n", "a.conf:1:", "key = value"},
		{"mode on\n", "a.conf:1:", "key = value"},
		{"mode # = off\n", "a.conf:1:", "key = value"},
		{"\n# x\n  \nnonsense", "a.conf:4:", "key = value"},
		{"mod = on\n", "a.conf:1:", "unknown key `mod`"},
		{"modes = on\n", "a.conf:1:", "unknown key `modes`"},
		{"Mode = on\n", "a.conf:1:", "unknown key `Mode`"},
		{"= on\n", "a.conf:1:", "unknown key ``"},
		{"mode = on\ncolour = red\n", "a.conf:2:", "unknown key `colour`"},
		{"mode =\n", "a.conf:1:", "`mode` must be on or off, not ``"},
		{"\nmode = maybe\n", "a.conf:2:", "`mode` must be on or off, not `maybe`"},
		{"mode = ON\n", "a.conf:1:", "not `ON`"},
		{"mode = o\n", "a.conf:1:", "not `o`"},
		{"mode = offf\n", "a.conf:1:", "not `offf`"},
		{"mode = on off\n", "a.conf:1:", "not `on off`"},
		{"mode = = on\n", "a.conf:1:", "not `= on`"},
		{"orphan-timeout = 60001\n", "a.conf:1:", "from 0 to 60000 (milliseconds), not"},
		{"orphan-timeout = -1\n", "a.conf:1:", "from 0 to 60000 (milliseconds), not"},
		{"lock-timeout = 0\n", "a.conf:1:", "from 1 to 86400 (seconds), not `0`"},
		{"lock-timeout = 86401\n", "a.conf:1:", "from 1 to 86400 (seconds), not"},
		{"lock-timeout = 4294967297\n", "a.conf:1:", "from 1 to 86400 (seconds), not"},
		{"lock-timeout = 1s\n", "a.conf:1:", "from 1 to 86400 (seconds), not `1s`"},
		{"kick = 8\n", "a.conf:1:", "`kick` must be on or off, not `8`"},
		{"prelude = 50\n", "a.conf:1:", "`prelude` must be on or off, not `50`"},
		{"prelude-limit = 1001\n", "a.conf:1:", "from 0 to 1000 (milliseconds), not"},
		{"prelude-limit = on\n", "a.conf:1:", "from 0 to 1000 (milliseconds), not"},
		{"hold-back = 1\n", "a.conf:1:", "`hold-back` must be on or off, not `1`"},
		{"duplicate-acks = 3\n", "a.conf:1:", "must be on or off, not `3`"},
		{"on-unreachable = off\n", "a.conf:1:", "abort or close, not `off`"},
		{"mode = off\nmode = off\n", "a.conf:2:", "`mode` is set twice"},
		{"mode = off\n#\nmode = on\n", "a.conf:3:", "`mode` is set twice"},
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		for (int on = 0; on < 2; on++) {
			struct hf_config config = {.on = on};
			struct hf_error err = HF_ERROR_INIT;

			if (parse(&config, cases[i].text, &err) != -EINVAL)
				fail_msg("case %zu was taken: \"%s\"", i, cases[i].text);
			assert_int_equal(err.code, -EINVAL);
			assert_contains(err.text, cases[i].where);
			assert_contains(err.text, cases[i].what);
			assert_null(strchr(err.text, '\n'));
			assert_int_equal(config.on, on); /* as it was */
			assert_int_equal(parse(&config, cases[i].text, NULL), -EINVAL);
		}
	}
}

/* A line of any length gives an error of one line that still says where. */
static void test_long(void **state)
{
	struct hf_config config = hf_config_defaults();
	struct hf_error err = HF_ERROR_INIT;
	char text[5000];

	(void)state;
	memset(text, 'k', sizeof(text));
	assert_int_equal(hf_config_parse(&config, "b.conf", text, sizeof(text), &err), -EINVAL);
	assert_contains(err.text, "b.conf:1:");
	text[4000] = '=';
	assert_int_equal(hf_config_parse(&config, "b.conf", text, sizeof(text), &err), -EINVAL);
	assert_contains(err.text, "b.conf:1: unknown key `kkkk");
	memcpy(text, "mode=", 5);
	assert_int_equal(hf_config_parse(&config, "b.conf", text, sizeof(text), &err), -EINVAL);
	assert_contains(err.text, "b.conf:1: `mode` must be on or off, not `kkkk");
}

/* A zero byte is a character like another, not an end. */
static void test_zero_byte(void **state)
{
	static const char text[] = "mode = off\0";
	struct hf_config config = hf_config_defaults();
	struct hf_error err = HF_ERROR_INIT;

	(void)state;
	assert_int_equal(hf_config_parse(&config, "a.conf", text, sizeof(text), &err), -EINVAL);
	assert_true(config.on);
}

static void test_environment(void **state)
{
	static const char *const wrong[] = {"", "On", "OFF", "0", "yes", "off ", " on", "offf"};
	struct hf_config config = {.on = true};
	struct hf_error err = HF_ERROR_INIT;

	(void)state;
	assert_int_equal(hf_config_environment(&config, NULL, &err), 0);
	assert_true(config.on);
	assert_int_equal(hf_config_environment(&config, "off", &err), 0);
	assert_false(config.on);
	assert_int_equal(hf_config_environment(&config, NULL, &err), 0);
	assert_false(config.on);
	assert_int_equal(hf_config_environment(&config, "on", &err), 0);
	assert_true(config.on);
	assert_int_equal(err.code, 0);
	for (size_t i = 0; i < UNIT_COUNT(wrong); i++) {
		assert_int_equal(hf_config_environment(&config, wrong[i], &err), -EINVAL);
		assert_contains(err.text, "HOLDFAST must be on or off");
		assert_true(config.on);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_zero_byte),
		cmocka_unit_test(test_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
