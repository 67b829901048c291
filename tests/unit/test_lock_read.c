// SPDX-License-Identifier: GPL-2.0-or-later
/* The messages that make a lock have the form of those in which the kernel tells of it. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>

#include "lib/lock_read.h"
#include "lib/lock_rules.h"

#define MESSAGE 4096

static const struct hf_lock_note note = {
	.why = "restore", .pid = 12, .start = 34, .time = 1795435200};

static bool has_conn(const struct hf_lock_view *view, const struct hf_conn *conn)
{
	return hf_lock_has_conn(view, conn->family, &conn->local, &conn->peer);
}

/* Requests number the elements of a list, answers do not. */
static void forget_numbers(struct nlmsghdr *header)
{
	const size_t fixed = sizeof(struct nfgenmsg);
	struct nlattr *list, *element;

	mnl_attr_for_each (list, header, fixed)
		if (mnl_attr_get_type(list) == NFTA_SET_ELEM_LIST_ELEMENTS)
			mnl_attr_for_each_nested(element, list) element->nla_type =
				NLA_F_NESTED | NFTA_LIST_ELEM;
}

/* Reads a batch as if the kernel had sent it. Sets are recognised by their order. */
static void read_batch(
	const struct hf_batch *batch, const enum hf_lock_set_kind *kinds, struct hf_lock_view *view)
{
	for (size_t at = 0; at < batch->len;) {
		struct nlmsghdr *header = (struct nlmsghdr *)(batch->data + at);

		if (header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE))
			assert_int_equal(hf_lock_read_table(header, view), 1);
		if (header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE))
			assert_int_equal(hf_lock_read_rule(header, view), 0);
		if (header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM)) {
			forget_numbers(header);
			assert_int_equal(hf_lock_read_elements(header, *kinds++, view), 0);
		}
		at += MNL_ALIGN(header->nlmsg_len);
	}
	hf_lock_view_sort(view);
}

static void test_there_and_back(void **state)
{
	static const enum hf_lock_set_kind kinds[] = {
		HF_SET_CONN4, HF_SET_CONN6, HF_SET_LISTEN4, HF_SET_PORT4, HF_SET_PORT6};
	struct hf_conn conns[] = {
		{HF_FAMILY_IPV4, HF_TCP_ESTABLISHED, .local = unit_v4(1, 80),
			.peer = unit_v4(2, 4000)},
		{HF_FAMILY_IPV6, HF_TCP_CLOSE_WAIT, .local = unit_mapped(1, 80),
			.peer = unit_mapped(2, 4001)},
		{HF_FAMILY_IPV6, HF_TCP_ESTABLISHED, .local = unit_v6(1, 80),
			.peer = unit_v6(2, 4000)},
		{HF_FAMILY_IPV6, HF_TCP_LISTEN, .local = {.port = 81}},
		{HF_FAMILY_IPV4, HF_TCP_LISTEN, .local = unit_v4(1, 82)},
	};
	char text[HF_LOCK_NOTE_TEXT];
	const struct hf_image image = {
		.id = {0x01, [15] = 0xfe}, .conns = conns, .n_conns = UNIT_COUNT(conns)};
	const struct hf_lock lock = {.image = &image, .comment = hf_lock_note_format(text, &note)};
	struct hf_batch batch = {0};
	struct hf_lock_view view;

	(void)state;
	assert_int_equal(hf_lock_rules_add(&batch, &lock, NULL), 0);
	read_batch(&batch, kinds, &view);
	assert_memory_equal(view.id, image.id, HF_ID_SIZE);
	assert_string_equal(view.note.why, note.why);
	assert_int_equal(view.note.pid, note.pid);
	assert_int_equal(view.note.start, note.start);
	assert_int_equal(view.note.time, note.time);
	assert_int_equal(view.conns.n, 3);
	assert_int_equal(view.listeners.n, 3); /* the dual-stack one is in two sets */
	for (int i = 0; i < 3; i++)
		assert_true(has_conn(&view, &conns[i]));
	/* A socket of the other family with the same addresses on the wire. */
	conns[1].family = HF_FAMILY_IPV4;
	conns[1].local = unit_v4(1, 80);
	conns[1].peer = unit_v4(2, 4001);
	assert_true(has_conn(&view, &conns[1]));
	assert_true(hf_lock_has_listener(&view, HF_FAMILY_IPV6, &conns[3].local));
	assert_true(hf_lock_has_listener(&view, HF_FAMILY_IPV4, &conns[3].local));
	assert_true(hf_lock_has_listener(&view, HF_FAMILY_IPV4, &conns[4].local));
	hf_lock_view_clear(&view);
	hf_batch_clear(&batch);
}

static void test_others(void **state)
{
	static const enum hf_lock_set_kind kinds[] = {HF_SET_CONN4, HF_SET_LISTEN4};
	struct hf_conn conns[] = {
		{HF_FAMILY_IPV4, HF_TCP_ESTABLISHED, .local = unit_v4(1, 80),
			.peer = unit_v4(2, 4000)},
		{HF_FAMILY_IPV4, HF_TCP_LISTEN, .local = unit_v4(1, 82)},
	};
	const struct hf_image image = {.id = {1}, .conns = conns, .n_conns = 2};
	const struct hf_lock lock = {.image = &image};
	const struct hf_endpoint any = {.port = 82};
	struct hf_batch batch = {0};
	struct hf_lock_view view;

	(void)state;
	assert_int_equal(hf_lock_rules_add(&batch, &lock, NULL), 0);
	read_batch(&batch, kinds, &view);
	/* The other end of it is another socket. */
	assert_false(hf_lock_has_conn(&view, HF_FAMILY_IPV4, &conns[0].peer, &conns[0].local));
	conns[0].peer.port++;
	assert_false(has_conn(&view, &conns[0]));
	conns[0].peer = unit_v4(3, 4000);
	assert_false(has_conn(&view, &conns[0]));
	assert_false(hf_lock_has_listener(&view, HF_FAMILY_IPV4, &any));
	assert_int_equal(view.note.pid, 0);
	hf_lock_view_clear(&view);
	assert_false(has_conn(&view, &conns[0]));
	hf_batch_clear(&batch);
}

/* Calls read() for every message of that type. */
static void read_messages(const struct hf_batch *batch, unsigned int type,
	int (*read)(const struct nlmsghdr *, struct hf_lock_view *), struct hf_lock_view *view)
{
	for (size_t at = 0; at < batch->len;) {
		const struct nlmsghdr *header = (const struct nlmsghdr *)(batch->data + at);

		if (header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | type))
			assert_true(read(header, view) >= 0);
		at += MNL_ALIGN(header->nlmsg_len);
	}
}

/* The note of a restore is told from that of the one who took the lock, and by its lock's id. */
static void test_restore_note(void **state)
{
	struct hf_lock_view view = {.id = {1}}, other = {.id = {2}};
	const struct hf_image image = {.id = {1}};
	char text[HF_LOCK_NOTE_TEXT];
	struct hf_batch batch = {0};

	(void)state;
	assert_int_equal(
		hf_lock_rules_note(&batch, image.id, hf_lock_note_format(text, &note), false, NULL),
		0);
	read_messages(&batch, NFT_MSG_NEWCHAIN, hf_lock_read_chain, &view);
	assert_int_equal(view.restore.pid, note.pid);
	assert_int_equal(view.note.pid, 0);
	read_messages(&batch, NFT_MSG_NEWCHAIN, hf_lock_read_chain, &other);
	assert_int_equal(other.restore.pid, 0);
	/* A lock's other chains are no notes. */
	view = (struct hf_lock_view){.id = {1}};
	assert_int_equal(hf_lock_rules_add(
				 &batch, &(struct hf_lock){.image = &image, .comment = text}, NULL),
		0);
	read_messages(&batch, NFT_MSG_NEWCHAIN, hf_lock_read_chain, &view);
	assert_int_equal(view.restore.pid, 0);
	hf_batch_clear(&batch);
}

static int read_name(const char *name, struct hf_lock_view *view)
{
	char buf[MESSAGE] __attribute__((aligned(8)));
	struct nlmsghdr *header = nftnl_nlmsg_build_hdr(buf, NFT_MSG_NEWTABLE, NFPROTO_INET, 0, 1);
	struct nftnl_table *table = nftnl_table_alloc();

	nftnl_table_set_str(table, NFTNL_TABLE_NAME, name);
	nftnl_table_nlmsg_build_payload(header, table);
	nftnl_table_free(table);
	return hf_lock_read_table(header, view);
}

static void test_names(void **state)
{
	struct hf_lock_view view;

	(void)state;
	assert_int_equal(read_name("holdfast-0123456789abcdef0123456789abcdef", &view), 1);
	assert_int_equal(view.id[0], 0x01);
	assert_int_equal(view.id[15], 0xef);
	assert_int_equal(read_name("holdfast-0123456789abcdef0123456789abcde", &view), 0);
	assert_int_equal(read_name("holdfast-0123456789abcdef0123456789abcdeff", &view), 0);
	assert_int_equal(read_name("holdfast-0123456789ABCDEF0123456789abcdef", &view), 0);
	assert_int_equal(read_name("Holdfast-0123456789abcdef0123456789abcdef", &view), 0);
	assert_int_equal(read_name("holdfast", &view), 0);
	assert_int_equal(read_name("filter", &view), 0);
}

static void add_expr(struct nftnl_rule *rule, struct nftnl_expr *expr, uint64_t packets)
{
	if (packets) {
		nftnl_expr_set_u64(expr, NFTNL_EXPR_CTR_PACKETS, packets);
		nftnl_expr_set_u64(expr, NFTNL_EXPR_CTR_BYTES, packets * 100);
	} else {
		nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, "conn4");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	}
	nftnl_rule_add_expr(rule, expr);
}

static void read_counter(bool with_set, struct hf_lock_view *view)
{
	char buf[MESSAGE] __attribute__((aligned(8)));
	struct nlmsghdr *header = nftnl_nlmsg_build_hdr(buf, NFT_MSG_NEWRULE, NFPROTO_INET, 0, 1);
	struct nftnl_rule *rule = nftnl_rule_alloc();

	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, "t");
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, "c");
	if (with_set)
		add_expr(rule, nftnl_expr_alloc("lookup"), 0);
	add_expr(rule, nftnl_expr_alloc("counter"), 7);
	nftnl_rule_nlmsg_build_payload(header, rule);
	nftnl_rule_free(rule);
	assert_int_equal(hf_lock_read_rule(header, view), 0);
}

/* Only what is dropped for being in a set is held. */
static void test_counters(void **state)
{
	struct hf_lock_view view = {0};

	(void)state;
	read_counter(false, &view);
	assert_int_equal(view.packets, 0);
	read_counter(true, &view);
	read_counter(true, &view);
	assert_int_equal(view.packets, 14);
	assert_int_equal(view.bytes, 1400);
}

static void test_requests(void **state)
{
	char buf[HF_LOCK_REQUEST] __attribute__((aligned(8)));
	const uint8_t id[HF_ID_SIZE] = {1};
	const struct nlmsghdr *header = hf_lock_ask_tables(buf);

	(void)state;
	assert_true(header->nlmsg_flags & NLM_F_DUMP);
	header = hf_lock_ask_rules(buf, id, HF_LOCK_BRIDGE);
	assert_non_null(header);
	assert_true(header->nlmsg_len <= HF_LOCK_REQUEST);
	header = hf_lock_ask_elements(buf, id, HF_LOCK_INET, HF_SET_LISTEN6);
	assert_non_null(header);
	assert_true(header->nlmsg_len <= HF_LOCK_REQUEST);
}

static void test_generation(void **state)
{
	char buf[HF_LOCK_REQUEST] __attribute__((aligned(8)));
	struct nlmsghdr *header = hf_lock_ask_generation(buf);
	uint32_t generation = 0;

	(void)state;
	assert_false(header->nlmsg_flags & NLM_F_DUMP);
	assert_true(header->nlmsg_flags & NLM_F_ACK);
	assert_int_equal(hf_lock_read_generation(header, &generation), -EBADMSG);
	mnl_attr_put_strz(header, NFTA_GEN_PROC_NAME, "nft");
	mnl_attr_put_u32(header, NFTA_GEN_ID, htonl(0x01020304));
	assert_int_equal(hf_lock_read_generation(header, &generation), 0);
	assert_int_equal(generation, 0x01020304);
	header = hf_lock_ask_generation(buf);
	mnl_attr_put_u16(header, NFTA_GEN_ID, 1);
	assert_int_equal(hf_lock_read_generation(header, &generation), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_restore_note),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
