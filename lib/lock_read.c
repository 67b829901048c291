// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/lock_read.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>

#include "lib/lock_rules.h"

/* A sequence number of a request; there is one at a time. */
#define SEQ 1

static struct nlmsghdr *ask(char buf[HF_LOCK_REQUEST], uint16_t type, uint16_t family)
{
	return nftnl_nlmsg_build_hdr(buf, type, family, NLM_F_DUMP, SEQ);
}

struct nlmsghdr *hf_lock_ask_tables(char buf[HF_LOCK_REQUEST])
{
	return ask(buf, NFT_MSG_GETTABLE, NFPROTO_UNSPEC);
}

struct nlmsghdr *hf_lock_ask_chains(char buf[HF_LOCK_REQUEST])
{
	return ask(buf, NFT_MSG_GETCHAIN, NFPROTO_INET);
}

struct nlmsghdr *hf_lock_ask_generation(char buf[HF_LOCK_REQUEST])
{
	return nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETGEN, NFPROTO_UNSPEC, NLM_F_ACK, SEQ);
}

int hf_lock_read_generation(const struct nlmsghdr *header, uint32_t *generation)
{
	const struct nlattr *attr;

	mnl_attr_for_each (attr, header, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) != NFTA_GEN_ID)
			continue;
		if (mnl_attr_get_payload_len(attr) != sizeof(uint32_t))
			return -EBADMSG;
		*generation = ntohl(mnl_attr_get_u32(attr));
		return 0;
	}
	return -EBADMSG;
}

struct nlmsghdr *hf_lock_ask_rules(
	char buf[HF_LOCK_REQUEST], const uint8_t id[HF_ID_SIZE], enum hf_lock_table table)
{
	struct nlmsghdr *header = ask(buf, NFT_MSG_GETRULE, hf_lock_families[table]);
	struct nftnl_rule *rule = nftnl_rule_alloc();
	char name[HF_TABLE_NAME];

	if (!rule)
		return NULL;
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, hf_table_name(name, id));
	nftnl_rule_nlmsg_build_payload(header, rule);
	nftnl_rule_free(rule);
	return header;
}

struct nlmsghdr *hf_lock_ask_elements(char buf[HF_LOCK_REQUEST], const uint8_t id[HF_ID_SIZE],
	enum hf_lock_table table, enum hf_lock_set_kind kind)
{
	struct nlmsghdr *header = ask(buf, NFT_MSG_GETSETELEM, hf_lock_families[table]);
	struct nftnl_set *set = nftnl_set_alloc();
	char name[HF_TABLE_NAME];

	if (!set)
		return NULL;
	nftnl_set_set_str(set, NFTNL_SET_TABLE, hf_table_name(name, id));
	nftnl_set_set_str(set, NFTNL_SET_NAME, hf_lock_sets[kind].name);
	nftnl_set_elems_nlmsg_build_payload(header, set);
	nftnl_set_free(set);
	return header;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether it is the name of a lock's table, and of which. */
static bool parse_name(const char *name, uint8_t id[HF_ID_SIZE])
{
	size_t prefix = strlen(HF_TABLE_PREFIX);

	if (strncmp(name, HF_TABLE_PREFIX, prefix) != 0 || strlen(name) != prefix + HF_ID_TEXT - 1)
		return false;
	name += prefix;
	for (size_t i = 0; i < HF_ID_SIZE; i++) {
		int high = hex_digit(name[2 * i]), low = hex_digit(name[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		id[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* Of a table or a chain. */
static int take_comment(const struct nftnl_udata *attr, void *context)
{
	const char *text = nftnl_udata_get(attr);
	uint8_t len = nftnl_udata_len(attr);

	_Static_assert(
		(int)NFTNL_UDATA_TABLE_COMMENT == (int)NFTNL_UDATA_CHAIN_COMMENT, "one type");
	if (nftnl_udata_type(attr) == NFTNL_UDATA_TABLE_COMMENT && len > 0 && text[len - 1] == '\0')
		hf_lock_note_parse(context, text);
	return 0;
}

/* Which of a lock's tables that is; HF_LOCK_TABLES: none. */
static enum hf_lock_table find_table(uint32_t family)
{
	enum hf_lock_table table = HF_LOCK_INET;

	while (table < HF_LOCK_TABLES && hf_lock_families[table] != family)
		table++;
	return table;
}

int hf_lock_read_table(const struct nlmsghdr *header, struct hf_lock_view *view)
{
	struct nftnl_table *table = nftnl_table_alloc();
	enum hf_lock_table which;
	const char *name;
	uint32_t len = 0;
	const void *data;
	int ret = 0;

	if (!table)
		return -ENOMEM;
	memset(view, 0, sizeof(*view));
	if (nftnl_table_nlmsg_parse(header, table) == 0) {
		name = nftnl_table_get_str(table, NFTNL_TABLE_NAME);
		data = nftnl_table_get_data(table, NFTNL_TABLE_USERDATA, &len);
		which = find_table(nftnl_table_get_u32(table, NFTNL_TABLE_FAMILY));
		ret = name && which < HF_LOCK_TABLES && parse_name(name, view->id);
		view->tables = 1u << which;
		if (ret && data)
			nftnl_udata_parse(data, len, take_comment, &view->note);
	}
	nftnl_table_free(table);
	return ret;
}

int hf_lock_read_chain(const struct nlmsghdr *header, struct hf_lock_view *view)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	const char *table, *name;
	char ours[HF_TABLE_NAME];
	uint32_t len = 0;
	const void *data;
	int ret = 0;

	if (!chain)
		return -ENOMEM;
	if (nftnl_chain_nlmsg_parse(header, chain) < 0) {
		ret = -EBADMSG;
		goto out;
	}
	table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
	name = nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME);
	data = nftnl_chain_get_data(chain, NFTNL_CHAIN_USERDATA, &len);
	if (table && name && data && strcmp(table, hf_table_name(ours, view->id)) == 0 &&
		strcmp(name, HF_LOCK_NOTE_CHAIN) == 0)
		nftnl_udata_parse(data, len, take_comment, &view->restore);
out:
	nftnl_chain_free(chain);
	return ret;
}

/* What of a rule says whether it holds packets, and how many. */
struct counted {
	bool looks_up;
	uint64_t packets, bytes;
};

static int count(struct nftnl_expr *expr, void *context)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct counted *counted = context;

	if (!name)
		return 0;
	if (strcmp(name, "lookup") == 0)
		counted->looks_up = true;
	if (strcmp(name, "counter") == 0) {
		counted->packets = nftnl_expr_get_u64(expr, NFTNL_EXPR_CTR_PACKETS);
		counted->bytes = nftnl_expr_get_u64(expr, NFTNL_EXPR_CTR_BYTES);
	}
	return 0;
}

int hf_lock_read_rule(const struct nlmsghdr *header, struct hf_lock_view *view)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct counted counted = {0};
	int ret;

	if (!rule)
		return -ENOMEM;
	ret = nftnl_rule_nlmsg_parse(header, rule) < 0 ? -EBADMSG : 0;
	if (ret == 0)
		nftnl_expr_foreach(rule, count, &counted);
	/* Those with a set drop what is in it; the others are about marks and loopback. */
	if (counted.looks_up) {
		view->packets += counted.packets;
		view->bytes += counted.bytes;
	}
	nftnl_rule_free(rule);
	return ret;
}

static void set_ip(uint8_t to[16], const void *ip, uint8_t len)
{
	memset(to, 0, 16);
	if (len == 4)
		to[10] = to[11] = 0xff;
	memcpy(to + 16 - len, ip, len);
}

static const uint8_t *take_endpoint(
	const uint8_t *at, const struct hf_lock_set *set, uint8_t ip[16], uint16_t *port)
{
	if (set->address_len)
		set_ip(ip, at, set->address_len);
	at += set->address_len;
	*port = (uint16_t)(at[0] << 8 | at[1]);
	return at + 4;
}

static int take_key(struct hf_lock_keys *keys, const struct hf_lock_set *set, const uint8_t *at)
{
	struct hf_lock_key *key;

	if (keys->n == keys->room) {
		uint32_t room = keys->room ? 2 * keys->room : 64;
		struct hf_lock_key *grown = realloc(keys->keys, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		keys->keys = grown;
		keys->room = room;
	}
	key = &keys->keys[keys->n++];
	memset(key, 0, sizeof(*key));
	if (set->pair)
		at = take_endpoint(at, set, key->peer, &key->peer_port);
	take_endpoint(at, set, key->local, &key->local_port);
	return 0;
}

/* What elements are added to. */
struct filling {
	const struct hf_lock_set *set;
	struct hf_lock_keys *keys;
	uint64_t left_ms;
	int ret;
};

static int take_element(struct nftnl_set_elem *element, void *context)
{
	struct filling *filling = context;
	uint32_t len = 0;
	const void *key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &len);

	if (key && len == hf_lock_key_len(filling->set) && filling->ret == 0)
		filling->ret = take_key(filling->keys, filling->set, key);
	if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_EXPIRATION)) {
		uint64_t left = nftnl_set_elem_get_u64(element, NFTNL_SET_ELEM_EXPIRATION);

		filling->left_ms = left > filling->left_ms ? left : filling->left_ms;
	}
	return 0;
}

int hf_lock_read_elements(
	const struct nlmsghdr *header, enum hf_lock_set_kind kind, struct hf_lock_view *view)
{
	const struct hf_lock_set *row = &hf_lock_sets[kind];
	struct filling filling = {
		row, row->pair ? &view->conns : &view->listeners, view->left_ms, 0};
	struct nftnl_set *set = nftnl_set_alloc();

	if (!set)
		return -ENOMEM;
	if (nftnl_set_elems_nlmsg_parse(header, set) < 0)
		filling.ret = -EBADMSG;
	else
		nftnl_set_elem_foreach(set, take_element, &filling);
	view->left_ms = filling.left_ms;
	nftnl_set_free(set);
	return filling.ret;
}

static int compare(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct hf_lock_key));
}

static void sort(struct hf_lock_keys *keys)
{
	if (keys->n)
		qsort(keys->keys, keys->n, sizeof(*keys->keys), compare);
}

void hf_lock_view_sort(struct hf_lock_view *view)
{
	sort(&view->conns);
	sort(&view->listeners);
}

static bool has(const struct hf_lock_keys *keys, const struct hf_lock_key *key)
{
	return keys->n && bsearch(key, keys->keys, keys->n, sizeof(*key), compare);
}

bool hf_lock_has_conn(const struct hf_lock_view *view, enum hf_family family,
	const struct hf_endpoint *local, const struct hf_endpoint *peer)
{
	uint8_t len = family == HF_FAMILY_IPV4 ? 4 : 16;
	struct hf_lock_key key = {.peer_port = peer->port, .local_port = local->port};

	set_ip(key.peer, peer->ip, len);
	set_ip(key.local, local->ip, len);
	return has(&view->conns, &key);
}

bool hf_lock_has_listener(
	const struct hf_lock_view *view, enum hf_family family, const struct hf_endpoint *local)
{
	static const uint8_t any[16];
	struct hf_lock_key key = {.local_port = local->port};

	if (memcmp(local->ip, any, sizeof(any)) != 0)
		set_ip(key.local, local->ip, family == HF_FAMILY_IPV4 ? 4 : 16);
	return has(&view->listeners, &key);
}

void hf_lock_view_clear(struct hf_lock_view *view)
{
	free(view->conns.keys);
	free(view->listeners.keys);
	memset(view, 0, sizeof(*view));
}
