// SPDX-License-Identifier: GPL-2.0-or-later
/* The shape of the batch; that the kernel does what it says is for the integration tests. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "lib/lock_rules.h"

static unsigned int count(const struct hf_batch *batch, unsigned int type)
{
	unsigned int n = 0;
	size_t at = 0;

	while (at < batch->len) {
		const struct nlmsghdr *header = (const struct nlmsghdr *)(batch->data + at);

		assert_true(header->nlmsg_len >= sizeof(*header));
		assert_true(at + header->nlmsg_len <= batch->len);
		n += header->nlmsg_type == type;
		at += MNL_ALIGN(header->nlmsg_len);
	}
	assert_int_equal(at, batch->len);
	return n;
}

static unsigned int count_nft(const struct hf_batch *batch, unsigned int type)
{
	return count(batch, NFNL_SUBSYS_NFTABLES << 8 | type);
}

static void fill(struct hf_conn *conns, uint32_t n)
{
	memset(conns, 0, n * sizeof(*conns));
	for (uint32_t i = 0; i < n; i++) {
		conns[i].family = HF_FAMILY_IPV6;
		conns[i].state = HF_TCP_ESTABLISHED;
		memset(conns[i].local.ip, 0xfd, 16);
		memset(conns[i].peer.ip, 0xfc, 16);
		conns[i].local.port = 80;
		conns[i].peer.port = (uint16_t)(i + 1);
	}
}

static void test_add(void **state)
{
	static const uint8_t v4[4] = {192, 0, 2, 1};
	struct hf_image image = {.id = {1}, .n_conns = 4};
	const struct hf_lock lock = {.image = &image};
	struct hf_batch batch = {0};
	struct hf_conn conns[4];

	(void)state;
	fill(conns, 2);
	conns[2] = (struct hf_conn){
		.family = HF_FAMILY_IPV6, .state = HF_TCP_LISTEN, .local.port = 80};
	conns[3] = (struct hf_conn){.family = HF_FAMILY_IPV4,
		.state = HF_TCP_CLOSE,
		.closed = HF_CLOSED_RESET,
		.local.port = 80};
	conns[1].family = HF_FAMILY_IPV4;
	memset(conns[1].local.ip, 0, 16);
	memcpy(conns[1].local.ip, v4, 4);
	image.conns = conns;
	assert_int_equal(hf_lock_rules_add(&batch, &lock, NULL), 0);
	assert_int_equal(count(&batch, NFNL_MSG_BATCH_BEGIN), 1);
	assert_int_equal(count(&batch, NFNL_MSG_BATCH_END), 1);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWTABLE), 1);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWCHAIN), 2);
	/* conn4, conn6, and the dual-stack listener in port6 and port4 */
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWSET), 4);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWSETELEM), 4);
	/* five of marks, loopback, both directions of two sets, two of SYNs */
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWRULE), 6 + 4 + 2);
	hf_batch_clear(&batch);
}

/* In two steps: the second one has just the rules that the first one lacks. */
static void test_open_and_closed(void **state)
{
	struct hf_image image = {.id = {1}, .n_conns = 3};
	const struct hf_lock lock = {.image = &image, .input_open = true};
	struct hf_batch batch = {0};
	struct hf_conn conns[3];

	(void)state;
	fill(conns, 2);
	conns[2] = (struct hf_conn){
		.family = HF_FAMILY_IPV6, .state = HF_TCP_LISTEN, .local.port = 80};
	image.conns = conns;
	assert_int_equal(hf_lock_rules_add(&batch, &lock, NULL), 0);
	/* six of every lock, SYNs in to two families, and of connections only what goes out */
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWRULE), 6 + 2 + 1);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWSETELEM), 3);
	assert_int_equal(hf_lock_rules_close(&batch, &image, NULL), 0);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWRULE), 1);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWTABLE), 0);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWSET), 0);
	/* Both kinds of connections. */
	conns[1].family = HF_FAMILY_IPV4;
	assert_int_equal(hf_lock_rules_close(&batch, &image, NULL), 0);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWRULE), 2);
	hf_batch_clear(&batch);
}

/* Each state by itself: connections in conn4, listeners in port4, closed sockets nowhere. */
static void test_states(void **state)
{
	struct hf_conn conn = {.local = unit_v4(1, 80), .peer = unit_v4(2, 81)};
	const struct hf_image image = {.id = {1}, .conns = &conn, .n_conns = 1};
	const struct hf_lock lock = {.image = &image};
	struct hf_batch batch = {0};

	(void)state;
	conn.family = HF_FAMILY_IPV4;
	for (unsigned int i = 0; i < HF_TCP_STATES; i++)
		for (unsigned int closed = 0; closed < HF_CLOSED_KINDS; closed++) {
			bool none = i == 0 || i == HF_TCP_CLOSE || i == HF_TCP_TIME_WAIT ||
				    i == HF_TCP_SYN_RECV || i == HF_TCP_NEW_SYN_RECV;
			unsigned int rules = none ? 0 : i == HF_TCP_LISTEN ? 1 : 2;

			conn.state = (enum hf_tcp_state)i;
			conn.closed = (enum hf_closed)closed;
			assert_int_equal(hf_lock_rules_add(&batch, &lock, NULL), 0);
			assert_int_equal(count_nft(&batch, NFT_MSG_NEWSET), none ? 0 : 1);
			/* beside the six that every lock has: SYNs in, or both directions */
			assert_int_equal(count_nft(&batch, NFT_MSG_NEWRULE), 6 + rules);
		}
	hf_batch_clear(&batch);
}

/* A nested attribute's length has 16 bits: many elements go into several messages. */
static void test_many(void **state)
{
	enum { N = 10001 };
	struct hf_conn *conns = calloc(N, sizeof(*conns));
	const struct hf_image image = {.id = {1}, .n_conns = N, .conns = conns};
	const struct hf_lock lock = {.image = &image};
	struct hf_batch batch = {0};

	(void)state;
	assert_non_null(conns);
	fill(conns, N);
	assert_int_equal(hf_lock_rules_add(&batch, &lock, NULL), 0);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWSETELEM), 11);
	assert_true(batch.len > N * 40u);
	hf_batch_clear(&batch);
	free(conns);
}

/* Whether a message of the batch has those bytes. */
static bool has_bytes(const struct hf_batch *batch, const void *bytes, size_t len)
{
	return memmem(batch->data, batch->len, bytes, len) != NULL;
}

/* On the host: two tables, listeners by address, no loopback connection, elements that expire. */
static void test_host(void **state)
{
	struct hf_address addresses[] = {{HF_FAMILY_IPV4, {192, 0, 2, 1}},
		{HF_FAMILY_IPV4, {198, 51, 100, 1}}, {HF_FAMILY_IPV6, {0xfd, [15] = 1}}};
	struct hf_conn conns[3] = {{.family = HF_FAMILY_IPV4,
					   .state = HF_TCP_ESTABLISHED,
					   .local = unit_v4(1, 80),
					   .peer = unit_v4(2, 81)},
		{.family = HF_FAMILY_IPV6, .state = HF_TCP_LISTEN, .local.port = 0x5151},
		{.family = HF_FAMILY_IPV4,
			.state = HF_TCP_ESTABLISHED,
			.local = {.ip = {127, 0, 0, 1}, .port = 82},
			.peer = {.ip = {127, 0, 0, 1}, .port = 83}}};
	struct hf_alias aliases[] = {
		{.family = HF_FAMILY_IPV4, .local = unit_v4(77, 8080), .peer = unit_v4(2, 0x6161)},
		{.family = HF_FAMILY_IPV4, .local = unit_v4(78, 0x7171)}};
	const struct hf_image image = {.id = {1},
		.conns = conns,
		.n_conns = 3,
		.addresses = addresses,
		.n_addresses = 3,
		.aliases = aliases,
		.n_aliases = 2};
	struct hf_lock lock = {.place = HF_LOCK_HOST, .image = &image, .timeout_s = 900};
	struct hf_batch batch = {0};

	(void)state;
	assert_int_equal(hf_lock_rules_add(&batch, &lock, NULL), 0);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWTABLE), 2);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWCHAIN), 5);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWSET), 2 * 3); /* conn4, listen4, listen6 */
	assert_true(has_bytes(&batch, (const uint8_t[]){198, 51, 100, 1, 0x51, 0x51}, 6));
	assert_false(has_bytes(&batch, (const uint8_t[]){127, 0, 0, 1}, 4));
	assert_true(has_bytes(&batch, (const uint8_t[]){0x61, 0x61, 0, 0}, 4));
	assert_true(has_bytes(&batch, (const uint8_t[]){0x71, 0x71, 0, 0}, 4));
	/* 900,000 ms, big-endian */
	assert_true(has_bytes(&batch, (const uint8_t[]){0, 0, 0, 0, 0, 0x0d, 0xbb, 0xa0}, 8));
	/* of each chain: marks, what output spares, both directions of conn4, SYNs; and that of
	 * connection tracking */
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWRULE), 5 * 2 + 2 + 2 + 5 * (2 + 2) + 1);
	lock.no_bridge = true;
	assert_int_equal(hf_lock_rules_add(&batch, &lock, NULL), 0);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWTABLE), 1);
	assert_false(has_bytes(&batch, "bridge", 6));
	hf_batch_clear(&batch);
}

/* Where there is nothing to hold on the host, there is no lock. */
static void test_host_nothing(void **state)
{
	struct hf_conn conns[2] = {
		{.family = HF_FAMILY_IPV6, .state = HF_TCP_LISTEN, .local = {{[15] = 1}, 80, 0}},
		{.family = HF_FAMILY_IPV4, .state = HF_TCP_LISTEN, .local.port = 80}};
	const struct hf_image image = {.id = {1}, .conns = conns, .n_conns = 2};
	const struct hf_lock lock = {.place = HF_LOCK_HOST, .image = &image, .timeout_s = 900};
	struct hf_batch batch = {0};

	(void)state;
	assert_int_equal(hf_lock_rules_add(&batch, &lock, NULL), 1);
	hf_batch_clear(&batch);
}

static void test_remove(void **state)
{
	const uint8_t id[HF_ID_SIZE] = {0xab};
	struct hf_batch batch = {0};
	char name[HF_TABLE_NAME];

	(void)state;
	assert_int_equal(hf_lock_rules_remove(&batch, id, HF_LOCK_INET, NULL), 0);
	assert_int_equal(count_nft(&batch, NFT_MSG_DELTABLE), 1);
	assert_int_equal(count_nft(&batch, NFT_MSG_NEWTABLE), 0);
	assert_string_equal(hf_table_name(name, id), "holdfast-ab000000000000000000000000000000");
	hf_batch_clear(&batch);
}

/* In the message that begins the batch; all of it in one. */
static void test_remove_at(void **state)
{
	const uint8_t id[HF_ID_SIZE] = {0xab};
	struct hf_batch batch = {0};
	const struct nlmsghdr *begin;
	const struct nlattr *attr;
	unsigned int found = 0;

	(void)state;
	assert_int_equal(
		hf_lock_rules_remove_at(&batch, id, 1u << HF_LOCK_INET, 0x01020304, NULL), 0);
	begin = (const struct nlmsghdr *)batch.data;
	assert_int_equal(begin->nlmsg_type, NFNL_MSG_BATCH_BEGIN);
	mnl_attr_for_each (attr, begin, sizeof(struct nfgenmsg)) {
		assert_int_equal(mnl_attr_get_type(attr), NFNL_BATCH_GENID);
		assert_int_equal(ntohl(mnl_attr_get_u32(attr)), 0x01020304);
		found++;
	}
	assert_int_equal(found, 1);
	assert_int_equal(count_nft(&batch, NFT_MSG_DELTABLE), 1);
	hf_batch_clear(&batch);

	assert_int_equal(hf_lock_rules_remove_at(
				 &batch, id, 1u << HF_LOCK_INET | 1u << HF_LOCK_BRIDGE, 1, NULL),
		0);
	assert_int_equal(count_nft(&batch, NFT_MSG_DELTABLE), 2);
	assert_int_equal(count(&batch, NFNL_MSG_BATCH_BEGIN), 1);
	hf_batch_clear(&batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_open_and_closed),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_host_nothing),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_remove_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
