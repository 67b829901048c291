/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_NFT_BATCH_H
#define HF_LIB_NFT_BATCH_H

/*
 * A nftables batch in a buffer (netlink messages, nf_tables(7) wire form), message by message.
 *
 * hf_nft_begin(), then what belongs into the batch, then hf_nft_end(). The first failure, which is
 * want of memory, is kept: what comes after it does nothing, and hf_nft_end() returns it. So a list
 * of calls reads as the list of messages that it makes.
 *
 * The kernel applies a batch as a whole or not at all. The caller sends it in one message and needs
 * the acknowledgement of `last_seq`; any error in between means that nothing was applied.
 */
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/lock_keys.h"
#include "lib/lock_sets.h"

#define HF_NFT_NAME 64 /* bytes of a table's name, with its end; the kernel takes 256 */

/* Netlink messages one after another. Zero it before use; hf_batch_clear() frees it. */
struct hf_batch {
	uint8_t *data;
	size_t len;
	size_t room;
	uint32_t first_seq; /* of the batch's begin message; what a failing commit answers to */
	uint32_t last_seq;  /* of the message that asks for an acknowledgement */
};

void hf_batch_clear(struct hf_batch *batch);

struct hf_nft {
	struct hf_batch *batch;
	char table[HF_NFT_NAME]; /* of all messages until hf_nft_table() is called again */
	uint16_t family;         /* NFPROTO_* of that table */
	uint32_t seq;
	uint32_t set_ids; /* added to the number of a set, so that ids of two tables differ */
	size_t last;      /* where the last message starts */
	int ret;
};

void hf_nft_begin(struct hf_nft *nft, struct hf_batch *batch);
int hf_nft_end(struct hf_nft *nft, struct hf_error *err);

/* Right after the beginning: the batch is applied only if nothing of the namespace's rules has
 * changed since this generation of them (ERESTART). */
void hf_nft_only_at(struct hf_nft *nft, uint32_t generation);

/* Which table the next messages are about. */
void hf_nft_table(struct hf_nft *nft, uint16_t family, const char *name);

/* Makes the table, exclusively (EEXIST), with a comment of at most 120 characters, or removes it
 * (ENOENT). */
void hf_nft_add_table(struct hf_nft *nft, const char *comment);
void hf_nft_remove_table(struct hf_nft *nft);

/* A filter chain at a hook (NF_INET_* or NF_BR_*), before connection tracking. */
void hf_nft_add_chain(struct hf_nft *nft, const char *name, uint32_t hook);

/* A chain that no packet passes, with a comment; exclusively. And its removal. */
void hf_nft_add_note(struct hf_nft *nft, const char *name, const char *comment);
void hf_nft_remove_note(struct hf_nft *nft, const char *name);

/* The set of that kind with its elements. They expire after timeout_s seconds; 0: never. */
void hf_nft_add_set(struct hf_nft *nft, enum hf_lock_set_kind kind,
	const struct hf_lock_keylist *keys, uint32_t timeout_s);

/*
 * For a message of another kind: its header, to be filled and said to be done; NULL when memory is
 * short, or was. And what keeps that failure.
 */
struct nlmsghdr;
struct nlmsghdr *hf_nft_start(struct hf_nft *nft, uint16_t type, uint16_t flags);
void hf_nft_message_done(struct hf_nft *nft, const struct nlmsghdr *header);
void hf_nft_no_memory(struct hf_nft *nft);

#endif
