// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/oci_config.h"

#include <stdio.h>

#include "tests/unit/unit.h"

static int read_text(struct hf_oci_config *config, const char *text, struct hf_error *err)
{
	size_t len = strlen(text);
	char *copy = malloc(len + !len);
	int ret;

	assert_non_null(copy);
	memcpy(copy, text, len);
	ret = hf_oci_config_read(config, copy, len, err);
	free(copy);
	return ret;
}

#define NAMESPACES(list) "{\"linux\":{\"namespaces\":[" list "]}}"
#define PID              "{\"type\":\"pid\",\"path\":\"/proc/1/ns/pid\"}"

static void test_netns(void **context)
{
	static const struct {
		const char *text;
		enum hf_oci_netns netns;
		const char *path;
	} cases[] = {
		{"{}", HF_OCI_NETNS_RUNTIME, ""},
		{"{\"linux\":null}", HF_OCI_NETNS_RUNTIME, ""},
		{"{\"linux\":{}}", HF_OCI_NETNS_RUNTIME, ""},
		{"{\"linux\":{\"namespaces\":null}}", HF_OCI_NETNS_RUNTIME, ""},
		{NAMESPACES(""), HF_OCI_NETNS_RUNTIME, ""},
		{NAMESPACES(PID), HF_OCI_NETNS_RUNTIME, ""},
		{NAMESPACES("{\"type\":\"network\"}"), HF_OCI_NETNS_NEW, ""},
		{NAMESPACES("{\"type\":\"network\",\"path\":\"\"}"), HF_OCI_NETNS_NEW, ""},
		{NAMESPACES("{\"type\":\"network\",\"path\":null}"), HF_OCI_NETNS_NEW, ""},
		{NAMESPACES(PID ",{\"type\":\"network\"}," PID), HF_OCI_NETNS_NEW, ""},
		{NAMESPACES("{\"type\":\"network\",\"path\":\"/n\"}"), HF_OCI_NETNS_PATH, "/n"},
		{NAMESPACES("{\"path\":\"/n\",\"type\":\"network\"}," PID), HF_OCI_NETNS_PATH,
			"/n"},
		{NAMESPACES("{\"type\":\"networks\",\"path\":\"/n\"},{\"type\":\"net\"}"),
			HF_OCI_NETNS_RUNTIME, ""},
		{"{\"linux\":{\"namespaces\":[null," PID "]}}", HF_OCI_NETNS_RUNTIME, ""},
		/* The same names elsewhere. */
		{"{\"namespaces\":[{\"type\":\"network\"}],\"linux\":[{\"type\":7}]}", -1, NULL},
		{"{\"vm\":{\"linux\":{\"namespaces\":7}},\"linux\":{\"x\":{\"namespaces\":7},"
		 "\"namespaces\":[{\"type\":\"network\",\"path\":\"/n\",\"x\":{\"type\":7,"
		 "\"path\":7}}]}}",
			HF_OCI_NETNS_PATH, "/n"},
		{"{\"process\":{\"rlimits\":[{\"hard\":18446744073709551615}]},\"linux\":"
		 "{\"resources\":{\"cpu\":{\"quota\":-1}}}}",
			HF_OCI_NETNS_RUNTIME, ""},
	};

	(void)context;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct hf_oci_config config;
		struct hf_error err = HF_ERROR_INIT;
		int ret = read_text(&config, cases[i].text, &err);

		if (!cases[i].path) {
			assert_int_equal(ret, -EBADMSG);
			continue;
		}
		if (ret != 0)
			fail_msg("case %zu: %s", i, err.text);
		if (config.netns != cases[i].netns || strcmp(config.netns_path, cases[i].path) != 0)
			fail_msg("case %zu: %d \"%s\"", i, config.netns, config.netns_path);
		assert_false(config.has_unreachable);
	}
}

static void test_annotation(void **context)
{
	struct hf_oci_config config;
	struct hf_error err = HF_ERROR_INIT;

	(void)context;
	assert_int_equal(
		read_text(&config, "{\"annotations\":{\"org.holdfast.on-unreachable\":\"abort\"}}",
			&err),
		0);
	assert_true(config.has_unreachable);
	assert_int_equal(config.on_unreachable, HF_UNREACHABLE_ABORT);
	assert_int_equal(
		read_text(&config, "{\"annotations\":{\"org.holdfast.on-unreachable\":\"Abort\"}}",
			&err),
		-EBADMSG);
	assert_string_equal(err.text, "annotations.org.holdfast.on-unreachable: must be abort or "
				      "close, not `Abort`");
}

static void test_bad(void **context)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"", "not JSON"},
		{"[]", "not a JSON object"},
		{"{\"linux\":[]}", "linux: not an object"},
		{"{\"linux\":{},\"linux\":{}}", "linux: there twice"},
		{"{\"linux\":{\"namespaces\":{}}}", "linux.namespaces: not an array"},
		{"{\"linux\":{\"namespaces\":[],\"namespaces\":[]}}",
			"linux.namespaces: there twice"},
		{NAMESPACES("7"), "linux.namespaces[]: not an object"},
		{NAMESPACES("[]"), "linux.namespaces[]: not an object"},
		{NAMESPACES("{}"), "linux.namespaces[].type: missing"},
		{NAMESPACES(PID ",{\"path\":\"/n\"}"), "linux.namespaces[].type: missing"},
		{NAMESPACES("{\"type\":7}"), "linux.namespaces[].type: not a string"},
		{NAMESPACES("{\"type\":\"\"}"), "linux.namespaces[].type: empty"},
		{NAMESPACES("{\"type\":\"pid\",\"type\":\"network\"}"),
			"linux.namespaces[].type: there twice"},
		{NAMESPACES("{\"type\":\"network\\u0000\"}"),
			"linux.namespaces[].type: with a NUL"},
		{NAMESPACES("{\"type\":\"network\",\"path\":7}"),
			"linux.namespaces[].path: not a string"},
		{NAMESPACES("{\"type\":\"network\",\"path\":\"n\"}"),
			"linux.namespaces[].path: not an absolute path"},
		{NAMESPACES("{\"type\":\"network\",\"path\":\"/n\\u0000\"}"),
			"linux.namespaces[].path: with a NUL"},
		{NAMESPACES("{\"type\":\"network\",\"path\":\"/n\",\"path\":\"/m\"}"),
			"linux.namespaces[].path: there twice"},
		{NAMESPACES("{\"type\":\"network\"},{\"type\":\"network\"}"),
			"linux.namespaces[]: a second network namespace"},
		{"{\"annotations\":7}", "annotations: not an object"},
	};

	(void)context;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct hf_oci_config config;
		struct hf_error err = HF_ERROR_INIT;

		if (read_text(&config, cases[i].text, &err) != -EBADMSG)
			fail_msg("case %zu: %s", i, cases[i].text);
		assert_contains(err.text, cases[i].error);
	}
}

static void test_long_path(void **context)
{
	struct hf_oci_config config;
	struct hf_error err = HF_ERROR_INIT;
	char text[PATH_MAX + 128];

	(void)context;
	for (int more = 0; more < 2; more++) {
		int len = sprintf(text, "{\"linux\":{\"namespaces\":[{\"type\":\"network\","
					"\"path\":\"/");

		memset(text + len, 'n', (size_t)(PATH_MAX - 2 + more));
		strcpy(text + len + PATH_MAX - 2 + more, "\"}]}}");
		assert_int_equal(read_text(&config, text, &err), more ? -EBADMSG : 0);
		if (!more)
			assert_int_equal(strlen(config.netns_path), PATH_MAX - 1);
	}
	assert_string_equal(err.text, "linux.namespaces[].path: too long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_netns),
		cmocka_unit_test(test_annotation),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
