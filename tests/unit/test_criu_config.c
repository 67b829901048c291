// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/criu_config.h"

#include "tests/unit/unit.h"

/* A copy of exactly this size, without an end mark: a sanitizer sees a read past it. */
static void read_text(struct hf_criu_options *options, const char *file, const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len + !len);

	assert_non_null(copy);
	memcpy(copy, text, len);
	hf_criu_config_read(options, file, copy, len);
	free(copy);
}

static struct hf_criu_options options_of(const char *text)
{
	struct hf_criu_options options = {0};

	read_text(&options, "a.conf", text);
	return options;
}

static void test_nothing(void **state)
{
	static const char *const texts[] = {"", "\n", "\n\n", "# tcp-close\n", "  \t# tcp-close",
		"manage-cgroups=ignore\n", "tcp-closed\n", "tcp\n", "no-\n", "no\n",
		"verbosity 4 # tcp-close\n", "x tcp-close\n", "=", " = \n", "tcp-close#x\n",
		"libdirs /x\n", "network-locks skip\n", "\"tcp-close\"\n", "no-libdir /x\n"};
	static const struct hf_criu_options nothing;

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(texts); i++) {
		struct hf_criu_options options = options_of(texts[i]);

		if (memcmp(&options, &nothing, sizeof(options)) != 0)
			fail_msg("case %zu set something: \"%s\"", i, texts[i]);
	}
}

static void test_flags(void **state)
{
	static const struct {
		const char *text;
		bool on;
		unsigned int line;
	} cases[] = {
		{"tcp-close", true, 1},
		{"tcp-close\n", true, 1},
		{"\n# one\n  tcp-close  # why\n", true, 3},
		{"\ttcp-close\t#why\n", true, 1},
		{"no-tcp-close\n", false, 1},
		{"tcp-close\nno-tcp-close\n", false, 2},
		{"no-tcp-close\ntcp-close\n", true, 2},
		{"tcp-close\ntcp-close\n", true, 2},
		/* A word behind it is not seen by CRIU. */
		{"tcp-close false\n", true, 1},
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct hf_criu_options options = options_of(cases[i].text);

		if (options.tcp_close.on != cases[i].on ||
			options.tcp_close.place.line != cases[i].line)
			fail_msg("case %zu: \"%s\" gives %d in line %u", i, cases[i].text,
				options.tcp_close.on, options.tcp_close.place.line);
		assert_string_equal(options.tcp_close.place.file, "a.conf");
		assert_false(options.tcp_established.on);
		assert_false(options.skip_in_flight.on);
	}
	assert_true(options_of("tcp-established\n").tcp_established.on);
	assert_true(options_of("skip-in-flight\n").skip_in_flight.on);
	assert_false(options_of("tcp-established\nno-tcp-established").tcp_established.on);
	assert_false(options_of("skip-in-flight\nno-skip-in-flight").skip_in_flight.on);
}

static void test_values(void **state)
{
	static const struct {
		const char *text, *libdir;
	} cases[] = {
		{"libdir /x", "/x"},
		{"libdir /x\n", "/x"},
		{"libdir=/x\n", "/x"},
		{"libdir=/x # why\n", "/x"},
		{"libdir\t/x\n", "/x"},
		{"  libdir   /x   # why\n", "/x"},
		{"libdir /x#why\n", "/x"},
		{"libdir=/x#y\n", "/x#y"},
		{"libdir \"/x\"\n", "/x"},
		{"libdir \"/x y\" # why\n", "/x y"},
		{"libdir \"\"\n", ""},
		{"libdir \"/x\\\"y\"\n", "/x\"y"},
		{"libdir \"/x\\y\"\n", "/x\\y"},
		{"libdir \"/x", "/x"},
		{"libdir \"", ""},
		{"libdir\n", ""},
		{"libdir # why\n", ""},
		{"libdir=\n", ""},
		{"libdir /x\nlibdir /y\n", "/y"},
		{"libdir /x\n#libdir /y\n", "/x"},
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct hf_criu_options options = options_of(cases[i].text);

		if (strcmp(options.libdir.text, cases[i].libdir) != 0)
			fail_msg("case %zu: \"%s\" gives \"%s\"", i, cases[i].text,
				options.libdir.text);
		assert_string_equal(options.network_lock.text, "");
	}
	assert_string_equal(options_of("network-lock nftables").network_lock.text, "nftables");
	assert_string_equal(options_of("network-lock=skip").network_lock.text, "skip");
}

/* A value of any length is cut, in every form. */
static void test_long(void **state)
{
	static const char *const forms[] = {"libdir ", "libdir=", "libdir \""};
	char text[3000];

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(forms); i++) {
		struct hf_criu_options options = {0};

		memset(text, 'k', sizeof(text));
		memcpy(text, forms[i], strlen(forms[i]));
		hf_criu_config_read(&options, "a.conf", text, sizeof(text));
		assert_int_equal(strlen(options.libdir.text), HF_CRIU_VALUE - 1);
	}
}

/* A later file wins where it says something; a zero byte is a character like others. */
static void test_several_files(void **state)
{
	struct hf_criu_options options = {0};

	(void)state;
	read_text(&options, "a.conf", "tcp-close\nlibdir /a\nskip-in-flight\n");
	read_text(&options, "b.conf", "\nlibdir /b\nno-tcp-close\n");
	assert_false(options.tcp_close.on);
	assert_string_equal(options.tcp_close.place.file, "b.conf");
	assert_int_equal(options.tcp_close.place.line, 3);
	assert_string_equal(options.libdir.text, "/b");
	assert_string_equal(options.libdir.place.file, "b.conf");
	assert_true(options.skip_in_flight.on);
	assert_string_equal(options.skip_in_flight.place.file, "a.conf");
	hf_criu_flag_reset(&options.skip_in_flight);
	assert_false(options.skip_in_flight.on);
	assert_null(options.skip_in_flight.place.file);
	hf_criu_config_read(&options, "c.conf", "tcp-close\0\n", 11);
	assert_false(options.tcp_close.on);
}

static void test_verdicts(void **state)
{
#define GOOD "tcp-close\nnetwork-lock skip\nskip-in-flight\n"
	static const struct {
		const char *text;
		enum hf_criu_verdict verdict;
		const char *advice; /* NULL: none */
	} cases[] = {
		{GOOD, HF_CRIU_READY, NULL},
		{"tcp-close\nnetwork-lock=none\nskip-in-flight\n", HF_CRIU_READY, NULL},
		{"tcp-close\nnetwork-lock skip\n", HF_CRIU_READY, "skip-in-flight"},
		{"", HF_CRIU_OFF, "tcp-close and network-lock skip"},
		{"libdir /x\n", HF_CRIU_OFF, "tcp-close"},
		{"network-lock nftables\n", HF_CRIU_OFF, "tcp-close"},
		{"network-lock skip\n", HF_CRIU_WRONG, "add the line tcp-close"},
		{"skip-in-flight\n", HF_CRIU_WRONG, "tcp-close and network-lock skip"},
		{"tcp-close\n", HF_CRIU_WRONG, "add the line network-lock skip"},
		{"tcp-close\nnetwork-lock nftables\n", HF_CRIU_WRONG, "network-lock must be skip"},
		{"tcp-close\nnetwork-lock iptables\n", HF_CRIU_WRONG, "network-lock must be skip"},
		{GOOD "no-tcp-close\n", HF_CRIU_WRONG, "tcp-close"},
		{GOOD "tcp-established\n", HF_CRIU_WRONG, "remove it from a.conf, line 4"},
		{"tcp-established\n", HF_CRIU_BESIDE, NULL},
		{"tcp-established\nnetwork-lock skip\nskip-in-flight\n", HF_CRIU_BESIDE, NULL},
		{GOOD "no-tcp-close\ntcp-established\n", HF_CRIU_BESIDE, NULL},
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct hf_criu_options options = options_of(cases[i].text);
		char advice[HF_CRIU_ADVICE] = "as before";
		enum hf_criu_verdict verdict = hf_criu_judge(&options, advice);

		if (verdict != cases[i].verdict)
			fail_msg("case %zu: %d, \"%s\"", i, verdict, advice);
		if (cases[i].advice)
			assert_contains(advice, cases[i].advice);
		else
			assert_string_equal(advice, "");
	}
}

static void test_versions(void **state)
{
	static const struct {
		const char *text;
		unsigned int major, minor;
	} good[] = {{"4.2", 4, 2}, {"4.2.1", 4, 2}, {"6.18.1-rc2+deb", 6, 18}, {"10.0\nx", 10, 0}};
	static const char *const bad[] = {"", "x", "4", "v4.2", "4."};
	struct hf_version version;

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(good); i++) {
		assert_true(hf_version_parse(&version, good[i].text));
		assert_int_equal(version.major, good[i].major);
		assert_int_equal(version.minor, good[i].minor);
	}
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		assert_false(hf_version_parse(&version, bad[i]));
	version = (struct hf_version){4, 1};
	assert_true(hf_version_before(&version, 4, 2));
	assert_true(hf_version_before(&version, 5, 0));
	assert_false(hf_version_before(&version, 4, 1));
	assert_false(hf_version_before(&version, 3, 19));
	assert_int_equal(hf_criu_oldest(&(struct hf_version){6, 15}).minor, 1);
	assert_int_equal(hf_criu_oldest(&(struct hf_version){6, 16}).minor, 2);
	assert_int_equal(hf_criu_oldest(&(struct hf_version){7, 0}).minor, 2);
	assert_int_equal(hf_criu_oldest(&(struct hf_version){6, 16}).major, 4);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_several_files),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
