// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of states makes sense: walking its steps through the diagram of RFC 9293, figure 5,
 * ends in the state of the row, and the parts that a row has are those that its steps use.
 */
#include "tests/unit/unit.h"

#include "lib/tcp_state.h"

/* Which states a file descriptor can be in: the others have none, or belong to a request. */
static const struct {
	enum hf_tcp_state state;
	unsigned int n_closed; /* kinds of closed socket */
} wanted[] = {
	{HF_TCP_ESTABLISHED, 1},
	{HF_TCP_SYN_SENT, 1},
	{HF_TCP_SYN_RECV, 0},
	{HF_TCP_FIN_WAIT1, 1},
	{HF_TCP_FIN_WAIT2, 1},
	{HF_TCP_TIME_WAIT, 0},
	{HF_TCP_CLOSE, HF_CLOSED_KINDS},
	{HF_TCP_CLOSE_WAIT, 1},
	{HF_TCP_LAST_ACK, 1},
	{HF_TCP_LISTEN, 1},
	{HF_TCP_CLOSING, 1},
	{HF_TCP_NEW_SYN_RECV, 0},
	{(enum hf_tcp_state)0, 0},
	{HF_TCP_STATES, 0},
};

static void test_rows(void **state)
{
	(void)state;
	assert_int_equal(UNIT_COUNT(wanted), HF_TCP_STATES + 1);
	for (size_t i = 0; i < UNIT_COUNT(wanted); i++)
		for (unsigned int closed = 0; closed < wanted[i].n_closed; closed++) {
			const struct hf_tcp_row *row = hf_tcp_row(wanted[i].state, closed);

			assert_non_null(row);
			assert_int_equal(row->state, wanted[i].state);
			assert_int_equal(row->closed, closed);
		}
	for (size_t i = 0; i < UNIT_COUNT(wanted); i++)
		if (wanted[i].n_closed == 0)
			assert_null(hf_tcp_row(wanted[i].state, 0));
	assert_null(hf_tcp_row(HF_TCP_CLOSE, HF_CLOSED_KINDS));
	/* In the other states the kind of closed socket says nothing. */
	assert_ptr_equal(hf_tcp_row(HF_TCP_LISTEN, HF_CLOSED_RESET), hf_tcp_row(HF_TCP_LISTEN, 0));
}

static void each_row(void (*test)(const struct hf_tcp_row *row))
{
	for (size_t i = 0; i < UNIT_COUNT(wanted); i++)
		for (unsigned int closed = 0; closed < wanted[i].n_closed; closed++)
			test(hf_tcp_row(wanted[i].state, closed));
}

/* Where a step is, counted from 1; 0: nowhere. */
static unsigned int place(const struct hf_tcp_row *row, enum hf_step step)
{
	for (unsigned int i = 0; i < HF_MAX_STEPS && row->steps[i]; i++)
		if (row->steps[i] == step)
			return i + 1;
	return 0;
}

/* Each step at most once, and the list ends in its array. */
static void check_steps(const struct hf_tcp_row *row)
{
	unsigned int seen = 0, n = 0;

	while (n <= HF_MAX_STEPS && row->steps[n]) {
		assert_true(row->steps[n] <= HF_STEP_WINDOW);
		assert_false(seen & 1u << row->steps[n]);
		seen |= 1u << row->steps[n++];
	}
	assert_true(n <= HF_MAX_STEPS);
	for (; n <= HF_MAX_STEPS; n++)
		assert_int_equal(row->steps[n], HF_STEP_END);
}

static void check_flags(const struct hf_tcp_row *row)
{
	bool faked_or_real = row->connected || row->faked_peer;

	assert_false(row->connected && row->faked_peer);
	assert_true(!row->stream || (row->connected && row->received));
	assert_true(!row->sending || row->stream);
	assert_true(!row->our_fin || row->stream);
	assert_true(!row->peer_fin || row->stream);
	assert_true(!row->fin_acked || (row->our_fin && !row->sending));
	assert_true(!row->received || faked_or_real);
	/* A peer is needed for any step at all, and each row with a peer has steps. */
	assert_int_equal(row->steps[0] != HF_STEP_END, faked_or_real);
}

static void check_parts(const struct hf_tcp_row *row)
{
	bool refused = row->state == HF_TCP_SYN_SENT || row->closed == HF_CLOSED_REFUSED;

	assert_int_equal(place(row, HF_STEP_RECEIVED) != 0, row->received);
	assert_int_equal(place(row, HF_STEP_SENT) != 0, row->sending);
	assert_int_equal(place(row, HF_STEP_UNSENT) != 0, row->sending);
	assert_int_equal(place(row, HF_STEP_WINDOW) != 0, row->stream);
	assert_int_equal(place(row, HF_STEP_SYN) != 0, refused);
	assert_int_equal(place(row, HF_STEP_CONNECT) != 0,
		row->stream || row->received || row->closed == HF_CLOSED_DISCONNECTED);
	assert_int_equal(
		place(row, HF_STEP_DISCONNECT) != 0, row->closed == HF_CLOSED_DISCONNECTED);
	assert_int_equal(place(row, HF_STEP_PEER_RST) != 0,
		row->closed == HF_CLOSED_RESET || row->closed == HF_CLOSED_REFUSED);
	if (row->stream) {
		assert_int_equal(place(row, HF_STEP_OUR_FIN) != 0, row->our_fin);
		assert_int_equal(place(row, HF_STEP_PEER_FIN) != 0, row->peer_fin);
		assert_int_equal(place(row, HF_STEP_PEER_ACK) != 0, row->fin_acked);
	}
}

/*
 * The kernel's conditions on the order: the receive queue cannot be filled after the peer's FIN,
 * nor the send queue after ours, and the windows are set when nothing moves any more.
 */
static void check_order(const struct hf_tcp_row *row)
{
	unsigned int our_fin = place(row, HF_STEP_OUR_FIN), peer_fin = place(row, HF_STEP_PEER_FIN);
	unsigned int window = place(row, HF_STEP_WINDOW), ack = place(row, HF_STEP_PEER_ACK);

	if (row->steps[0])
		assert_true(row->steps[0] == HF_STEP_CONNECT || row->steps[0] == HF_STEP_SYN);
	if (window)
		assert_int_equal(row->steps[window], HF_STEP_END);
	if (peer_fin)
		assert_true(place(row, HF_STEP_RECEIVED) < peer_fin);
	if (peer_fin)
		assert_true(place(row, HF_STEP_SENT) < peer_fin);
	if (our_fin) {
		assert_true(place(row, HF_STEP_SENT) < our_fin);
		assert_true(place(row, HF_STEP_UNSENT) < our_fin);
	}
	if (ack)
		assert_true(our_fin && our_fin < ack);
	if (row->sending)
		assert_true(place(row, HF_STEP_SENT) < place(row, HF_STEP_UNSENT));
}

/* RFC 9293 figure 5, as far as the steps go. */
static enum hf_tcp_state walk(enum hf_tcp_state from, enum hf_step step)
{
	switch (step) {
	case HF_STEP_CONNECT:
		return from == HF_TCP_CLOSE ? HF_TCP_ESTABLISHED : 0;
	case HF_STEP_SYN:
		return from == HF_TCP_CLOSE ? HF_TCP_SYN_SENT : 0;
	case HF_STEP_OUR_FIN:
		return from == HF_TCP_ESTABLISHED  ? HF_TCP_FIN_WAIT1
		       : from == HF_TCP_CLOSE_WAIT ? HF_TCP_LAST_ACK
						   : 0;
	case HF_STEP_PEER_FIN:
		return from == HF_TCP_ESTABLISHED ? HF_TCP_CLOSE_WAIT
		       : from == HF_TCP_FIN_WAIT1 ? HF_TCP_CLOSING
						  : 0;
	case HF_STEP_PEER_ACK:
		return from == HF_TCP_FIN_WAIT1  ? HF_TCP_FIN_WAIT2
		       : from == HF_TCP_LAST_ACK ? HF_TCP_CLOSE
						 : 0;
	case HF_STEP_PEER_RST:
		return from == HF_TCP_CLOSE ? 0 : HF_TCP_CLOSE;
	case HF_STEP_DISCONNECT:
		return from == HF_TCP_ESTABLISHED ? HF_TCP_CLOSE : 0;
	default:
		return from;
	}
}

static void check_walk(const struct hf_tcp_row *row)
{
	enum hf_tcp_state at = HF_TCP_CLOSE;

	for (int i = 0; row->steps[i]; i++) {
		enum hf_tcp_state next = walk(at, row->steps[i]);

		assert_int_not_equal(next, 0);
		assert_int_equal(hf_tcp_after(at, row->steps[i]), next);
		at = next;
	}
	/* listen(2) makes a listener, not a step. */
	assert_int_equal(at, row->state == HF_TCP_LISTEN ? HF_TCP_CLOSE : row->state);
}

static void test_steps(void **state)
{
	(void)state;
	each_row(check_steps);
}

static void test_flags(void **state)
{
	(void)state;
	each_row(check_flags);
}

static void test_parts(void **state)
{
	(void)state;
	each_row(check_parts);
}

static void test_order(void **state)
{
	(void)state;
	each_row(check_order);
}

static void test_walk(void **state)
{
	(void)state;
	each_row(check_walk);
}

/* The order of the two FINs is all that tells them apart, also where ours is still unsent. */
static void test_two_fins(void **state)
{
	const struct hf_tcp_row *last = hf_tcp_row(HF_TCP_LAST_ACK, 0);
	const struct hf_tcp_row *closing = hf_tcp_row(HF_TCP_CLOSING, 0);

	(void)state;
	assert_true(place(last, HF_STEP_PEER_FIN) < place(last, HF_STEP_UNSENT));
	assert_true(place(last, HF_STEP_PEER_FIN) < place(last, HF_STEP_OUR_FIN));
	assert_true(place(closing, HF_STEP_UNSENT) < place(closing, HF_STEP_PEER_FIN));
	assert_true(place(closing, HF_STEP_OUR_FIN) < place(closing, HF_STEP_PEER_FIN));
}

static void test_closed_names(void **state)
{
	(void)state;
	assert_string_equal(hf_closed_name(HF_CLOSED_UNCONNECTED), "");
	assert_string_equal(hf_closed_name(HF_CLOSED_FINISHED), "finished");
	assert_string_equal(hf_closed_name(HF_CLOSED_RESET), "reset");
	assert_string_equal(hf_closed_name(HF_CLOSED_REFUSED), "refused");
	assert_string_equal(hf_closed_name(HF_CLOSED_KINDS), "");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_two_fins),
		cmocka_unit_test(test_closed_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
