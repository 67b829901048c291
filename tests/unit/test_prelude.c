// SPDX-License-Identifier: GPL-2.0-or-later
/* Who is told to pause, what, and for how long; that peers do so is for the integration tests. */
#include "tests/unit/unit.h"

#include "lib/prelude.h"

static struct hf_conn established(
	enum hf_family family, struct hf_endpoint local, struct hf_endpoint peer)
{
	return (struct hf_conn){
		.family = family, .state = HF_TCP_ESTABLISHED, .local = local, .peer = peer};
}

/* Only peers that may be sending something that we take. */
static void test_wanted(void **state)
{
	struct hf_conn conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(2, 81));

	(void)state;
	for (unsigned int i = 0; i < HF_TCP_STATES; i++) {
		conn.state = (enum hf_tcp_state)i;
		conn.shutdown = 0;
		assert_int_equal(hf_prelude_wanted(&conn),
			i == HF_TCP_ESTABLISHED || i == HF_TCP_FIN_WAIT1 || i == HF_TCP_FIN_WAIT2);
		conn.shutdown = HF_SHUTDOWN_SEND;
		assert_int_equal(hf_prelude_wanted(&conn),
			i == HF_TCP_ESTABLISHED || i == HF_TCP_FIN_WAIT1 || i == HF_TCP_FIN_WAIT2);
		conn.shutdown = HF_SHUTDOWN_RECV;
		assert_false(hf_prelude_wanted(&conn));
	}
}

static void test_not_on_loopback(void **state)
{
	const struct hf_endpoint v4 = {.ip = {127, 0, 0, 1}, .port = 80},
				 v6 = {.ip = {[15] = 1}, .port = 80};
	struct hf_conn conn = established(HF_FAMILY_IPV4, v4, v4);

	(void)state;
	assert_false(hf_prelude_wanted(&conn));
	conn = established(HF_FAMILY_IPV6, v6, v6);
	assert_false(hf_prelude_wanted(&conn));
	/* On one of its own addresses. */
	conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(1, 81));
	assert_false(hf_prelude_wanted(&conn));
	conn = established(HF_FAMILY_IPV6, unit_mapped(1, 80), unit_mapped(1, 81));
	assert_false(hf_prelude_wanted(&conn));
	conn = established(HF_FAMILY_IPV6, unit_mapped(1, 80), unit_mapped(2, 81));
	assert_true(hf_prelude_wanted(&conn));
	conn = established(HF_FAMILY_IPV6, unit_v6(1, 80), unit_v6(2, 81));
	assert_true(hf_prelude_wanted(&conn));
}

static void test_address(void **state)
{
	const struct hf_address v4 = {HF_FAMILY_IPV4, {192, 0, 2, 2}};
	struct hf_address v6 = {.family = HF_FAMILY_IPV6};
	struct hf_conn conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(2, 81));

	(void)state;
	memcpy(v6.ip, unit_v6(2, 81).ip, sizeof(v6.ip));
	assert_true(hf_prelude_is_at(&conn, &v4));
	assert_false(hf_prelude_is_at(&conn, &v6));
	conn = established(HF_FAMILY_IPV6, unit_mapped(1, 80), unit_mapped(2, 81));
	assert_true(hf_prelude_is_at(&conn, &v4));
	conn = established(HF_FAMILY_IPV6, unit_v6(1, 80), unit_v6(2, 81));
	assert_true(hf_prelude_is_at(&conn, &v6));
	assert_false(hf_prelude_is_at(&conn, &v4));
	conn = established(HF_FAMILY_IPV4, unit_v4(2, 80), unit_v4(1, 81));
	assert_false(hf_prelude_is_at(&conn, &v4));
}

/* A segment beyond what is to come next has told a window. */
static void test_not_with_a_hole(void **state)
{
	struct hf_conn conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(2, 81));

	(void)state;
	conn.recv.seq = 0xfffffff0;
	conn.window.snd_wl1 = 0xfffff000;
	assert_true(hf_prelude_wanted(&conn));
	conn.window.snd_wl1 = conn.recv.seq;
	assert_true(hf_prelude_wanted(&conn));
	conn.window.snd_wl1 = 1000;
	assert_false(hf_prelude_wanted(&conn));
}

static void test_ack(void **state)
{
	struct hf_conn conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(2, 81));
	struct hf_segment ack;

	(void)state;
	conn.recv = (struct hf_queue){0xfffffffe, 10};
	conn.send = (struct hf_queue){1000, 300};
	conn.unsent = 100;
	conn.window.rcv_wup = conn.recv.seq;
	conn.window.rcv_wnd = 5000;
	ack = hf_prelude_ack(&conn);
	assert_int_equal(ack.seq, 900);
	assert_int_equal(ack.ack, 0xfffffffe);
	assert_int_equal(ack.flags, HF_SEGMENT_ACK);
	assert_int_equal(ack.window, 0);
	assert_false(ack.has_timestamps);
	conn.has_timestamps = true;
	conn.timestamp = 0x10203040;
	ack = hf_prelude_ack(&conn);
	assert_true(ack.has_timestamps);
	assert_int_equal(ack.tsval, 0x10203041); /* not older than any that was sent */
	assert_int_equal(ack.tsecr, 0);
}

static uint64_t wait_us(uint32_t least, uint32_t smoothed, uint32_t received)
{
	const struct hf_rtt rtt = {least, smoothed, received};

	return hf_prelude_wait_us(&rtt, 50000);
}

static void test_wait(void **state)
{
	(void)state;
	assert_int_equal(wait_us(40, 40000, 90000), 40 + 10 + 100);
	assert_int_equal(wait_us(20000, 30000, 0), 25100);
	/* A restored connection has not measured yet, or has received only. */
	assert_int_equal(wait_us(UINT32_MAX, 0, 0), 100);
	assert_int_equal(wait_us(UINT32_MAX, 0, 8000), 10100);
	assert_int_equal(wait_us(UINT32_MAX, 4000, 8000), 5100);
	assert_int_equal(wait_us(0, 4000, 0), 5100);
	assert_int_equal(hf_prelude_wait_us(&(struct hf_rtt){40, 0, 0}, 0), 0);
	assert_int_equal(hf_rtt_us(&(struct hf_rtt){40, 50, 60}), 40);
	assert_int_equal(hf_rtt_us(&(struct hf_rtt){UINT32_MAX, 0, 60}), 60);
	assert_int_equal(hf_rtt_us(&(struct hf_rtt){UINT32_MAX, 0, 0}), 0);
	/* Within the limit, but for the margin; and not. */
	assert_int_equal(wait_us(50000, 0, 0), 50000);
	assert_int_equal(wait_us(50001, 0, 0), 0);
	assert_int_equal(wait_us(UINT32_MAX - 1, 0, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_not_on_loopback),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_not_with_a_hole),
		cmocka_unit_test(test_ack),
		cmocka_unit_test(test_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
