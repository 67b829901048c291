// SPDX-License-Identifier: GPL-2.0-or-later
/* Which way data goes out again, and the segments for it; what they do is for the integration
 * tests. */
#include "lib/resend.h"

#include "tests/unit/unit.h"

#define UNA 0xffffff00u

static const struct hf_resend_rules everything = {true, true};
static const struct hf_first_window first = {.packets = 10, .mss = 1000};

static struct hf_conn sending(enum hf_tcp_state state, uint32_t sent, uint32_t unsent, bool sack)
{
	return (struct hf_conn){.family = HF_FAMILY_IPV4,
		.state = state,
		.local = unit_v4(1, 80),
		.peer = unit_v4(2, 81),
		.recv = {.seq = 5000},
		.send = {.seq = UNA + sent + unsent, .len = sent + unsent},
		.unsent = unsent,
		.has_sack = sack,
		.snd_wscale = 2,
		.window = {.snd_wnd = 40000, .rcv_wnd = 600, .rcv_wup = 5000}};
}

static void test_wanted(void **state)
{
	struct hf_conn conn = sending(HF_TCP_ESTABLISHED, 0, 0, true);

	(void)state;
	assert_false(hf_resend_wanted(&conn));
	conn = sending(HF_TCP_ESTABLISHED, 0, 5, true);
	assert_false(hf_resend_wanted(&conn));
	conn = sending(HF_TCP_ESTABLISHED, 1, 5, true);
	assert_true(hf_resend_wanted(&conn));
	conn = sending(HF_TCP_CLOSE_WAIT, 1, 0, true);
	assert_true(hf_resend_wanted(&conn));
	conn = sending(HF_TCP_FIN_WAIT1, 0, 0, true);
	assert_true(hf_resend_wanted(&conn));
	conn.fin_unsent = true;
	assert_false(hf_resend_wanted(&conn));
	conn = sending(HF_TCP_FIN_WAIT2, 0, 0, true);
	assert_false(hf_resend_wanted(&conn));
	conn = sending(HF_TCP_SYN_SENT, 0, 0, true);
	assert_false(hf_resend_wanted(&conn));
	conn = sending(HF_TCP_CLOSE, 0, 0, true);
	assert_false(hf_resend_wanted(&conn));
}

static void test_choose(void **state)
{
	static const struct {
		uint32_t sent, unsent;
		bool sack, hold, duplicates;
		enum hf_resend how;
	} cases[] = {
		{1, 0, true, true, true, HF_RESEND_HELD},
		{1, 0, false, true, true, HF_RESEND_HELD},
		{1, 0, true, false, true, HF_RESEND_BY_TIMER},
		{1, 0, false, false, true, HF_RESEND_BY_TIMER},
		{10000, 0, true, true, true, HF_RESEND_HELD},
		{10000, 50000, true, true, true, HF_RESEND_HELD},
		{10001, 0, true, true, true, HF_RESEND_TAIL},
		{10001, 50000, true, true, true, HF_RESEND_TAIL},
		{10001, 0, true, true, false, HF_RESEND_TAIL},
		{10001, 0, true, false, true, HF_RESEND_BY_TIMER},
		{10001, 0, false, true, true, HF_RESEND_DUPLICATES},
		{10001, 0, false, true, false, HF_RESEND_BY_TIMER},
		{3001, 0, false, false, true, HF_RESEND_DUPLICATES},
		{3000, 0, false, false, true, HF_RESEND_BY_TIMER},
		{3001, 0, false, false, false, HF_RESEND_BY_TIMER},
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		const struct hf_resend_rules rules = {cases[i].hold, cases[i].duplicates};
		struct hf_conn conn =
			sending(HF_TCP_ESTABLISHED, cases[i].sent, cases[i].unsent, cases[i].sack);

		if (hf_resend_choose(&conn, &rules, &first) != cases[i].how)
			fail_msg("case %zu", i);
	}
}

/* All that is held back must go out at once. */
static void test_no_room(void **state)
{
	const struct hf_first_window paced = {.packets = 10, .mss = 1000, .paced = true};
	const struct hf_first_window none = {0};
	struct hf_conn conn = sending(HF_TCP_ESTABLISHED, 5000, 0, true);

	(void)state;
	conn.window.snd_wnd = 5000;
	assert_int_equal(hf_resend_choose(&conn, &everything, &first), HF_RESEND_HELD);
	conn.window.snd_wnd = 4999;
	assert_int_equal(hf_resend_choose(&conn, &everything, &first), HF_RESEND_TAIL);
	conn = sending(HF_TCP_FIN_WAIT1, 5000, 0, true);
	conn.window.snd_wnd = 5000;
	assert_int_equal(hf_resend_choose(&conn, &everything, &first), HF_RESEND_TAIL);
	conn.window.snd_wnd = 5001;
	assert_int_equal(hf_resend_choose(&conn, &everything, &first), HF_RESEND_HELD);
	assert_int_equal(hf_resend_choose(&conn, &everything, &paced), HF_RESEND_TAIL);
	assert_int_equal(hf_resend_choose(&conn, &everything, &none), HF_RESEND_TAIL);
	conn = sending(HF_TCP_ESTABLISHED, HF_RESEND_TAIL_BYTES, 0, true);
	assert_int_equal(hf_resend_choose(&conn, &everything, &paced), HF_RESEND_BY_TIMER);
}

static void test_hold(void **state)
{
	struct hf_conn conn = sending(HF_TCP_ESTABLISHED, 100, 20, true);

	(void)state;
	hf_resend_hold(&conn);
	assert_int_equal(conn.unsent, 120);
	assert_int_equal(conn.send.len, 120);
	assert_false(conn.fin_unsent);
	conn = sending(HF_TCP_LAST_ACK, 100, 0, true);
	hf_resend_hold(&conn);
	assert_int_equal(conn.unsent, 100);
	assert_true(conn.fin_unsent);
}

static void test_tail(void **state)
{
	struct hf_conn conn = sending(HF_TCP_CLOSE_WAIT, 0x1000, 50, true);

	(void)state;
	assert_int_equal(hf_resend_tail_at(&conn), 0x1000 - 3);
	for (unsigned int i = 0; i < HF_RESEND_TAIL_BYTES; i++) {
		const struct hf_segment segment = hf_resend_tail(&conn, i, (uint8_t)(7 + i));

		assert_int_equal(segment.from.port, 80);
		assert_int_equal(segment.to.port, 81);
		assert_int_equal(segment.seq, UNA + 0x1000 - 3 + i);
		assert_int_equal(segment.ack, 5001); /* with the peer's FIN */
		assert_int_equal(segment.flags, HF_SEGMENT_ACK);
		assert_int_equal(segment.window, 600);
		assert_int_equal(segment.len, 1);
		assert_int_equal(segment.data, 7 + i);
	}
	conn = sending(HF_TCP_FIN_WAIT1, 0x1000, 0, true); /* the FIN is behind it */
	assert_int_equal(hf_resend_tail(&conn, 2, 9).seq, UNA + 0x1000 - 1);
	assert_int_equal(hf_resend_tail(&conn, 2, 9).ack, 5000);
}

static void test_duplicate(void **state)
{
	struct hf_conn conn = sending(HF_TCP_ESTABLISHED, 0x1000, 50, false);
	struct hf_segment segment = hf_resend_duplicate(&conn);

	(void)state;
	assert_int_equal(segment.from.port, 81);
	assert_int_equal(segment.to.port, 80);
	assert_int_equal(segment.seq, 5000);
	assert_int_equal(segment.ack, UNA);
	assert_int_equal(segment.flags, HF_SEGMENT_ACK);
	assert_int_equal(segment.window, 10000);
	assert_int_equal(segment.len, 0);
	conn.state = HF_TCP_LAST_ACK;
	assert_int_equal(hf_resend_duplicate(&conn).seq, 5001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_choose),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_duplicate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
