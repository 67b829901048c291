// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hf_conn_check(): every part of a socket in every state, addresses, and each field by itself. What
 * a state has is said here a second time, so that a wrong entry in the table of states shows.
 */
#include "tests/unit/unit.h"

#include "lib/image.h"

/* The states a socket can be in, as bits. */
enum {
	ESTABLISHED = 1 << 0,
	SYN_SENT = 1 << 1,
	FIN_WAIT1 = 1 << 2,
	FIN_WAIT2 = 1 << 3,
	CLOSE_WAIT = 1 << 4,
	LAST_ACK = 1 << 5,
	CLOSING = 1 << 6,
	UNCONNECTED = 1 << 7,
	FINISHED = 1 << 8,
	RESET = 1 << 9,
	REFUSED = 1 << 10,
	DISCONNECTED = 1 << 11,
	LISTEN = 1 << 12,
	ALL = (1 << 13) - 1,
	UNBOUND = UNCONNECTED | REFUSED | DISCONNECTED,
	CLOSE = UNBOUND | FINISHED | RESET,
	STREAM = ESTABLISHED | FIN_WAIT1 | FIN_WAIT2 | CLOSE_WAIT | LAST_ACK | CLOSING,
	CONNECTED = STREAM | SYN_SENT,
	RECEIVED = STREAM | FINISHED | RESET,
	SENDING = STREAM & ~FIN_WAIT2,
};

static const struct {
	enum hf_tcp_state state;
	enum hf_closed closed;
} states[] = {
	{HF_TCP_ESTABLISHED, 0},
	{HF_TCP_SYN_SENT, 0},
	{HF_TCP_FIN_WAIT1, 0},
	{HF_TCP_FIN_WAIT2, 0},
	{HF_TCP_CLOSE_WAIT, 0},
	{HF_TCP_LAST_ACK, 0},
	{HF_TCP_CLOSING, 0},
	{HF_TCP_CLOSE, HF_CLOSED_UNCONNECTED},
	{HF_TCP_CLOSE, HF_CLOSED_FINISHED},
	{HF_TCP_CLOSE, HF_CLOSED_RESET},
	{HF_TCP_CLOSE, HF_CLOSED_REFUSED},
	{HF_TCP_CLOSE, HF_CLOSED_DISCONNECTED},
	{HF_TCP_LISTEN, 0},
};

/* A good socket in a state, with no more than it must have. */
static struct hf_conn make(size_t i, struct hf_holder *holder)
{
	struct hf_conn conn = unit_conn(holder);

	if (!(1 << i & STREAM))
		conn = (struct hf_conn){.family = HF_FAMILY_IPV4,
			.local = unit_v4(1, 80),
			.holders = holder,
			.n_holders = 1};
	if (1 << i & SYN_SENT)
		conn.peer = unit_v4(2, 40000);
	conn.state = states[i].state;
	conn.closed = states[i].closed;
	return conn;
}

#define PART(name, ...)                                                                            \
	static void name(struct hf_conn *conn)                                                     \
	{                                                                                          \
		__VA_ARGS__;                                                                       \
	}

/* clang-format off: one a line */
PART(nothing, (void)conn)
PART(peer_port, conn->peer.port = 1)
PART(peer_ip, conn->peer.ip[0] = 192)
PART(peer_scope, conn->family = HF_FAMILY_IPV6; conn->local = unit_link_local(1, 80, 5);
	conn->peer = unit_link_local(2, 81, 5))
PART(peer_none, memset(&conn->peer, 0, sizeof(conn->peer)))
PART(local_any, memset(conn->local.ip, 0, 16))
PART(local_port_0, conn->local.port = 0)
PART(local_none, memset(&conn->local, 0, sizeof(conn->local)))
PART(local_multicast, conn->local.ip[0] = 224)
PART(recv_seq, conn->recv.seq |= 1)
PART(recv_len, conn->recv.len = HF_MAX_QUEUE)
PART(urgent, conn->recv.len = 5; conn->urgent = (struct hf_urgent){true, true, 4})
PART(send_seq, conn->send.seq |= 1)
PART(send_len, conn->send.len = HF_MAX_QUEUE)
PART(unsent, conn->send.len = conn->unsent = 7;
	conn->fin_unsent = conn->state != 1 && conn->state != 8)
PART(fin_unsent, conn->fin_unsent = true)
PART(mss_clamp, conn->mss_clamp = 1)
PART(wscale, conn->has_wscale = true)
PART(snd_wscale, conn->snd_wscale = 1)
PART(rcv_wscale, conn->rcv_wscale = 1)
PART(sack, conn->has_sack = true)
PART(timestamps, conn->has_timestamps = true)
PART(usec, conn->usec_timestamps = true)
PART(timestamp, conn->timestamp = 1)
PART(snd_wl1, conn->window.snd_wl1 |= 1)
PART(snd_wnd, conn->window.snd_wnd |= 1)
PART(max_window, conn->window.max_window |= 1)
PART(rcv_wnd, conn->window.rcv_wnd |= 1)
PART(rcv_wup, conn->window.rcv_wup |= 1)
PART(peer_paused, conn->peer_paused = true)
PART(peer_silent, conn->peer_silent = true)
PART(rtt, conn->rtt_us = 1)
PART(v6only, conn->v6only = true; conn->family = HF_FAMILY_IPV6; conn->local = unit_v6(1, 80);
	if (conn->peer.port) conn->peer = unit_v6(2, 81))
PART(shutdown_3, conn->shutdown = 3)
PART(shutdown_4, conn->shutdown = 4)
PART(closed, conn->closed = conn->state == HF_TCP_CLOSE ? conn->closed : HF_CLOSED_RESET)
PART(closed_beyond, conn->closed = HF_CLOSED_KINDS)
PART(reuseaddr, conn->reuseaddr = true)
PART(no_holders, conn->n_holders = 0)
/* clang-format on */

/* In which states a socket may have what the function sets, and the field named where it may not.
 */
static const struct {
	const char *name;
	void (*apply)(struct hf_conn *conn);
	int allowed;
	const char *field;
} parts[] = {
	{"nothing", nothing, ALL, ""},
	{"peer_port", peer_port, CONNECTED, "peer: "},
	{"peer_ip", peer_ip, CONNECTED, "peer: "},
	{"peer_scope", peer_scope, CONNECTED, "peer: "},
	{"peer_none", peer_none, ALL & ~CONNECTED, "peer: "},
	{"local_any", local_any, UNBOUND | LISTEN, "local: "},
	{"local_port_0", local_port_0, UNBOUND, "local: "},
	{"local_none", local_none, UNBOUND, "local: "},
	{"local_multicast", local_multicast, UNBOUND | LISTEN, "local: "},
	{"recv_seq", recv_seq, STREAM, "receive: "},
	{"recv_len", recv_len, RECEIVED, "receive: "},
	{"urgent", urgent, RECEIVED, "receive: "},
	{"send_seq", send_seq, CONNECTED, "send: "},
	{"send_len", send_len, SENDING, "send: "},
	{"unsent", unsent, SENDING, "send: "},
	{"fin_unsent", fin_unsent, FIN_WAIT1 | LAST_ACK | CLOSING, "fin_unsent: "},
	{"mss_clamp", mss_clamp, STREAM, "negotiated"},
	{"wscale", wscale, STREAM, "negotiated"},
	{"snd_wscale", snd_wscale, STREAM, "negotiated"},
	{"rcv_wscale", rcv_wscale, STREAM, "negotiated"},
	{"sack", sack, STREAM, "negotiated"},
	{"timestamps", timestamps, STREAM, "negotiated"},
	{"usec", usec, CONNECTED, "timestamp: "},
	{"timestamp", timestamp, CONNECTED, "timestamp: "},
	{"snd_wl1", snd_wl1, STREAM, "window: "},
	{"snd_wnd", snd_wnd, STREAM, "window: "},
	{"max_window", max_window, STREAM, "window: "},
	{"rcv_wnd", rcv_wnd, STREAM, "window: "},
	{"rcv_wup", rcv_wup, STREAM, "window: "},
	{"peer_paused", peer_paused, STREAM & ~(CLOSE_WAIT | LAST_ACK | CLOSING), "peer_paused: "},
	{"peer_silent", peer_silent, STREAM, "peer_silent or rtt_us: "},
	{"rtt", rtt, STREAM, "peer_silent or rtt_us: "},
	{"v6only", v6only, LISTEN, "v6only: "},
	{"shutdown_3", shutdown_3, ALL, ""},
	{"shutdown_4", shutdown_4, 0, "shutdown: "},
	{"closed", closed, CLOSE, "closed: "},
	{"closed_beyond", closed_beyond, 0, "closed: "},
	{"reuseaddr", reuseaddr, ALL, ""},
	{"no_holders", no_holders, 0, "holders: "},
};

static void test_every_state(void **state)
{
	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(parts); i++)
		for (size_t k = 0; k < UNIT_COUNT(states); k++) {
			struct hf_holder holder = {.levels = 1, .pid = {1}, .fd = 3};
			struct hf_conn conn = make(k, &holder);
			struct hf_error err = HF_ERROR_INIT;
			bool good = parts[i].allowed & 1 << k;

			parts[i].apply(&conn);
			if (hf_conn_check(&conn, &err) != (good ? 0 : -EBADMSG))
				fail_msg("%s in %s (%d) is %s", parts[i].name,
					hf_tcp_state_name(states[k].state), states[k].closed,
					good ? err.text : "accepted");
			if (!good)
				assert_contains(err.text, parts[i].field);
		}
}

/* States without a row: refused by their name. */
static void test_no_state(void **state)
{
	static const unsigned int refused[] = {0, HF_TCP_SYN_RECV, HF_TCP_TIME_WAIT,
		HF_TCP_NEW_SYN_RECV, HF_TCP_STATES, UINT32_MAX};
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);
	struct hf_error err = HF_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(refused); i++) {
		conn.state = (enum hf_tcp_state)refused[i];
		assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
		assert_contains(err.text, "state: ");
		assert_contains(err.text, hf_tcp_state_name(refused[i]));
	}
}

#define MAPPED(...) {.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, __VA_ARGS__}, .port = 1}

/* As either end of a connection, with a good other end. */
static void test_addresses(void **state)
{
	static const struct {
		enum hf_family family;
		struct hf_endpoint end;
		const char *text; /* NULL: good */
	} cases[] = {
		{HF_FAMILY_IPV4, {.ip = {223, 255, 255, 255}, .port = 1}, NULL},
		{HF_FAMILY_IPV4, {.ip = {255, 255, 255, 254}, .port = 1}, NULL},
		{HF_FAMILY_IPV4, {.ip = {127, 0, 0, 1}, .port = 65535}, NULL},
		{HF_FAMILY_IPV4, {.ip = {224, 0, 0, 0}, .port = 1}, "multicast"},
		{HF_FAMILY_IPV4, {.ip = {239, 255, 255, 255}, .port = 1}, "multicast"},
		{HF_FAMILY_IPV4, {.ip = {255, 255, 255, 255}, .port = 1}, "broadcast"},
		{HF_FAMILY_IPV4, {.ip = {0}, .port = 1}, "unspecified"},
		{HF_FAMILY_IPV4, {.ip = {10, 0, 0, 1}}, "port is 0"},
		{HF_FAMILY_IPV4, {.ip = {10, 0, 0, 1, 1}, .port = 1}, "longer than"},
		{HF_FAMILY_IPV4, {.ip = {10, 0, 0, 1, [15] = 1}, .port = 1}, "longer than"},
		{HF_FAMILY_IPV4, {.ip = {10, 0, 0, 1}, .port = 1, .scope_id = 1}, "scope id"},
		{HF_FAMILY_IPV4, {.ip = {0xfe, 0x80, 0, 1}, .port = 1, .scope_id = 1}, "scope id"},
		{HF_FAMILY_IPV6, MAPPED(192, 0, 2, 9), NULL},
		{HF_FAMILY_IPV6, MAPPED(224, 0, 0, 1), "multicast"},
		{HF_FAMILY_IPV6, MAPPED(255, 255, 255, 255), "broadcast"},
		{HF_FAMILY_IPV6, MAPPED(0, 0, 0, 0), "unspecified"},
		{HF_FAMILY_IPV6, {.ip = {[15] = 1}, .port = 1}, NULL},
		{HF_FAMILY_IPV6, {.ip = {[0] = 0xfe, 0xbf}, .port = 1, .scope_id = 9}, NULL},
		{HF_FAMILY_IPV6, {.ip = {[0] = 0xfe, 0xc0}, .port = 1, .scope_id = 9}, "scope id"},
		{HF_FAMILY_IPV6, {.ip = {[15] = 0}, .port = 1}, "unspecified"},
		{HF_FAMILY_IPV6, {.ip = {0xff, 2, [15] = 1}, .port = 1}, "multicast"},
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		for (int at_peer = 0; at_peer <= 1; at_peer++) {
			struct hf_holder holder;
			struct hf_conn conn = unit_conn(&holder);
			struct hf_endpoint *end = at_peer ? &conn.peer : &conn.local;
			struct hf_error err = HF_ERROR_INIT;
			int ret;

			conn.family = cases[i].family;
			conn.local = conn.peer = conn.family == HF_FAMILY_IPV4 ? unit_v4(1, 80)
						 : hf_endpoint_is_v4_mapped(&cases[i].end)
							 ? unit_mapped(1, 80)
							 : unit_v6(1, 80);
			*end = cases[i].end;
			ret = hf_conn_check(&conn, &err);
			if (ret != (cases[i].text ? -EBADMSG : 0))
				fail_msg("case %zu: %d %s", i, ret, err.text);
			if (!cases[i].text)
				continue;
			assert_contains(err.text, at_peer ? "peer: " : "local: ");
			assert_contains(err.text, cases[i].text);
		}
}

/* What is not, or no longer, connected has a scope id by the same rule. */
static void test_addresses_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(states); i++) {
		struct hf_holder holder = {.levels = 1, .pid = {1}, .fd = 3};
		struct hf_conn conn = make(i, &holder);
		struct hf_error err = HF_ERROR_INIT;

		if (1 << i & CONNECTED)
			continue;
		conn.local.scope_id = 1;
		assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
		assert_contains(err.text, "local: a scope id");
		conn.family = HF_FAMILY_IPV6;
		conn.local = unit_v6(1, 80);
		conn.local.scope_id = 1;
		assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
		conn.local = unit_link_local(1, 80, 1);
		assert_int_equal(hf_conn_check(&conn, NULL), 0);
		conn.peer.scope_id = 1;
		assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
		assert_contains(err.text, "peer: ");
	}
}

static void assert_bad(const struct hf_conn *conn, const char *text)
{
	struct hf_error err = HF_ERROR_INIT;

	assert_int_equal(hf_conn_check(conn, &err), -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_string_equal(err.text, text);
}

static void test_family(void **state)
{
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);

	(void)state;
	conn.family = (enum hf_family)10; /* AF_INET6, not ours */
	assert_bad(&conn, "family: neither 4 nor 6");
	conn = unit_conn(&holder);
	conn.family = HF_FAMILY_IPV6;
	conn.local = unit_mapped(1, 80);
	conn.peer = unit_v6(2, 80);
	assert_bad(&conn, "peer: only one of the two addresses is IPv4-mapped");
	conn.local = unit_v6(1, 80);
	conn.peer = unit_mapped(2, 80);
	assert_bad(&conn, "peer: only one of the two addresses is IPv4-mapped");
}

static void test_v6only(void **state)
{
	struct hf_holder holder = {.levels = 1, .pid = {1}, .fd = 3};
	struct hf_conn conn = {.family = HF_FAMILY_IPV6,
		.state = HF_TCP_LISTEN,
		.v6only = true,
		.local.port = 80,
		.holders = &holder,
		.n_holders = 1};

	(void)state;
	assert_int_equal(hf_conn_check(&conn, NULL), 0);
	conn.local = unit_mapped(1, 80);
	assert_bad(&conn, "v6only: set on an IPv4 address");
	conn.family = HF_FAMILY_IPV4;
	conn.local = unit_v4(1, 80);
	assert_bad(&conn, "v6only: set on an IPv4 address");
}

static void test_queues(void **state)
{
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);

	(void)state;
	conn.recv.len = HF_MAX_QUEUE + 1;
	assert_bad(&conn, "receive: the queue is longer than 1 GiB");
	conn = unit_conn(&holder);
	conn.send.len = HF_MAX_QUEUE + 1;
	assert_bad(&conn, "send: the queue is longer than 1 GiB");
	conn = unit_conn(&holder);
	conn.send.len = 5;
	conn.unsent = 6;
	assert_bad(&conn, "unsent: more than the send queue holds");
	conn.unsent = 5;
	assert_int_equal(hf_conn_check(&conn, NULL), 0);
	/* Our FIN comes after all bytes: it cannot be sent where they are not. */
	conn.state = HF_TCP_CLOSING;
	assert_bad(&conn, "fin_unsent: a FIN was sent before the bytes in front of it");
	conn.fin_unsent = true;
	assert_int_equal(hf_conn_check(&conn, NULL), 0);
	conn.unsent = 0; /* the FIN alone */
	assert_int_equal(hf_conn_check(&conn, NULL), 0);
}

/* The kernel's numbers count the peer's FIN, ours do not. */
static void test_window_fin(void **state)
{
	for (size_t i = 0; i < UNIT_COUNT(states); i++) {
		struct hf_holder holder;
		struct hf_conn conn = make(i, &holder);
		uint32_t fin = (1 << i & (CLOSE_WAIT | LAST_ACK | CLOSING)) != 0;

		(void)state;
		if (!(1 << i & STREAM))
			continue;
		conn.window.rcv_wup = conn.recv.seq + fin;
		conn.window.snd_wl1 = conn.recv.seq + fin + conn.window.rcv_wnd;
		assert_int_equal(hf_conn_check(&conn, NULL), 0);
		conn.window.rcv_wup++;
		assert_bad(&conn, "window: rcv_wup lies after the next sequence number expected");
		conn.window.rcv_wup--;
		conn.window.snd_wl1++;
		assert_bad(&conn, "window: snd_wl1 lies beyond the receive window");
	}
}

static void test_urgent(void **state)
{
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);

	(void)state;
	conn.urgent.present = true;
	assert_bad(&conn, "urgent: the mark lies after the receive queue");
	conn.recv.len = 3;
	assert_int_equal(hf_conn_check(&conn, NULL), 0);
	conn.urgent.at = 2;
	assert_int_equal(hf_conn_check(&conn, NULL), 0);
	conn.urgent.at = 3;
	assert_bad(&conn, "urgent: the mark lies after the receive queue");
	conn.urgent = (struct hf_urgent){.at = 1};
	assert_bad(&conn, "urgent: a mark that is not present");
	conn.urgent = (struct hf_urgent){.taken = true};
	assert_bad(&conn, "urgent: a mark that is not present");
}

static void test_options(void **state)
{
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);
	struct hf_option options[HF_MAX_OPTIONS + 1] = {
		{.level = 6, .name = 18, .len = 4}, /* TCP_USER_TIMEOUT */
		{.level = 6, .name = 13, .len = 4, .value = "reno"},
	};

	(void)state;
	conn.options = options;
	conn.n_options = 2;
	assert_int_equal(hf_conn_check(&conn, NULL), 0);
	conn.n_options = HF_MAX_OPTIONS + 1;
	assert_bad(&conn, "options: too many");
	conn.n_options = 2;
	options[1] = options[0];
	assert_bad(&conn, "option TCP_USER_TIMEOUT: is there twice");
	options[1].name = 99;
	assert_bad(&conn, "option 99 of level 6: is unknown to this version");
	options[1] = (struct hf_option){.level = 6, .name = 1, .len = 4}; /* TCP_NODELAY */
	assert_bad(&conn, "option TCP_NODELAY: is not one that holdfast carries on such a socket");
}

/* What the reader cannot hand to the check, since it is refused before, but the dump can. */
static void test_holders(void **state)
{
	struct hf_holder *holders = calloc(HF_MAX_HOLDERS + 1, sizeof(*holders));
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);

	(void)state;
	assert_non_null(holders);
	holder.levels = HF_MAX_PID_LEVELS + 1;
	for (uint32_t i = 0; i < HF_MAX_PID_LEVELS; i++)
		holder.pid[i] = 1;
	assert_bad(&conn, "holders: a pid with no level or too many");

	conn = unit_conn(&holder);
	for (uint32_t i = 0; i <= HF_MAX_HOLDERS; i++)
		holders[i] = (struct hf_holder){.levels = 1, .pid = {1}, .fd = i};
	conn.holders = holders;
	conn.n_holders = HF_MAX_HOLDERS;
	assert_int_equal(hf_conn_check(&conn, NULL), 0);
	conn.n_holders = HF_MAX_HOLDERS + 1;
	assert_bad(&conn, "holders: none or too many");
	free(holders);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_state),
		cmocka_unit_test(test_no_state),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_addresses_alone),
		cmocka_unit_test(test_family),
		cmocka_unit_test(test_v6only),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_window_fin),
		cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_holders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
