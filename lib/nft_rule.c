// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/nft_rule.h"

#include <stdio.h> /* libnftnl/expr.h wants it */

#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>

struct hf_nft_rule hf_nft_rule_begin(struct hf_nft *nft, const char *chain)
{
	struct hf_nft_rule rule = {nft, nftnl_rule_alloc()};

	if (!rule.rule) {
		hf_nft_no_memory(nft);
		return rule;
	}
	nftnl_rule_set_str(rule.rule, NFTNL_RULE_TABLE, nft->table);
	nftnl_rule_set_str(rule.rule, NFTNL_RULE_CHAIN, chain);
	nftnl_rule_set_u32(rule.rule, NFTNL_RULE_FAMILY, nft->family);
	return rule;
}

static struct nftnl_expr *expression(struct hf_nft_rule *rule, const char *name)
{
	struct nftnl_expr *expr = rule->nft->ret < 0 ? NULL : nftnl_expr_alloc(name);

	if (!expr)
		hf_nft_no_memory(rule->nft);
	else
		nftnl_rule_add_expr(rule->rule, expr);
	return expr;
}

static void compare(struct hf_nft_rule *rule, const void *data, uint32_t len)
{
	struct nftnl_expr *expr = expression(rule, "cmp");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
	if (nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, len) < 0)
		hf_nft_no_memory(rule->nft);
}

void hf_nft_match_meta(struct hf_nft_rule *rule, uint32_t key, const void *value, uint32_t len)
{
	struct nftnl_expr *expr = expression(rule, "meta");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
	compare(rule, value, len);
}

void hf_nft_match_ct_mark(struct hf_nft_rule *rule, uint32_t mark)
{
	struct nftnl_expr *expr = expression(rule, "ct");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	compare(rule, &mark, sizeof(mark));
}

static void load_payload(struct hf_nft_rule *rule, const struct hf_nft_field *field, uint32_t reg)
{
	struct nftnl_expr *expr = expression(rule, "payload");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, field->base);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, field->offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, field->len);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, reg);
}

void hf_nft_match_bits(
	struct hf_nft_rule *rule, const struct hf_nft_field *byte, uint8_t mask, uint8_t value)
{
	const uint8_t none = 0;
	struct nftnl_expr *expr;

	load_payload(rule, byte, NFT_REG_1);
	expr = expression(rule, "bitwise");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, 1);
	if (nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, &mask, 1) < 0 ||
		nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, &none, 1) < 0)
		hf_nft_no_memory(rule->nft);
	compare(rule, &value, 1);
}

void hf_nft_match_set(struct hf_nft_rule *rule, enum hf_lock_set_kind kind,
	const struct hf_nft_field fields[HF_NFT_FIELDS])
{
	uint32_t reg = NFT_REG32_00;
	struct nftnl_expr *expr;

	for (int i = 0; i < HF_NFT_FIELDS && fields[i].len; i++) {
		load_payload(rule, &fields[i], reg);
		reg += (fields[i].len + 3u) / 4;
	}
	expr = expression(rule, "lookup");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG32_00);
	nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, hf_lock_sets[kind].name);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SET_ID, rule->nft->set_ids + kind);
}

static void add_verdict(struct hf_nft_rule *rule, uint32_t verdict)
{
	struct nftnl_expr *expr;

	expression(rule, "counter");
	expr = expression(rule, "immediate");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, verdict);
}

void hf_nft_rule_end(struct hf_nft_rule *rule, uint32_t verdict)
{
	struct nlmsghdr *header;

	add_verdict(rule, verdict);
	header = hf_nft_start(rule->nft, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	if (header) {
		nftnl_rule_nlmsg_build_payload(header, rule->rule);
		hf_nft_message_done(rule->nft, header);
	}
	if (rule->rule)
		nftnl_rule_free(rule->rule);
	rule->rule = NULL;
}
