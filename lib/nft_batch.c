// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/nft_batch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>

/* libnftnl writes without a bound: this much is free before each message. No message of ours is
 * longer. */
#define MESSAGE_ROOM (128u << 10)
/* Elements of one message: the nested attribute that holds them has a 16-bit length. */
#define ELEMENTS      1000u
#define HOOK_PRIORITY (-300) /* NF_IP_PRI_RAW: before connection tracking sees our own output */
#define COMMENT       121

/* nft's own numbers for the types of a set key, so that `nft list` can print it. */
enum nft_type { NFT_TYPE_IPV4 = 7, NFT_TYPE_IPV6 = 8, NFT_TYPE_PORT = 13 };
#define NFT_TYPE_BITS 6

void hf_batch_clear(struct hf_batch *batch)
{
	free(batch->data);
	memset(batch, 0, sizeof(*batch));
}

void hf_nft_no_memory(struct hf_nft *nft)
{
	nft->ret = -ENOMEM;
}

/* Room for one more message; NULL when memory is short, or was. */
static char *next_message(struct hf_nft *nft)
{
	struct hf_batch *batch = nft->batch;

	if (nft->ret < 0)
		return NULL;
	if (batch->room - batch->len < MESSAGE_ROOM) {
		size_t room = 2 * batch->room + MESSAGE_ROOM;
		uint8_t *grown = realloc(batch->data, room);

		if (!grown) {
			hf_nft_no_memory(nft);
			return NULL;
		}
		batch->data = grown;
		batch->room = room;
	}
	return (char *)batch->data + batch->len;
}

void hf_nft_message_done(struct hf_nft *nft, const struct nlmsghdr *header)
{
	nft->last = nft->batch->len;
	nft->batch->len += NLMSG_ALIGN(header->nlmsg_len);
}

static void batch_edge(struct hf_nft *nft, struct nlmsghdr *(*build)(char *at, uint32_t seq))
{
	char *at = next_message(nft);

	if (at)
		hf_nft_message_done(nft, build(at, nft->seq++));
}

struct nlmsghdr *hf_nft_start(struct hf_nft *nft, uint16_t type, uint16_t flags)
{
	char *at = next_message(nft);

	return at ? nftnl_nlmsg_build_hdr(at, type, nft->family, flags, nft->seq++) : NULL;
}

void hf_nft_begin(struct hf_nft *nft, struct hf_batch *batch)
{
	memset(nft, 0, sizeof(*nft));
	nft->batch = batch;
	nft->seq = 1;
	batch->len = 0;
	batch->first_seq = nft->seq;
	batch_edge(nft, nftnl_batch_begin);
}

void hf_nft_only_at(struct hf_nft *nft, uint32_t generation)
{
	struct nlmsghdr *header;

	if (nft->ret < 0)
		return;
	header = (struct nlmsghdr *)(nft->batch->data + nft->last);
	mnl_attr_put_u32(header, NFNL_BATCH_GENID, htonl(generation));
	nft->batch->len = nft->last + NLMSG_ALIGN(header->nlmsg_len);
}

/* Asks for an acknowledgement of the last message, then ends the batch. */
int hf_nft_end(struct hf_nft *nft, struct hf_error *err)
{
	if (nft->ret == 0) {
		struct nlmsghdr *header = (struct nlmsghdr *)(nft->batch->data + nft->last);

		header->nlmsg_flags |= NLM_F_ACK;
		nft->batch->last_seq = header->nlmsg_seq;
		batch_edge(nft, nftnl_batch_end);
	}
	return nft->ret < 0 ? hf_error_sys(err, nft->ret, "cannot build the lock's rules") : 0;
}

void hf_nft_table(struct hf_nft *nft, uint16_t family, const char *name)
{
	nft->family = family;
	snprintf(nft->table, sizeof(nft->table), "%s", name);
	nft->set_ids += HF_LOCK_SETS;
}

/* A comment as nft(8) keeps it; NULL when memory is short. */
static struct nftnl_udata_buf *make_comment(uint8_t type, const char *comment)
{
	struct nftnl_udata_buf *note = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
	char text[COMMENT];

	snprintf(text, sizeof(text), "%s", comment ? comment : "");
	if (note)
		nftnl_udata_put_strz(note, type, text);
	return note;
}

static void put_table(
	struct hf_nft *nft, uint16_t type, uint16_t flags, struct nftnl_udata_buf *note)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct nlmsghdr *header = hf_nft_start(nft, type, flags);

	if (!table)
		hf_nft_no_memory(nft);
	if (table && header) {
		nftnl_table_set_str(table, NFTNL_TABLE_NAME, nft->table);
		if (note)
			nftnl_table_set_data(table, NFTNL_TABLE_USERDATA,
				nftnl_udata_buf_data(note), nftnl_udata_buf_len(note));
		nftnl_table_nlmsg_build_payload(header, table);
		hf_nft_message_done(nft, header);
	}
	if (table)
		nftnl_table_free(table);
}

void hf_nft_add_table(struct hf_nft *nft, const char *comment)
{
	struct nftnl_udata_buf *note = make_comment(NFTNL_UDATA_TABLE_COMMENT, comment);

	if (!note) {
		hf_nft_no_memory(nft);
		return;
	}
	put_table(nft, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, note);
	nftnl_udata_buf_free(note);
}

void hf_nft_remove_table(struct hf_nft *nft)
{
	put_table(nft, NFT_MSG_DELTABLE, 0, NULL);
}

/* The chain is freed. */
static void put_chain(struct hf_nft *nft, uint16_t type, uint16_t flags, struct nftnl_chain *chain,
	const char *name)
{
	struct nlmsghdr *header = hf_nft_start(nft, type, flags);

	if (!chain)
		hf_nft_no_memory(nft);
	if (chain && header) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, nft->table);
		nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
		nftnl_chain_nlmsg_build_payload(header, chain);
		hf_nft_message_done(nft, header);
	}
	if (chain)
		nftnl_chain_free(chain);
}

void hf_nft_add_chain(struct hf_nft *nft, const char *name, uint32_t hook)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (chain) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, "filter");
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, HOOK_PRIORITY);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	put_chain(nft, NFT_MSG_NEWCHAIN, NLM_F_CREATE, chain, name);
}

void hf_nft_add_note(struct hf_nft *nft, const char *name, const char *comment)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	struct nftnl_udata_buf *note = make_comment(NFTNL_UDATA_CHAIN_COMMENT, comment);

	if (chain && note)
		nftnl_chain_set_data(chain, NFTNL_CHAIN_USERDATA, nftnl_udata_buf_data(note),
			nftnl_udata_buf_len(note));
	if (!note)
		hf_nft_no_memory(nft);
	put_chain(nft, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, chain, name);
	if (note)
		nftnl_udata_buf_free(note);
}

void hf_nft_remove_note(struct hf_nft *nft, const char *name)
{
	put_chain(nft, NFT_MSG_DELCHAIN, 0, nftnl_chain_alloc(), name);
}

static uint32_t key_type(const struct hf_lock_set *row)
{
	uint32_t address = row->nfproto == NFPROTO_IPV4 ? NFT_TYPE_IPV4 : NFT_TYPE_IPV6;
	uint32_t one = row->address_len ? address << NFT_TYPE_BITS | NFT_TYPE_PORT : NFT_TYPE_PORT;

	return row->pair ? one << 2 * NFT_TYPE_BITS | one : one;
}

/* A set of that kind with what each message about it needs; NULL when memory is short. */
static struct nftnl_set *name_set(struct hf_nft *nft, enum hf_lock_set_kind kind)
{
	struct nftnl_set *set = nftnl_set_alloc();

	if (!set) {
		hf_nft_no_memory(nft);
		return NULL;
	}
	nftnl_set_set_str(set, NFTNL_SET_TABLE, nft->table);
	nftnl_set_set_str(set, NFTNL_SET_NAME, hf_lock_sets[kind].name);
	nftnl_set_set_u32(set, NFTNL_SET_ID, nft->set_ids + kind);
	return set;
}

static void put_set(
	struct hf_nft *nft, enum hf_lock_set_kind kind, uint32_t size, uint32_t timeout_s)
{
	const struct hf_lock_set *row = &hf_lock_sets[kind];
	struct nftnl_set *set = name_set(nft, kind);
	struct nlmsghdr *header = hf_nft_start(nft, NFT_MSG_NEWSET, NLM_F_CREATE);

	if (set && header) {
		nftnl_set_set_u32(set, NFTNL_SET_FAMILY, nft->family);
		nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, key_type(row));
		nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, hf_lock_key_len(row));
		/* With its size declared the kernel takes a fixed hash table, which fills faster,
		 * unless elements expire. */
		nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, size);
		if (timeout_s) {
			nftnl_set_set_u32(set, NFTNL_SET_FLAGS, NFT_SET_TIMEOUT);
			nftnl_set_set_u64(set, NFTNL_SET_TIMEOUT, 1000ull * timeout_s);
		}
		nftnl_set_nlmsg_build_payload(header, set);
		hf_nft_message_done(nft, header);
	}
	if (set)
		nftnl_set_free(set);
}

static bool add_element(struct nftnl_set *set, const struct hf_lock_setkey *key)
{
	struct nftnl_set_elem *element = nftnl_set_elem_alloc();

	if (!element)
		return false;
	if (nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key->bytes, key->len) < 0) {
		nftnl_set_elem_free(element);
		return false;
	}
	nftnl_set_elem_add(set, element);
	return true;
}

static void put_elements(struct hf_nft *nft, enum hf_lock_set_kind kind,
	const struct hf_lock_setkey *keys, uint32_t n)
{
	struct nftnl_set *set = name_set(nft, kind);
	struct nlmsghdr *header = hf_nft_start(nft, NFT_MSG_NEWSETELEM, NLM_F_CREATE);

	for (uint32_t i = 0; set && nft->ret == 0 && i < n; i++)
		if (!add_element(set, &keys[i]))
			hf_nft_no_memory(nft);
	if (set && header && nft->ret == 0) {
		nftnl_set_elems_nlmsg_build_payload(header, set);
		hf_nft_message_done(nft, header);
	}
	if (set)
		nftnl_set_free(set);
}

void hf_nft_add_set(struct hf_nft *nft, enum hf_lock_set_kind kind,
	const struct hf_lock_keylist *keys, uint32_t timeout_s)
{
	put_set(nft, kind, keys->n, timeout_s);
	for (uint32_t i = 0; i < keys->n; i += ELEMENTS)
		put_elements(
			nft, kind, keys->keys + i, keys->n - i < ELEMENTS ? keys->n - i : ELEMENTS);
}
