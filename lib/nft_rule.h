/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_NFT_RULE_H
#define HF_LIB_NFT_RULE_H

/*
 * One rule of an nftables batch, expression by expression: begin, what it matches, end with a
 * counter and a verdict (NF_ACCEPT, NF_DROP).
 */
#include "lib/nft_batch.h"

/* A part of a packet that is a part of a set's key. */
struct hf_nft_field {
	uint8_t base; /* enum nft_payload_bases */
	uint8_t offset;
	uint8_t len;
};

struct nftnl_rule;
struct hf_nft_rule {
	struct hf_nft *nft;
	struct nftnl_rule *rule;
};
struct hf_nft_rule hf_nft_rule_begin(struct hf_nft *nft, const char *chain);
void hf_nft_match_meta(struct hf_nft_rule *rule, uint32_t key, const void *value, uint32_t len);
/* The mark of its connection, by connection tracking. */
void hf_nft_match_ct_mark(struct hf_nft_rule *rule, uint32_t mark);
void hf_nft_match_bits(
	struct hf_nft_rule *rule, const struct hf_nft_field *byte, uint8_t mask, uint8_t value);
/* Up to four fields, or fewer where one has no length. */
#define HF_NFT_FIELDS 4
void hf_nft_match_set(struct hf_nft_rule *rule, enum hf_lock_set_kind kind,
	const struct hf_nft_field fields[HF_NFT_FIELDS]);
void hf_nft_rule_end(struct hf_nft_rule *rule, uint32_t verdict);

#endif
