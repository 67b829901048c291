// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/conn.h"

#include "tests/unit/unit.h"

static void test_state_names(void **state)
{
	static const char *const names[] = {"UNKNOWN", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED",
		"FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT", "LAST-ACK",
		"LISTEN", "CLOSING", "SYN-RECEIVED", "UNKNOWN"};

	(void)state;
	for (unsigned int i = 0; i < UNIT_COUNT(names); i++)
		assert_string_equal(hf_tcp_state_name(i), names[i]);
	assert_string_equal(hf_tcp_state_name(UINT32_MAX), "UNKNOWN");
	/* The kernel's numbers, which come from outside. */
	assert_int_equal(HF_TCP_ESTABLISHED, 1);
	assert_int_equal(HF_TCP_CLOSE, 7);
	assert_int_equal(HF_TCP_LISTEN, 10);
	assert_int_equal(HF_TCP_NEW_SYN_RECV, 12);
}

static void test_endpoint_format(void **state)
{
	static const struct hf_endpoint any;
	const struct {
		enum hf_family family;
		struct hf_endpoint endpoint;
		const char *text;
	} cases[] = {
		{HF_FAMILY_IPV4, unit_v4(1, 80), "192.0.2.1:80"},
		{HF_FAMILY_IPV4, any, "0.0.0.0:0"},
		{HF_FAMILY_IPV4, {.ip = {255, 255, 255, 255}, .port = 65535},
			"255.255.255.255:65535"},
		{HF_FAMILY_IPV6, unit_v6(1, 80), "[2001:db8::1]:80"},
		{HF_FAMILY_IPV6, any, "[::]:0"},
		{HF_FAMILY_IPV6, unit_mapped(9, 443), "[::ffff:192.0.2.9]:443"},
		{HF_FAMILY_IPV6, unit_link_local(1, 80, 2), "[fe80::1%2]:80"},
		{HF_FAMILY_IPV6, unit_link_local(1, 80, 0), "[fe80::1]:80"},
	};
	char buf[HF_ENDPOINT_TEXT];

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		assert_ptr_equal(hf_endpoint_format(buf, cases[i].family, &cases[i].endpoint), buf);
		assert_string_equal(buf, cases[i].text);
	}
}

/* The longest texts fit the sizes that the header promises. */
static void test_longest(void **state)
{
	static const char text[] = "[feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
	struct hf_conn conn = {.family = HF_FAMILY_IPV6};
	char endpoint[HF_ENDPOINT_TEXT], both[HF_CONN_TEXT];

	(void)state;
	memset(&conn.local, 0xff, sizeof(conn.local));
	conn.local.ip[0] = 0xfe;
	conn.peer = conn.local;
	assert_string_equal(hf_endpoint_format(endpoint, conn.family, &conn.local), text);
	hf_conn_format(both, &conn);
	assert_int_equal(strlen(both), 2 * strlen(text) + 4);
	assert_int_equal(strncmp(both, text, strlen(text)), 0);
	assert_string_equal(both + strlen(text) + 4, text);
}

static void test_conn_format(void **state)
{
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);
	char buf[HF_CONN_TEXT];

	(void)state;
	assert_ptr_equal(hf_conn_format(buf, &conn), buf);
	assert_string_equal(buf, "192.0.2.1:80 -> 192.0.2.2:40000");
	conn.family = HF_FAMILY_IPV6;
	conn.local = unit_v6(1, 80);
	conn.peer = unit_v6(2, 40000);
	assert_string_equal(hf_conn_format(buf, &conn), "[2001:db8::1]:80 -> [2001:db8::2]:40000");
	memset(&conn.peer, 0, sizeof(conn.peer));
	assert_string_equal(hf_conn_format(buf, &conn), "[2001:db8::1]:80");
	conn.peer.port = 1; /* half of a peer is worth showing */
	assert_string_equal(hf_conn_format(buf, &conn), "[2001:db8::1]:80 -> [::]:1");
	conn.peer = (struct hf_endpoint){.ip = {[15] = 1}};
	assert_string_equal(hf_conn_format(buf, &conn), "[2001:db8::1]:80 -> [::1]:0");
	memset(&conn, 0, sizeof(conn));
	conn.family = HF_FAMILY_IPV4;
	assert_string_equal(hf_conn_format(buf, &conn), "0.0.0.0:0");
}

static void test_pending_format(void **state)
{
	struct hf_pending pending = {
		HF_FAMILY_IPV4, HF_TCP_SYN_RECV, unit_v4(1, 80), unit_v4(2, 40000)};
	char buf[HF_CONN_TEXT];

	(void)state;
	assert_ptr_equal(hf_pending_format(buf, &pending), buf);
	assert_string_equal(buf, "192.0.2.1:80 -> 192.0.2.2:40000");
	pending = (struct hf_pending){
		HF_FAMILY_IPV6, HF_TCP_ESTABLISHED, unit_v6(1, 80), unit_link_local(2, 1, 3)};
	assert_string_equal(hf_pending_format(buf, &pending), "[2001:db8::1]:80 -> [fe80::2%3]:1");
}

static void test_v4_mapped(void **state)
{
	struct hf_endpoint mapped = unit_mapped(1, 80), v6 = unit_v6(1, 80), v4 = unit_v4(1, 80);

	(void)state;
	assert_true(hf_endpoint_is_v4_mapped(&mapped));
	assert_false(hf_endpoint_is_v4_mapped(&v6));
	assert_false(hf_endpoint_is_v4_mapped(&v4));
	/* Each of the 96 bits of the prefix counts, none of the 32 after it. */
	for (unsigned int bit = 0; bit < 128; bit++) {
		struct hf_endpoint changed = mapped;

		changed.ip[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(hf_endpoint_is_v4_mapped(&changed), bit >= 96);
	}
}

static void test_ipv4(void **state)
{
	struct hf_endpoint mapped = unit_mapped(1, 80), v6 = unit_v6(1, 80), v4 = unit_v4(1, 80);

	(void)state;
	assert_ptr_equal(hf_endpoint_ipv4(HF_FAMILY_IPV4, &v4), v4.ip);
	assert_ptr_equal(hf_endpoint_ipv4(HF_FAMILY_IPV6, &mapped), mapped.ip + 12);
	assert_null(hf_endpoint_ipv4(HF_FAMILY_IPV6, &v6));
	assert_null(hf_endpoint_ipv4(HF_FAMILY_IPV6, &v4));
}

/* fe80::/10: the first 10 bits count, and no others. */
static void test_link_local(void **state)
{
	struct hf_endpoint endpoint = unit_link_local(1, 80, 5);

	(void)state;
	assert_true(hf_endpoint_is_link_local(&endpoint));
	for (unsigned int bit = 0; bit < 128; bit++) {
		struct hf_endpoint changed = endpoint;

		changed.ip[bit / 8] ^= (uint8_t)(0x80u >> bit % 8);
		assert_int_equal(hf_endpoint_is_link_local(&changed), bit >= 10);
	}
}

static void test_ipv4_on_wire(void **state)
{
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);

	(void)state;
	assert_true(hf_conn_is_ipv4_on_wire(&conn));
	conn.family = HF_FAMILY_IPV6;
	conn.local = unit_v6(1, 80);
	conn.peer = unit_v6(2, 81);
	assert_false(hf_conn_is_ipv4_on_wire(&conn));
	conn.local = unit_mapped(1, 80);
	assert_false(hf_conn_is_ipv4_on_wire(&conn));
	conn.peer = unit_mapped(2, 81);
	assert_true(hf_conn_is_ipv4_on_wire(&conn));
}

static void test_clear(void **state)
{
	static const struct hf_conn zero;
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);

	(void)state;
	conn.holders = malloc(sizeof(holder));
	assert_non_null(conn.holders);
	*conn.holders = holder;
	conn.options = calloc(1, sizeof(*conn.options));
	hf_conn_clear(&conn);
	assert_memory_equal(&conn, &zero, sizeof(zero));
	hf_conn_clear(&conn); /* again, and nothing: both allowed */
	hf_conn_clear(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_names),
		cmocka_unit_test(test_endpoint_format),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_conn_format),
		cmocka_unit_test(test_pending_format),
		cmocka_unit_test(test_v4_mapped),
		cmocka_unit_test(test_ipv4),
		cmocka_unit_test(test_link_local),
		cmocka_unit_test(test_ipv4_on_wire),
		cmocka_unit_test(test_clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
