// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/lock_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/if_arp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>

#include "lib/lock_sets.h"
#include "lib/tcp_state.h"

/* libnftnl writes without a bound: this much is free before each message. No message of ours is
 * longer. */
#define MESSAGE_ROOM (128u << 10)
/* Elements of one message: the nested attribute that holds them has a 16-bit length. */
#define ELEMENTS         1000u
#define MAX_KEY          40
#define MAX_FIELDS       4
#define HOOK_PRIORITY    (-300) /* NF_IP_PRI_RAW: before connection tracking sees our own output */
#define TCP_FLAGS_OFFSET 13
#define TCP_SYN_MASK     0x17 /* FIN, SYN, RST, ACK */
#define TCP_SYN          0x02

/* nft's own numbers for the types of a set key, so that `nft list` can print it. */
enum nft_type { NFT_TYPE_IPV4 = 7, NFT_TYPE_IPV6 = 8, NFT_TYPE_PORT = 13 };
#define NFT_TYPE_BITS 6

/* A part of a packet that is a part of a set's key. */
struct field {
	enum nft_payload_bases base;
	uint8_t offset;
	uint8_t len;
};

#define V4_SRC   {NFT_PAYLOAD_NETWORK_HEADER, 12, 4}
#define V4_DST   {NFT_PAYLOAD_NETWORK_HEADER, 16, 4}
#define V6_SRC   {NFT_PAYLOAD_NETWORK_HEADER, 8, 16}
#define V6_DST   {NFT_PAYLOAD_NETWORK_HEADER, 24, 16}
#define SRC_PORT {NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2}
#define DST_PORT {NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2}

/* How the key of a set is found in an inbound and (connections only) in an outbound packet. */
static const struct direction {
	struct field in[MAX_FIELDS];
	struct field out[MAX_FIELDS];
} directions[HF_LOCK_SETS] = {
	[HF_SET_CONN4] = {{V4_SRC, SRC_PORT, V4_DST, DST_PORT},
		{V4_DST, DST_PORT, V4_SRC, SRC_PORT}},
	[HF_SET_CONN6] = {{V6_SRC, SRC_PORT, V6_DST, DST_PORT},
		{V6_DST, DST_PORT, V6_SRC, SRC_PORT}},
	[HF_SET_LISTEN4] = {{V4_DST, DST_PORT}, {{0}}},
	[HF_SET_LISTEN6] = {{V6_DST, DST_PORT}, {{0}}},
	[HF_SET_PORT4] = {{DST_PORT}, {{0}}},
	[HF_SET_PORT6] = {{DST_PORT}, {{0}}},
};

struct key {
	uint8_t bytes[MAX_KEY];
	uint8_t len;
};

/* The keys that belong into one set. */
struct key_list {
	struct key *keys;
	uint32_t n, room;
};

struct builder {
	struct hf_batch *batch;
	char table[HF_TABLE_NAME];
	uint32_t seq;
	struct key_list lists[HF_LOCK_SETS];
};

static int no_memory(struct hf_error *err)
{
	return hf_error_sys(err, -ENOMEM, "cannot build the lock's rules");
}

/* Room for one more message; NULL when memory is short. */
static char *next_message(struct hf_batch *batch)
{
	if (batch->room - batch->len < MESSAGE_ROOM) {
		size_t room = 2 * batch->room + MESSAGE_ROOM;
		uint8_t *grown = realloc(batch->data, room);

		if (!grown)
			return NULL;
		batch->data = grown;
		batch->room = room;
	}
	return (char *)batch->data + batch->len;
}

static void message_done(struct hf_batch *batch, const struct nlmsghdr *header)
{
	batch->len += NLMSG_ALIGN(header->nlmsg_len);
}

static int batch_edge(struct builder *builder, struct nlmsghdr *(*build)(char *at, uint32_t seq),
	struct hf_error *err)
{
	char *at = next_message(builder->batch);

	if (!at)
		return no_memory(err);
	message_done(builder->batch, build(at, builder->seq++));
	return 0;
}

static struct nlmsghdr *start(struct builder *builder, uint16_t type, uint16_t flags)
{
	char *at = next_message(builder->batch);

	return at ? nftnl_nlmsg_build_hdr(at, type, NFPROTO_INET, flags, builder->seq++) : NULL;
}

static int add_table(struct builder *builder, const char *comment, struct hf_error *err)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct nftnl_udata_buf *note = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
	struct nlmsghdr *header = start(builder, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	char text[121];
	int ret = -ENOMEM;

	if (table && note && header) {
		snprintf(text, sizeof(text), "%s", comment ? comment : "");
		nftnl_udata_put_strz(note, NFTNL_UDATA_TABLE_COMMENT, text);
		nftnl_table_set_str(table, NFTNL_TABLE_NAME, builder->table);
		nftnl_table_set_data(table, NFTNL_TABLE_USERDATA, nftnl_udata_buf_data(note),
			nftnl_udata_buf_len(note));
		nftnl_table_nlmsg_build_payload(header, table);
		message_done(builder->batch, header);
		ret = 0;
	}
	if (note)
		nftnl_udata_buf_free(note);
	if (table)
		nftnl_table_free(table);
	return ret < 0 ? no_memory(err) : 0;
}

static int add_chain(struct builder *builder, const char *name, uint32_t hook, struct hf_error *err)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	struct nlmsghdr *header = start(builder, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	int ret = -ENOMEM;

	if (chain && header) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, builder->table);
		nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, "filter");
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, HOOK_PRIORITY);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
		nftnl_chain_nlmsg_build_payload(header, chain);
		message_done(builder->batch, header);
		ret = 0;
	}
	if (chain)
		nftnl_chain_free(chain);
	return ret < 0 ? no_memory(err) : 0;
}

static uint32_t key_type(const struct hf_lock_set *row)
{
	uint32_t address = row->nfproto == NFPROTO_IPV4 ? NFT_TYPE_IPV4 : NFT_TYPE_IPV6;
	uint32_t one = row->address_len ? address << NFT_TYPE_BITS | NFT_TYPE_PORT : NFT_TYPE_PORT;

	return row->pair ? one << 2 * NFT_TYPE_BITS | one : one;
}

static int add_set(struct builder *builder, enum hf_lock_set_kind kind, struct hf_error *err)
{
	const struct hf_lock_set *row = &hf_lock_sets[kind];
	struct nftnl_set *set = nftnl_set_alloc();
	struct nlmsghdr *header = start(builder, NFT_MSG_NEWSET, NLM_F_CREATE);
	int ret = -ENOMEM;

	if (set && header) {
		nftnl_set_set_str(set, NFTNL_SET_TABLE, builder->table);
		nftnl_set_set_str(set, NFTNL_SET_NAME, row->name);
		nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_INET);
		nftnl_set_set_u32(set, NFTNL_SET_ID, kind + 1u);
		nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, key_type(row));
		nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, hf_lock_key_len(row));
		/* With its size declared the kernel takes a fixed hash table, which fills faster.
		 */
		nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, builder->lists[kind].n);
		nftnl_set_nlmsg_build_payload(header, set);
		message_done(builder->batch, header);
		ret = 0;
	}
	if (set)
		nftnl_set_free(set);
	return ret < 0 ? no_memory(err) : 0;
}

static int add_elements_message(struct builder *builder, enum hf_lock_set_kind kind,
	const struct key *keys, uint32_t n, struct hf_error *err)
{
	struct nftnl_set *set = nftnl_set_alloc();
	struct nlmsghdr *header = start(builder, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
	int ret = -ENOMEM;

	if (!set || !header)
		goto out;
	nftnl_set_set_str(set, NFTNL_SET_TABLE, builder->table);
	nftnl_set_set_str(set, NFTNL_SET_NAME, hf_lock_sets[kind].name);
	nftnl_set_set_u32(set, NFTNL_SET_ID, kind + 1u);
	for (uint32_t i = 0; i < n; i++) {
		struct nftnl_set_elem *element = nftnl_set_elem_alloc();

		if (!element)
			goto out;
		if (nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, keys[i].bytes, keys[i].len) <
			0) {
			nftnl_set_elem_free(element);
			goto out;
		}
		nftnl_set_elem_add(set, element);
	}
	nftnl_set_elems_nlmsg_build_payload(header, set);
	message_done(builder->batch, header);
	ret = 0;
out:
	if (set)
		nftnl_set_free(set);
	return ret < 0 ? no_memory(err) : 0;
}

static int add_elements(struct builder *builder, enum hf_lock_set_kind kind, struct hf_error *err)
{
	const struct key_list *list = &builder->lists[kind];

	for (uint32_t i = 0; i < list->n; i += ELEMENTS) {
		uint32_t n = list->n - i < ELEMENTS ? list->n - i : ELEMENTS;
		int ret = add_elements_message(builder, kind, list->keys + i, n, err);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/*
 * Expressions are added to a rule one by one; the first failure is kept in `failed` so that a rule
 * reads as a plain list.
 */
struct rule {
	struct nftnl_rule *rule;
	bool failed;
};

static struct nftnl_expr *expression(struct rule *rule, const char *name)
{
	struct nftnl_expr *expr = rule->failed ? NULL : nftnl_expr_alloc(name);

	if (!expr)
		rule->failed = true;
	else
		nftnl_rule_add_expr(rule->rule, expr);
	return expr;
}

static void load_meta(struct rule *rule, uint32_t key)
{
	struct nftnl_expr *expr = expression(rule, "meta");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

static void compare(struct rule *rule, const void *data, uint32_t len)
{
	struct nftnl_expr *expr = expression(rule, "cmp");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
	if (nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, len) < 0)
		rule->failed = true;
}

static void load_payload(struct rule *rule, const struct field *field, uint32_t reg)
{
	struct nftnl_expr *expr = expression(rule, "payload");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, field->base);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, field->offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, field->len);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, reg);
}

static void match_new_syn(struct rule *rule)
{
	static const struct field flags = {NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS_OFFSET, 1};
	const uint8_t mask = TCP_SYN_MASK, none = 0, syn = TCP_SYN;
	struct nftnl_expr *expr;

	load_payload(rule, &flags, NFT_REG_1);
	expr = expression(rule, "bitwise");
	if (expr) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, 1);
		if (nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, &mask, 1) < 0 ||
			nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, &none, 1) < 0)
			rule->failed = true;
	}
	compare(rule, &syn, 1);
}

static void lookup(
	struct rule *rule, enum hf_lock_set_kind kind, const struct field fields[MAX_FIELDS])
{
	uint32_t reg = NFT_REG32_00;
	struct nftnl_expr *expr;

	for (int i = 0; i < MAX_FIELDS && fields[i].len; i++) {
		load_payload(rule, &fields[i], reg);
		reg += (fields[i].len + 3u) / 4;
	}
	expr = expression(rule, "lookup");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG32_00);
	nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, hf_lock_sets[kind].name);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SET_ID, kind + 1u);
}

static void verdict(struct rule *rule, uint32_t what)
{
	struct nftnl_expr *expr = expression(rule, "counter");

	if (!expr)
		return;
	expr = expression(rule, "immediate");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, what);
}

static void begin_rule(struct rule *rule, const struct builder *builder, const char *chain)
{
	rule->rule = nftnl_rule_alloc();
	rule->failed = !rule->rule;
	if (rule->failed)
		return;
	nftnl_rule_set_str(rule->rule, NFTNL_RULE_TABLE, builder->table);
	nftnl_rule_set_str(rule->rule, NFTNL_RULE_CHAIN, chain);
	nftnl_rule_set_u32(rule->rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
}

static int end_rule(struct rule *rule, struct builder *builder, struct hf_error *err)
{
	struct nlmsghdr *header =
		rule->failed ? NULL : start(builder, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

	if (header) {
		nftnl_rule_nlmsg_build_payload(header, rule->rule);
		message_done(builder->batch, header);
	}
	if (rule->rule)
		nftnl_rule_free(rule->rule);
	return header ? 0 : no_memory(err);
}

/* meta mark HF_MARK accept */
static int add_mark_rule(struct builder *builder, const char *chain, uint32_t mark,
	uint32_t decision, struct hf_error *err)
{
	struct rule rule;

	begin_rule(&rule, builder, chain);
	load_meta(&rule, NFT_META_MARK);
	compare(&rule, &mark, sizeof(mark));
	verdict(&rule, decision);
	return end_rule(&rule, builder, err);
}

static int add_loopback_rule(struct builder *builder, struct hf_error *err)
{
	const uint16_t loopback = ARPHRD_LOOPBACK;
	struct rule rule;

	begin_rule(&rule, builder, "output");
	load_meta(&rule, NFT_META_OIFTYPE);
	compare(&rule, &loopback, sizeof(loopback));
	verdict(&rule, NF_ACCEPT);
	return end_rule(&rule, builder, err);
}

static int add_drop_rule(
	struct builder *builder, enum hf_lock_set_kind kind, bool outbound, struct hf_error *err)
{
	const struct hf_lock_set *row = &hf_lock_sets[kind];
	const uint8_t tcp = IPPROTO_TCP;
	struct rule rule;

	begin_rule(&rule, builder, outbound ? "output" : "input");
	load_meta(&rule, NFT_META_NFPROTO);
	compare(&rule, &row->nfproto, 1);
	load_meta(&rule, NFT_META_L4PROTO);
	compare(&rule, &tcp, 1);
	if (!row->pair)
		match_new_syn(&rule);
	lookup(&rule, kind, outbound ? directions[kind].out : directions[kind].in);
	verdict(&rule, NF_DROP);
	return end_rule(&rule, builder, err);
}

static uint8_t *put_address(uint8_t *at, const struct hf_lock_set *row, enum hf_family family,
	const struct hf_endpoint *from)
{
	/* The IPv4 part of an IPv4-mapped address is its end. */
	const uint8_t *ip =
		row->address_len == 4 && family == HF_FAMILY_IPV6 ? from->ip + 12 : from->ip;

	memcpy(at, ip, row->address_len);
	at += row->address_len;
	at[0] = (uint8_t)(from->port >> 8);
	at[1] = (uint8_t)from->port;
	at[2] = at[3] = 0;
	return at + 4;
}

static struct key *new_key(struct key_list *list)
{
	if (list->n == list->room) {
		uint32_t room = list->room ? 2 * list->room : 64;
		struct key *grown = realloc(list->keys, room * sizeof(*grown));

		if (!grown)
			return NULL;
		list->keys = grown;
		list->room = room;
	}
	return &list->keys[list->n++];
}

static int take_conn(struct builder *builder, const struct hf_conn *conn)
{
	enum hf_lock_set_kind kind = hf_conn_is_ipv4_on_wire(conn) ? HF_SET_CONN4 : HF_SET_CONN6;
	struct key *key = new_key(&builder->lists[kind]);
	uint8_t *at;

	if (!key)
		return -ENOMEM;
	at = put_address(key->bytes, &hf_lock_sets[kind], conn->family, &conn->peer);
	at = put_address(at, &hf_lock_sets[kind], conn->family, &conn->local);
	key->len = (uint8_t)(at - key->bytes);
	return 0;
}

static int take_listener_in(
	struct builder *builder, enum hf_lock_set_kind kind, const struct hf_conn *listener)
{
	struct key *key = new_key(&builder->lists[kind]);

	if (!key)
		return -ENOMEM;
	key->len = (uint8_t)(put_address(key->bytes, &hf_lock_sets[kind], listener->family,
				     &listener->local) -
			     key->bytes);
	return 0;
}

static int take_listener(struct builder *builder, const struct hf_conn *listener)
{
	static const uint8_t any[16];
	bool everywhere = memcmp(listener->local.ip, any, sizeof(any)) == 0;
	int ret;

	if (listener->family == HF_FAMILY_IPV4)
		return take_listener_in(
			builder, everywhere ? HF_SET_PORT4 : HF_SET_LISTEN4, listener);
	if (hf_endpoint_is_v4_mapped(&listener->local))
		return take_listener_in(builder, HF_SET_LISTEN4, listener);
	ret = take_listener_in(builder, everywhere ? HF_SET_PORT6 : HF_SET_LISTEN6, listener);
	if (ret == 0 && everywhere && !listener->v6only)
		ret = take_listener_in(builder, HF_SET_PORT4, listener);
	return ret;
}

/* Closed sockets get no packets: there is nothing to hold. */
static int take(struct builder *builder, const struct hf_conn *conn)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

	if (conn->state == HF_TCP_LISTEN)
		return take_listener(builder, conn);
	return row && row->connected ? take_conn(builder, conn) : 0;
}

static int add_everything(struct builder *builder, const struct hf_lock *lock, struct hf_error *err)
{
	int ret = add_table(builder, lock->comment, err);

	if (ret == 0)
		ret = add_chain(builder, "input", NF_INET_LOCAL_IN, err);
	if (ret == 0)
		ret = add_chain(builder, "output", NF_INET_LOCAL_OUT, err);
	if (ret == 0)
		ret = add_mark_rule(builder, "input", HF_MARK, NF_ACCEPT, err);
	if (ret == 0)
		ret = add_mark_rule(builder, "input", HF_MARK_CRIU, NF_ACCEPT, err);
	if (ret == 0)
		ret = add_mark_rule(builder, "output", HF_MARK, NF_ACCEPT, err);
	if (ret == 0)
		ret = add_mark_rule(builder, "output", HF_MARK_CRIU, NF_ACCEPT, err);
	if (ret == 0)
		ret = add_mark_rule(builder, "output", HF_MARK_MUTE, NF_DROP, err);
	if (ret == 0)
		ret = add_loopback_rule(builder, err);
	for (int kind = 0; kind < HF_LOCK_SETS && ret == 0; kind++) {
		if (builder->lists[kind].n == 0)
			continue;
		ret = add_set(builder, kind, err);
		if (ret == 0)
			ret = add_elements(builder, kind, err);
		if (ret == 0)
			ret = add_drop_rule(builder, kind, false, err);
		if (ret == 0 && hf_lock_sets[kind].pair)
			ret = add_drop_rule(builder, kind, true, err);
	}
	return ret;
}

static int begin(struct builder *builder, struct hf_batch *batch, const uint8_t id[HF_ID_SIZE],
	struct hf_error *err)
{
	memset(builder, 0, sizeof(*builder));
	builder->batch = batch;
	hf_table_name(builder->table, id);
	builder->seq = 1;
	batch->len = 0;
	batch->first_seq = builder->seq;
	return batch_edge(builder, nftnl_batch_begin, err);
}

/* Asks for an acknowledgement of the last message, then ends the batch. */
static int end(struct builder *builder, size_t last, struct hf_error *err)
{
	struct nlmsghdr *header = (struct nlmsghdr *)(builder->batch->data + last);

	header->nlmsg_flags |= NLM_F_ACK;
	builder->batch->last_seq = header->nlmsg_seq;
	return batch_edge(builder, nftnl_batch_end, err);
}

/* Where the last message of the batch starts. */
static size_t last_message(const struct hf_batch *batch)
{
	size_t at = 0, last = 0;

	while (at < batch->len) {
		last = at;
		at += NLMSG_ALIGN(((const struct nlmsghdr *)(batch->data + at))->nlmsg_len);
	}
	return last;
}

int hf_lock_rules_add(struct hf_batch *batch, const struct hf_lock *lock, struct hf_error *err)
{
	struct builder builder;
	int ret = begin(&builder, batch, lock->id, err);

	for (uint32_t i = 0; i < lock->n_conns && ret == 0; i++)
		if (take(&builder, &lock->conns[i]) < 0)
			ret = no_memory(err);
	if (ret == 0)
		ret = add_everything(&builder, lock, err);
	if (ret == 0)
		ret = end(&builder, last_message(batch), err);
	for (int kind = 0; kind < HF_LOCK_SETS; kind++)
		free(builder.lists[kind].keys);
	return ret;
}

int hf_lock_rules_remove(struct hf_batch *batch, const uint8_t id[HF_ID_SIZE], struct hf_error *err)
{
	struct builder builder;
	struct nftnl_table *table = nftnl_table_alloc();
	struct nlmsghdr *header;
	int ret;

	if (!table)
		return no_memory(err);
	ret = begin(&builder, batch, id, err);
	if (ret < 0)
		goto out;
	header = start(&builder, NFT_MSG_DELTABLE, 0);
	if (!header) {
		ret = no_memory(err);
		goto out;
	}
	nftnl_table_set_str(table, NFTNL_TABLE_NAME, builder.table);
	nftnl_table_nlmsg_build_payload(header, table);
	message_done(batch, header);
	ret = end(&builder, last_message(batch), err);
out:
	nftnl_table_free(table);
	return ret;
}

char *hf_table_name(char buf[HF_TABLE_NAME], const uint8_t id[HF_ID_SIZE])
{
	char text[HF_ID_TEXT];

	snprintf(buf, HF_TABLE_NAME, HF_TABLE_PREFIX "%s", hf_id_format(text, id));
	return buf;
}

void hf_batch_clear(struct hf_batch *batch)
{
	free(batch->data);
	memset(batch, 0, sizeof(*batch));
}
