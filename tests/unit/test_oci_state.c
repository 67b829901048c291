// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/oci_state.h"

#include <stdbool.h>
#include <stdio.h>

#include "tests/unit/unit.h"

#define UNSET (-1)
#define GOOD                                                                                       \
	"\"ociVersion\":\"1.2.1\",\"id\":\"web\",\"status\":\"created\",\"bundle\":\"/run/web\""

static int read_bytes(
	struct hf_oci_state *state, const char *text, size_t len, struct hf_error *err)
{
	/* A copy of exactly this size, without an end mark: a sanitizer sees a read past it. */
	char *copy = malloc(len + !len);
	int ret;

	assert_non_null(copy);
	memcpy(copy, text, len);
	ret = hf_oci_state_read(state, copy, len, err);
	free(copy);
	return ret;
}

static int read_text(struct hf_oci_state *state, const char *text, struct hf_error *err)
{
	return read_bytes(state, text, strlen(text), err);
}

static void test_all_members(void **context)
{
	struct hf_oci_state state;
	struct hf_error err = HF_ERROR_INIT;

	(void)context;
	assert_int_equal(read_text(&state,
				 "{ \"ociVersion\": \"1.0\", \"id\": \"a\\u00e9\", \"pid\": 4711,\n"
				 "\"root\": \"rootfs\", \"bundle\": \"\\/tmp\\/b\", \"status\": "
				 "\"stopped\", \"annotations\": {\"x\": \"y\", "
				 "\"org.holdfast.on-unreachable\": \"close\"}}\n",
				 &err),
		0);
	assert_int_equal(err.code, 0);
	assert_string_equal(state.id, "a\303\251");
	assert_string_equal(state.status, "stopped");
	assert_string_equal(state.bundle, "/tmp/b");
	assert_int_equal(state.pid, 4711);
	assert_true(state.has_unreachable);
	assert_int_equal(state.on_unreachable, HF_UNREACHABLE_CLOSE);
}

/* Without a pid, with annotations of others, and with members that nobody knows. */
static void test_good(void **context)
{
	static const struct {
		const char *text;
		pid_t pid;
		int on_unreachable;
	} cases[] = {
		{"{" GOOD "}", 0, UNSET},
		{" \t\r\n{" GOOD "} \t\r\n", 0, UNSET},
		{"{" GOOD ",\"pid\":0}", 0, UNSET},
		{"{" GOOD ",\"pid\":null,\"annotations\":null}", 0, UNSET},
		{"{" GOOD ",\"pid\":null,\"pid\":5}", 5, UNSET},
		{"{" GOOD ",\"pid\":2147483647}", 2147483647, UNSET},
		{"{" GOOD ",\"annotations\":{}}", 0, UNSET},
		{"{" GOOD ",\"annotations\":{\"org.holdfast.on-unreachable\":\"abort\"}}", 0,
			HF_UNREACHABLE_ABORT},
		/* The key of ours, but elsewhere; and others of the same beginning. */
		{"{" GOOD ",\"org.holdfast.on-unreachable\":\"x\",\"annotations\":"
		 "{\"org.holdfast.on-unreachablE\":\"x\",\"org.holdfast.on-unreachable\\u0000\":"
		 "\"x\","
		 "\"org.holdfast.on-unreachabl\":\"x\"}}",
			0, UNSET},
		{"{" GOOD ",\"x\":[{\"pid\":-1,\"id\":7,\"bundle\":\"x\"},[[]],\"\"]}", 0, UNSET},
		{"{" GOOD ",\"x\":[1e400,-0.0,18446744073709551615,true,false,null]}", 0, UNSET},
		{"{\"pid\\u0000\":-1,\"\":1," GOOD "}", 0, UNSET},
		{"{\"x\":1,\"x\":2," GOOD "}", 0, UNSET},
	};

	(void)context;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct hf_oci_state state;
		struct hf_error err = HF_ERROR_INIT;

		if (read_text(&state, cases[i].text, &err) != 0)
			fail_msg("case %zu: %s", i, err.text);
		assert_string_equal(state.id, "web");
		assert_string_equal(state.bundle, "/run/web");
		if (state.pid != cases[i].pid ||
			state.has_unreachable != (cases[i].on_unreachable >= 0) ||
			(state.has_unreachable &&
				(int)state.on_unreachable != cases[i].on_unreachable))
			fail_msg("case %zu: pid %d, on-unreachable %d", i, (int)state.pid,
				state.on_unreachable);
	}
}

static void test_bad(void **context)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		/* No JSON, or too little, or too much of it. */
		{"", "not JSON: at its end: parse error: premature EOF"},
		{"  ", "not JSON"},
		{"x", "not JSON: at byte 1: lexical error: invalid char"},
		{"{" GOOD, "parse error: premature EOF"},
		{"{" GOOD "} x", "not JSON"},
		{"{" GOOD "}{}", "parse error: trailing garbage"},
		{"{" GOOD ",}", "not JSON"},
		{"{" GOOD ",\"x\":01}", "not JSON"},
		{"{" GOOD ",\"x\":'y'}", "not JSON"},
		{"{" GOOD ",\"x\":\"\n\"}", "lexical error"},
		{"{" GOOD ",\"x\":\"\\q\"}", "lexical error"},
		{"{" GOOD ",\"x\":\"\377\"}", "lexical error: invalid bytes in UTF8"},
		{"{" GOOD "/* */}", "not JSON"},
		{"\357\273\277{" GOOD "}", "not JSON"},
		{"[]", "not a JSON object"},
		{"7", "not a JSON object"},
		{"\"x\"", "not a JSON object"},
		{"null", "not a JSON object"},
		{"true", "not a JSON object"},
		/* Missing. */
		{"{}", "ociVersion: missing"},
		{"{\"id\":\"a\",\"status\":\"a\",\"bundle\":\"/\"}", "ociVersion: missing"},
		{"{\"ociVersion\":\"a\",\"status\":\"a\",\"bundle\":\"/\"}", "id: missing"},
		{"{\"ociVersion\":\"a\",\"id\":\"a\",\"bundle\":\"/\"}", "status: missing"},
		{"{\"ociVersion\":\"a\",\"id\":\"a\",\"status\":\"a\"}", "bundle: missing"},
		{"{\"ociVersion\":\"a\",\"id\":null,\"status\":\"a\",\"bundle\":\"/\"}",
			"id: missing"},
		{"{\"x\":{" GOOD "}}", "ociVersion: missing"},
		/* Twice. */
		{"{" GOOD "," GOOD "}", "ociVersion: there twice"},
		{"{" GOOD ",\"id\":\"web\"}", "id: there twice"},
		{"{" GOOD ",\"i\\u0064\":\"web\"}", "id: there twice"},
		{"{" GOOD ",\"pid\":1,\"pid\":1}", "pid: there twice"},
		{"{" GOOD ",\"annotations\":{},\"annotations\":{}}", "annotations: there twice"},
		{"{" GOOD ",\"annotations\":{\"org.holdfast.on-unreachable\":\"close\","
		 "\"org.holdfast.on-unreachable\":\"close\"}}",
			"annotations.org.holdfast.on-unreachable: there twice"},
		/* Of the wrong type. */
		{"{\"ociVersion\":1,\"id\":\"a\",\"status\":\"a\",\"bundle\":\"/\"}",
			"ociVersion: not a string"},
		{"{\"ociVersion\":\"a\",\"id\":[],\"status\":\"a\",\"bundle\":\"/\"}",
			"id: not a string"},
		{"{\"ociVersion\":\"a\",\"id\":\"a\",\"status\":{},\"bundle\":\"/\"}",
			"status: not a string"},
		{"{\"ociVersion\":\"a\",\"id\":\"a\",\"status\":\"a\",\"bundle\":true}",
			"bundle: not a string"},
		{"{" GOOD ",\"pid\":\"1\"}", "pid: not a number"},
		{"{" GOOD ",\"pid\":false}", "pid: not a number"},
		{"{" GOOD ",\"pid\":[1]}", "pid: not a number"},
		{"{" GOOD ",\"annotations\":[]}", "annotations: not an object"},
		{"{" GOOD ",\"annotations\":\"\"}", "annotations: not an object"},
		{"{" GOOD ",\"annotations\":{\"org.holdfast.on-unreachable\":{}}}",
			"annotations.org.holdfast.on-unreachable: not a string"},
		/* Of the wrong value. */
		{"{\"ociVersion\":\"\",\"id\":\"a\",\"status\":\"a\",\"bundle\":\"/\"}",
			"ociVersion: empty"},
		{"{\"ociVersion\":\"a\",\"id\":\"\",\"status\":\"a\",\"bundle\":\"/\"}",
			"id: empty"},
		{"{\"ociVersion\":\"a\",\"id\":\"a\",\"status\":\"\",\"bundle\":\"/\"}",
			"status: empty"},
		{"{\"ociVersion\":\"a\",\"id\":\"a\\u0000\",\"status\":\"a\",\"bundle\":\"/\"}",
			"id: with a NUL"},
		{"{\"ociVersion\":\"a\",\"id\":\"a\",\"status\":\"a\",\"bundle\":\"/a\\u0000b\"}",
			"bundle: with a NUL"},
		{"{\"ociVersion\":\"a\",\"id\":\"a\",\"status\":\"a\",\"bundle\":\"a/b\"}",
			"bundle: not an absolute path"},
		{"{\"ociVersion\":\"a\",\"id\":\"a\",\"status\":\"a\",\"bundle\":\"\"}",
			"bundle: not an absolute path"},
		{"{" GOOD ",\"pid\":-1}", "pid: negative"},
		{"{" GOOD ",\"pid\":-0}", "pid: negative"},
		{"{" GOOD ",\"pid\":1.5}", "pid: not a whole number"},
		{"{" GOOD ",\"pid\":1e3}", "pid: not a whole number"},
		{"{" GOOD ",\"pid\":2147483648}", "pid: too large"},
		{"{" GOOD ",\"pid\":18446744073709551617}", "pid: too large"},
		{"{" GOOD ",\"annotations\":{\"org.holdfast.on-unreachable\":\"closed\"}}",
			"annotations.org.holdfast.on-unreachable: must be abort or close, not "
			"`closed`"},
		{"{" GOOD ",\"annotations\":{\"org.holdfast.on-unreachable\":\"\"}}",
			"must be abort or close, not ``"},
		{"{" GOOD ",\"annotations\":{\"org.holdfast.on-unreachable\":\"close\\u0000\"}}",
			"on-unreachable: with a NUL"},
		{"{" GOOD ",\"annotations\":{\"org.holdfast.on-unreachable\":\""
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}",
			"on-unreachable: too long"},
	};

	(void)context;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct hf_oci_state state;
		struct hf_error err = HF_ERROR_INIT;

		if (read_text(&state, cases[i].text, &err) != -EBADMSG)
			fail_msg("case %zu: %s", i, cases[i].text);
		assert_int_equal(err.code, -EBADMSG);
		assert_contains(err.text, cases[i].error);
		if (strchr(err.text, '\n'))
			fail_msg("case %zu: more than a line: %s", i, err.text);
		assert_int_equal(read_text(&state, cases[i].text, NULL), -EBADMSG);
	}
}

/* The first NUL is the end of no text. */
static void test_nul_after_it(void **context)
{
	static const char text[] = "{" GOOD "}\0";
	struct hf_oci_state state;
	struct hf_error err = HF_ERROR_INIT;

	(void)context;
	assert_int_equal(read_bytes(&state, text, sizeof(text) - 1, &err), -EBADMSG);
	assert_contains(err.text, "not JSON");
}

/* A state whose member is `n` times the letter, after `start`. */
static char *with_long(const char *member, const char *start, char letter, size_t n)
{
	static const char *const names[] = {"ociVersion", "id", "status", "bundle"};
	char *text = malloc(n + 256), *at = text;

	assert_non_null(text);
	for (size_t i = 0; i < UNIT_COUNT(names); i++) {
		bool is_long = strcmp(names[i], member) == 0;

		at += sprintf(at, "%s\"%s\":\"%s", i ? "," : "{", names[i], is_long ? start : "/a");
		memset(at, letter, is_long ? n : 0);
		at += is_long ? n : 0;
		*at++ = '"';
	}
	strcpy(at, "}");
	return text;
}

static void test_limits(void **context)
{
	static const struct {
		const char *member, *start;
		size_t most; /* letters */
	} cases[] = {{"ociVersion", "", 64}, {"id", "", HF_OCI_ID_MAX}, {"status", "", 63},
		{"bundle", "/", PATH_MAX - 2}};

	(void)context;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		for (size_t more = 0; more < 2; more++) {
			struct hf_oci_state state;
			struct hf_error err = HF_ERROR_INIT;
			char *text = with_long(
				cases[i].member, cases[i].start, 'a', cases[i].most + more);

			assert_int_equal(read_text(&state, text, &err), more ? -EBADMSG : 0);
			if (more)
				assert_contains(err.text, "too long");
			else if (strcmp(cases[i].member, "bundle") == 0)
				assert_int_equal(strlen(state.bundle), PATH_MAX - 1);
			free(text);
		}
	}
}

/* Any depth is refused alike, without a deeper stack of ours. */
static void test_depth(void **context)
{
	static const size_t depths[] = {10, 62, 63, 64, 65, 1000, 1000000};

	(void)context;
	for (size_t i = 0; i < UNIT_COUNT(depths); i++)
		for (int open = 0; open < 2; open++) {
			static const char head[] = "{" GOOD ",\"x\":";
			size_t n = depths[i], len = sizeof(head) - 1 + (open ? n : 2 * n) + !open;
			char *text = malloc(len);
			bool deep = n > 63;
			struct hf_oci_state state;
			struct hf_error err = HF_ERROR_INIT;

			assert_non_null(text);
			memcpy(text, head, sizeof(head) - 1);
			memset(text + sizeof(head) - 1, '[', n);
			if (!open) {
				memset(text + sizeof(head) - 1 + n, ']', n);
				text[len - 1] = '}';
			}
			assert_int_equal(read_bytes(&state, text, len, &err), deep   ? -E2BIG
									      : open ? -EBADMSG
										     : 0);
			assert_contains(err.text, deep   ? "nested more than 64 levels deep"
						  : open ? "premature EOF"
							 : "");
			free(text);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_members),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_nul_after_it),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
