// SPDX-License-Identifier: GPL-2.0-or-later
/* Records against each other: what may be there twice and what may not. */
#include "tests/unit/unit.h"

#include "lib/image.h"

/* Two sockets, each with a file descriptor of its own. */
struct pair {
	struct hf_image image;
	struct hf_conn conns[2];
	struct hf_holder holders[2];
};

static void make_pair(struct pair *pair)
{
	memset(pair, 0, sizeof(*pair));
	for (uint32_t i = 0; i < 2; i++) {
		pair->conns[i] = unit_conn(&pair->holders[i]);
		pair->holders[i].fd = i;
	}
	pair->image.conns = pair->conns;
	pair->image.n_conns = 2;
}

static void assert_twice(const struct pair *pair, const char *text)
{
	struct hf_error err = HF_ERROR_INIT;

	assert_int_equal(hf_image_check_unique(&pair->image, &err), -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_string_equal(err.text, text);
}

static void assert_unique(const struct pair *pair)
{
	struct hf_error err = HF_ERROR_INIT;

	if (hf_image_check_unique(&pair->image, &err) != 0)
		fail_msg("%s", err.text);
}

static void set_ends(struct hf_conn *conn, enum hf_family family, struct hf_endpoint local,
	struct hf_endpoint peer)
{
	conn->family = family;
	conn->local = local;
	conn->peer = peer;
}

static void test_tuples(void **state)
{
	struct pair pair;

	(void)state;
	make_pair(&pair);
	assert_twice(&pair, "sockets: 192.0.2.1:80 -> 192.0.2.2:40000 is there twice");
	pair.conns[1].state = HF_TCP_LAST_ACK; /* another state, the same packets */
	assert_twice(&pair, "sockets: 192.0.2.1:80 -> 192.0.2.2:40000 is there twice");
	pair.conns[1].state = HF_TCP_SYN_SENT;
	assert_twice(&pair, "sockets: 192.0.2.1:80 -> 192.0.2.2:40000 is there twice");
	pair.conns[1].peer.port++;
	assert_unique(&pair);
	make_pair(&pair);
	pair.conns[1].peer.ip[3]++;
	assert_unique(&pair);
	make_pair(&pair);
	pair.conns[0].local.port++;
	assert_unique(&pair);
	make_pair(&pair);
	pair.conns[0].local.ip[3]++;
	assert_unique(&pair);
}

static void test_mapped(void **state)
{
	struct pair pair;

	(void)state;
	make_pair(&pair);
	set_ends(&pair.conns[1], HF_FAMILY_IPV6, unit_mapped(1, 80), unit_mapped(2, 40000));
	assert_int_equal(hf_image_check_unique(&pair.image, NULL), -EBADMSG);
	pair.conns[0] = pair.conns[1];
	pair.conns[0].holders = &pair.holders[0];
	assert_int_equal(hf_image_check_unique(&pair.image, NULL), -EBADMSG);
	pair.conns[0].peer.ip[15]++;
	assert_unique(&pair);
	/* The same bytes, but in IPv6 packets. */
	make_pair(&pair);
	set_ends(&pair.conns[1], HF_FAMILY_IPV6,
		(struct hf_endpoint){.ip = {192, 0, 2, 1}, .port = 80},
		(struct hf_endpoint){.ip = {192, 0, 2, 2}, .port = 40000});
	assert_unique(&pair);
}

static void test_scopes(void **state)
{
	struct pair pair;

	(void)state;
	make_pair(&pair);
	for (uint32_t i = 0; i < 2; i++)
		set_ends(&pair.conns[i], HF_FAMILY_IPV6, unit_link_local(1, 80, 1 + i),
			unit_link_local(2, 81, 1 + i));
	assert_unique(&pair);
	pair.conns[1].local.scope_id = pair.conns[1].peer.scope_id = 1;
	assert_twice(&pair, "sockets: [fe80::1%1]:80 -> [fe80::2%1]:81 is there twice");
}

/* Only connections must differ: groups of SO_REUSEPORT listen on one address. */
static void test_others(void **state)
{
	static const enum hf_closed kinds[] = {
		HF_CLOSED_UNCONNECTED, HF_CLOSED_FINISHED, HF_CLOSED_RESET, HF_CLOSED_REFUSED};
	struct pair pair;

	(void)state;
	make_pair(&pair);
	for (uint32_t i = 0; i < 2; i++) {
		memset(&pair.conns[i].peer, 0, sizeof(pair.conns[i].peer));
		pair.conns[i].state = HF_TCP_LISTEN;
	}
	assert_unique(&pair);
	for (size_t k = 0; k < UNIT_COUNT(kinds); k++) {
		for (uint32_t i = 0; i < 2; i++) {
			pair.conns[i].state = HF_TCP_CLOSE;
			pair.conns[i].closed = kinds[k];
		}
		assert_unique(&pair);
	}
	pair.holders[1].fd = 0; /* but a file descriptor is one socket's */
	assert_twice(&pair, "holders: a file descriptor is there twice");
}

static void test_holders(void **state)
{
	struct pair pair;

	(void)state;
	make_pair(&pair);
	pair.conns[1].peer.port++;
	assert_unique(&pair);
	pair.holders[1].fd = 0;
	assert_twice(&pair, "holders: a file descriptor is there twice");
	pair.holders[1].pid[0] = 2;
	assert_unique(&pair);
	pair.holders[1].pid[0] = 1;
	pair.holders[1].pid[1] = 1; /* a task of an inner namespace */
	pair.holders[1].levels = 2;
	assert_unique(&pair);
}

static void test_count(void **state)
{
	struct pair pair;

	(void)state;
	make_pair(&pair);
	assert_int_equal(hf_image_count_connected(&pair.image), 2);
	pair.conns[0].state = HF_TCP_LISTEN;
	pair.conns[1].state = HF_TCP_SYN_SENT;
	assert_int_equal(hf_image_count_connected(&pair.image), 1);
	pair.conns[1].state = HF_TCP_TIME_WAIT;
	assert_int_equal(hf_image_count_connected(&pair.image), 0);
	pair.image.n_conns = 0;
	assert_int_equal(hf_image_count_connected(&pair.image), 0);
	assert_unique(&pair);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tuples),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_scopes),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_holders),
		cmocka_unit_test(test_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
