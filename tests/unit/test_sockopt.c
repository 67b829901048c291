// SPDX-License-Identifier: GPL-2.0-or-later
/* The option table and what follows from it alone. */
#include "tests/unit/unit.h"

#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "lib/sockopt.h"

static struct hf_option make(
	unsigned int level, unsigned int name, const void *value, unsigned int len)
{
	struct hf_option option = {
		.level = (uint16_t)level, .name = (uint16_t)name, .len = (uint16_t)len};

	memcpy(option.value, value, len);
	return option;
}

static struct hf_option make_int(unsigned int level, unsigned int name, int value)
{
	return make(level, name, &value, sizeof(value));
}

static const struct hf_sockopt *row(const char *name)
{
	for (unsigned int i = 0; i < hf_n_sockopts; i++)
		if (strcmp(hf_sockopts[i].name, name) == 0)
			return &hf_sockopts[i];
	fail_msg("no row %s", name);
	return NULL;
}

static void test_find(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < hf_n_sockopts; i++)
		assert_ptr_equal(hf_sockopt_find(hf_sockopts[i].level, hf_sockopts[i].number),
			&hf_sockopts[i]);
	assert_string_equal(
		hf_sockopt_find(IPPROTO_TCP, TCP_USER_TIMEOUT)->name, "TCP_USER_TIMEOUT");
	assert_string_equal(hf_sockopt_find(SOL_SOCKET, SO_ZEROCOPY)->name, "SO_ZEROCOPY");
	assert_null(hf_sockopt_find(IPPROTO_TCP, 15));
	assert_null(hf_sockopt_find(IPPROTO_UDP, 1));
	assert_null(hf_sockopt_find(IPPROTO_TCP + 65536, TCP_USER_TIMEOUT));
	assert_null(hf_sockopt_find(IPPROTO_TCP, TCP_USER_TIMEOUT + 65536));
}

/* What the columns promise of one another, for every row. */
static void test_rows(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < hf_n_sockopts; i++) {
		const struct hf_sockopt *r = &hf_sockopts[i];
		struct hf_option base;

		assert_string_not_equal(hf_sockopt_level_name(r->level), "unknown");
		for (const char *c = r->name; *c; c++)
			assert_true(isupper(*c) || isdigit(*c) || *c == '_');
		assert_false(r->note[0] && r->note[strlen(r->note) - 1] == '.');
		if (r->carrier == HF_SOCKOPT_NOBODY)
			assert_true(r->note[0]);
		if (r->carrier != HF_SOCKOPT_HOLDFAST) {
			assert_int_equal(r->on, 0);
			continue;
		}
		assert_true(r->on && r->on <= HF_SOCKOPT_ON_ANY);
		assert_true(r->phase == HF_SOCKOPT_BEFORE || r->phase == HF_SOCKOPT_AFTER ||
			    r->phase == HF_SOCKOPT_LAST);
		assert_true(hf_sockopt_max_len(r) <= HF_OPTION_SIZE);
		if (hf_sockopt_base(r, HF_FAMILY_IPV4, &base)) {
			assert_true(hf_sockopt_is_base(r, HF_FAMILY_IPV4, &base));
			assert_true(hf_sockopt_has_len(r, base.len));
		}
		if (r->flags & HF_SOCKOPT_FOLLOWS) {
			assert_true(i > 0 && r->on == r[-1].on && r->level == r[-1].level);
			assert_int_equal(r[-1].carrier, HF_SOCKOPT_HOLDFAST);
		}
		/* A base that CRIU's socket does not have must be one that can be set. */
		if (r->flags & HF_SOCKOPT_LEFT_ON)
			assert_true(hf_sockopt_base(r, HF_FAMILY_IPV4, &base));
	}
	assert_string_equal(hf_sockopt_level_name(99), "unknown");
}

static void test_applies(void **state)
{
	const struct hf_sockopt *tos = row("IP_TOS"), *maxseg = row("TCP_MAXSEG");
	const struct hf_sockopt *tclass = row("IPV6_TCLASS");

	(void)state;
	/* CRIU carries it on IPv4 sockets. */
	assert_false(hf_sockopt_applies(tos, HF_SOCKOPT_ON_CONNECTION, HF_FAMILY_IPV4));
	assert_true(hf_sockopt_applies(tos, HF_SOCKOPT_ON_CONNECTION, HF_FAMILY_IPV6));
	assert_false(hf_sockopt_applies(tclass, HF_SOCKOPT_ON_LISTENER, HF_FAMILY_IPV4));
	assert_true(hf_sockopt_applies(tclass, HF_SOCKOPT_ON_LISTENER, HF_FAMILY_IPV6));
	assert_true(hf_sockopt_applies(maxseg, HF_SOCKOPT_ON_LISTENER, HF_FAMILY_IPV4));
	assert_false(hf_sockopt_applies(maxseg, HF_SOCKOPT_ON_CONNECTION, HF_FAMILY_IPV4));
	assert_true(hf_sockopt_applies(maxseg, HF_SOCKOPT_ON_CLOSED, HF_FAMILY_IPV4));
	/* CRIU's, and nobody's. */
	assert_false(
		hf_sockopt_applies(row("TCP_NODELAY"), HF_SOCKOPT_ON_CONNECTION, HF_FAMILY_IPV4));
	assert_false(hf_sockopt_applies(row("TCP_INFO"), HF_SOCKOPT_ON_CONNECTION, HF_FAMILY_IPV4));
}

static void test_kind(void **state)
{
	struct hf_conn conn = {.state = HF_TCP_ESTABLISHED};

	(void)state;
	assert_int_equal(hf_sockopt_kind(&conn), HF_SOCKOPT_ON_CONNECTION);
	conn.state = HF_TCP_LISTEN;
	assert_int_equal(hf_sockopt_kind(&conn), HF_SOCKOPT_ON_LISTENER);
	conn.state = HF_TCP_CLOSE;
	conn.closed = HF_CLOSED_UNCONNECTED;
	assert_int_equal(hf_sockopt_kind(&conn), HF_SOCKOPT_ON_CLOSED);
	conn.closed = HF_CLOSED_RESET;
	assert_int_equal(hf_sockopt_kind(&conn), HF_SOCKOPT_ON_CONNECTION);
}

static void test_base(void **state)
{
	static const uint32_t none[2] = {0, 0}, some[2] = {0, 1};
	uint64_t rate = UINT64_MAX;
	uint32_t rate32 = UINT32_MAX;
	struct hf_option option;

	(void)state;
	option = make_int(IPPROTO_TCP, TCP_SYNCNT, 6);
	assert_true(hf_sockopt_is_base(row("TCP_SYNCNT"), HF_FAMILY_IPV4, &option));
	option = make_int(IPPROTO_TCP, TCP_SYNCNT, 5);
	assert_false(hf_sockopt_is_base(row("TCP_SYNCNT"), HF_FAMILY_IPV4, &option));
	/* No limit, in 64 and in 32 bits. */
	option = make(SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate));
	assert_true(hf_sockopt_is_base(row("SO_MAX_PACING_RATE"), HF_FAMILY_IPV4, &option));
	option = make(SOL_SOCKET, SO_MAX_PACING_RATE, &rate32, sizeof(rate32));
	assert_true(hf_sockopt_is_base(row("SO_MAX_PACING_RATE"), HF_FAMILY_IPV4, &option));
	rate = UINT32_MAX;
	option = make(SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate));
	assert_false(hf_sockopt_is_base(row("SO_MAX_PACING_RATE"), HF_FAMILY_IPV4, &option));
	option = make(IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
	assert_true(hf_sockopt_is_base(row("TCP_CONGESTION"), HF_FAMILY_IPV4, &option));
	option = make(IPPROTO_TCP, TCP_CONGESTION, "cubi", 4);
	assert_false(hf_sockopt_is_base(row("TCP_CONGESTION"), HF_FAMILY_IPV4, &option));
	option = make(SOL_SOCKET, SO_TIMESTAMPING, none, 8);
	assert_true(hf_sockopt_is_base(row("SO_TIMESTAMPING_OLD"), HF_FAMILY_IPV4, &option));
	option = make(SOL_SOCKET, SO_TIMESTAMPING, some, 8);
	assert_false(hf_sockopt_is_base(row("SO_TIMESTAMPING_OLD"), HF_FAMILY_IPV4, &option));
	option = make(IPPROTO_IP, IP_OPTIONS, none, 0);
	assert_true(hf_sockopt_is_base(row("IP_OPTIONS"), HF_FAMILY_IPV4, &option));
	option = make(IPPROTO_IP, IP_OPTIONS, none, 4);
	assert_false(hf_sockopt_is_base(row("IP_OPTIONS"), HF_FAMILY_IPV4, &option));
	assert_false(hf_sockopt_base(row("IP_OPTIONS"), HF_FAMILY_IPV4, &option));
	assert_true(hf_sockopt_base(row("IP_MULTICAST_ALL"), HF_FAMILY_IPV4, &option));
	assert_int_equal(option.value[0] | option.value[3], 1); /* in either byte order */
	assert_true(hf_sockopt_base(row("IP_MULTICAST_ALL"), HF_FAMILY_IPV6, &option));
	assert_int_equal(option.value[0] | option.value[3], 0);
	assert_true(hf_sockopt_is_base(row("IP_MULTICAST_ALL"), HF_FAMILY_IPV6, &option));
	assert_false(hf_sockopt_is_base(row("IP_MULTICAST_ALL"), HF_FAMILY_IPV4, &option));
}

static void test_normalize(void **state)
{
	struct hf_option option = make(IPPROTO_TCP, TCP_CONGESTION, "bbr\0junk", 8);
	int tos;

	(void)state;
	hf_sockopt_normalize(row("TCP_CONGESTION"), &option);
	assert_int_equal(option.len, 3);
	assert_int_equal(option.value[4], 0); /* the same bytes for the same value */
	option = make_int(IPPROTO_IP, IP_TOS, 0x12);
	hf_sockopt_normalize(row("IP_TOS"), &option);
	memcpy(&tos, option.value, sizeof(tos));
	assert_int_equal(tos, 0x10);
	/* A size that nobody can have set. */
	option = make_int(IPPROTO_TCP, TCP_MAXSEG, 1200);
	hf_sockopt_normalize(row("TCP_MAXSEG"), &option);
	assert_int_equal(option.len, 4);
	option = make_int(IPPROTO_TCP, TCP_MAXSEG, 40000);
	hf_sockopt_normalize(row("TCP_MAXSEG"), &option);
	assert_int_equal(option.len, 0);
}

static void refuses(struct hf_conn *conn, const char *why)
{
	struct hf_error err = HF_ERROR_INIT;

	assert_int_equal(hf_sockopt_check(conn, &err), -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_contains(err.text, why);
}

static void test_check(void **state)
{
	struct hf_option options[2] = {
		make_int(IPPROTO_TCP, TCP_USER_TIMEOUT, 1), make_int(IPPROTO_IP, IP_MINTTL, 255)};
	struct hf_conn conn = {.family = HF_FAMILY_IPV4,
		.state = HF_TCP_ESTABLISHED,
		.options = options,
		.n_options = 2};

	(void)state;
	assert_int_equal(hf_sockopt_check(&conn, NULL), 0);
	options[1] = options[0];
	refuses(&conn, "option TCP_USER_TIMEOUT: is there twice");
	options[1] = make_int(IPPROTO_TCP, 15, 1);
	refuses(&conn, "option 15 of level 6: is unknown");
	options[1] = make_int(IPPROTO_TCP, TCP_NODELAY, 1);
	refuses(&conn, "option TCP_NODELAY: is not one");
	options[1] = make_int(IPPROTO_TCP, TCP_FASTOPEN, 1);
	refuses(&conn, "option TCP_FASTOPEN: is not one");
	options[1] = make_int(IPPROTO_IPV6, IPV6_RECVERR, 1);
	refuses(&conn, "option IPV6_RECVERR: is not one");
	options[1] = make(IPPROTO_TCP, TCP_CONGESTION, "b r", 3);
	refuses(&conn, "option TCP_CONGESTION: is no plain name");
	options[1] = make(IPPROTO_TCP, TCP_CONGESTION, "b\0r", 3);
	refuses(&conn, "option TCP_CONGESTION: is no plain name");
}

static void test_check_lengths(void **state)
{
	struct hf_option option;
	struct hf_conn conn = {.state = HF_TCP_LISTEN, .options = &option, .n_options = 1};

	(void)state;
	for (unsigned int i = 0; i < hf_n_sockopts; i++) {
		const struct hf_sockopt *r = &hf_sockopts[i];
		unsigned int max;

		conn.family = HF_FAMILY_IPV6;
		if (!hf_sockopt_applies(r, HF_SOCKOPT_ON_LISTENER, HF_FAMILY_IPV6))
			continue;
		max = hf_sockopt_max_len(r);
		memset(&option, 'a', sizeof(option));
		option.level = r->level;
		option.name = r->number;
		option.len = (uint16_t)max;
		assert_int_equal(hf_sockopt_check(&conn, NULL), 0);
		option.len = (uint16_t)(max + 1);
		refuses(&conn, r->name);
		option.len = UINT16_MAX;
		refuses(&conn, "has a wrong length");
		option.len = 0;
		refuses(&conn, "has a wrong length");
		option.len = 3;
		if (r->type != HF_SOCKOPT_NAME)
			refuses(&conn, "has a wrong length");
	}
}

static void check_text(struct hf_option option, const char *expected)
{
	char text[HF_OPTION_TEXT];

	assert_string_equal(hf_option_format(text, &option), expected);
}

static void test_format(void **state)
{
	static const uint32_t words[2] = {0x1f, 0};
	uint64_t rate = 5000000000u;

	(void)state;
	check_text(make_int(IPPROTO_TCP, TCP_USER_TIMEOUT, 3000), "TCP_USER_TIMEOUT=3000");
	check_text(make_int(IPPROTO_TCP, TCP_LINGER2, -1), "TCP_LINGER2=-1");
	check_text(make_int(IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1), "TCP_NOTSENT_LOWAT=4294967295");
	check_text(make(IPPROTO_TCP, TCP_CONGESTION, "bbr", 3), "TCP_CONGESTION=bbr");
	check_text(make(SOL_SOCKET, SO_MAX_PACING_RATE, &rate, 8), "SO_MAX_PACING_RATE=5000000000");
	check_text(make(SOL_SOCKET, SO_TIMESTAMPING, words, 8), "SO_TIMESTAMPING_OLD=0x1f,0x0");
	check_text(make(IPPROTO_IP, IP_OPTIONS, "\x01\x01\x01", 4), "IP_OPTIONS=01010100");
	/* A key is not for the terminal. */
	check_text(make(IPPROTO_TCP, TCP_FASTOPEN_KEY, "0123456789abcdef", 16),
		"TCP_FASTOPEN_KEY=(16 bytes)");
	/* Not ours, and not a length that ours has: still something safe. */
	check_text(make(IPPROTO_TCP, 99, "\x0a\x0b", 2), "option 6/99=0a0b");
	check_text(make(IPPROTO_TCP, TCP_NODELAY, "\x01", 1), "option 6/1=01");
	check_text(make(IPPROTO_TCP, TCP_USER_TIMEOUT, "\x01", 1), "TCP_USER_TIMEOUT=01");
}

static void test_format_longest(void **state)
{
	char text[HF_OPTION_TEXT + 1];
	struct hf_option option = {.level = UINT16_MAX, .name = UINT16_MAX, .len = UINT16_MAX};

	(void)state;
	text[HF_OPTION_TEXT] = 'x';
	hf_option_format(text, &option);
	assert_true(strlen(text) == strlen("option 65535/65535=") + 2 * HF_OPTION_SIZE);
	for (unsigned int i = 0; i < hf_n_sockopts; i++) {
		option.level = hf_sockopts[i].level;
		option.name = hf_sockopts[i].number;
		option.len = HF_OPTION_SIZE;
		hf_option_format(text, &option);
		assert_true(strlen(text) < HF_OPTION_TEXT - 1); /* nothing was cut */
	}
	assert_int_equal(text[HF_OPTION_TEXT], 'x');
}

static void test_report(void **state)
{
	char text[HF_SOCKOPT_REPORT_TEXT];
	struct hf_sockopt_report report = {0};

	(void)state;
	assert_string_equal(hf_sockopt_report_format(text, &report), "");
	hf_sockopt_set_add(&report.unknown, hf_sockopt_index(row("TCP_RTO_MAX_MS")));
	hf_sockopt_set_add(&report.unknown, hf_sockopt_index(row("SO_TXREHASH")));
	assert_string_equal(hf_sockopt_report_format(text, &report),
		"options that this kernel does not know: TCP_RTO_MAX_MS, SO_TXREHASH");
	hf_sockopt_set_add(&report.refused, hf_sockopt_index(row("SO_RESERVE_MEM")));
	hf_sockopt_report_add_missing(&report, "bbr3", "cubic");
	hf_sockopt_report_add_missing(&report, "bbr3", "reno"); /* known already */
	assert_true(hf_sockopt_report_misses(&report, "bbr3"));
	assert_false(hf_sockopt_report_misses(&report, "bbr"));
	assert_string_equal(hf_sockopt_report_format(text, &report),
		"congestion control not here: bbr3 (cubic is used instead); "
		"options that this kernel does not know: TCP_RTO_MAX_MS, SO_TXREHASH; "
		"options that this kernel did not take: SO_RESERVE_MEM");
}

static void test_report_merge(void **state)
{
	struct hf_sockopt_report report = {0}, other = {0};
	char text[HF_SOCKOPT_REPORT_TEXT];

	(void)state;
	hf_sockopt_set_add(&report.unknown, hf_sockopt_index(row("TCP_RTO_MAX_MS")));
	hf_sockopt_report_add_missing(&report, "bbr3", "cubic");
	hf_sockopt_set_add(&other.unknown, hf_sockopt_index(row("SO_TXREHASH")));
	hf_sockopt_set_add(&other.refused, hf_sockopt_index(row("SO_RESERVE_MEM")));
	hf_sockopt_report_add_missing(&other, "bbr3", "cubic");
	hf_sockopt_report_add_missing(&other, "bbr4", "cubic");
	hf_sockopt_report_merge(&report, &other);
	assert_true(hf_sockopt_set_has(&report.unknown, hf_sockopt_index(row("TCP_RTO_MAX_MS"))));
	assert_true(hf_sockopt_set_has(&report.unknown, hf_sockopt_index(row("SO_TXREHASH"))));
	assert_true(hf_sockopt_set_has(&report.refused, hf_sockopt_index(row("SO_RESERVE_MEM"))));
	assert_int_equal(report.n_missing, 2);
	assert_true(hf_sockopt_report_misses(&report, "bbr4"));
	assert_non_null(strstr(hf_sockopt_report_format(text, &report), "cubic"));
}

static void test_report_full(void **state)
{
	char text[HF_SOCKOPT_REPORT_TEXT + 1], name[] = "a";
	struct hf_sockopt_report report = {0};

	(void)state;
	for (; name[0] < 'z'; name[0]++)
		hf_sockopt_report_add_missing(&report, name, "cubic");
	assert_int_equal(report.n_missing, HF_SOCKOPT_MAX_MISSING);
	memset(&report.unknown, 0xff, sizeof(report.unknown));
	memset(&report.refused, 0xff, sizeof(report.refused));
	text[HF_SOCKOPT_REPORT_TEXT] = 'x';
	hf_sockopt_report_format(text, &report);
	assert_int_equal(strlen(text), HF_SOCKOPT_REPORT_TEXT - 1);
	assert_int_equal(text[HF_SOCKOPT_REPORT_TEXT], 'x');
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_applies),
		cmocka_unit_test(test_kind),
		cmocka_unit_test(test_base),
		cmocka_unit_test(test_normalize),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_check_lengths),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_format_longest),
		cmocka_unit_test(test_report),
		cmocka_unit_test(test_report_merge),
		cmocka_unit_test(test_report_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
