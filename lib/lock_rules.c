// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/lock_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "lib/nft_rule.h"
#include "lib/tcp_state.h"

#define TCP_FLAGS_OFFSET 13
#define TCP_SYN_MASK     0x17 /* FIN, SYN, RST, ACK */
#define TCP_SYN          0x02

const uint16_t hf_lock_families[HF_LOCK_TABLES] = {
	[HF_LOCK_INET] = NFPROTO_INET,
	[HF_LOCK_BRIDGE] = NFPROTO_BRIDGE,
};

#define V4_SRC   {NFT_PAYLOAD_NETWORK_HEADER, 12, 4}
#define V4_DST   {NFT_PAYLOAD_NETWORK_HEADER, 16, 4}
#define V6_SRC   {NFT_PAYLOAD_NETWORK_HEADER, 8, 16}
#define V6_DST   {NFT_PAYLOAD_NETWORK_HEADER, 24, 16}
#define SRC_PORT {NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2}
#define DST_PORT {NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2}

/* Packets to the local end of a connection, and from it. */
enum direction { IN = 1, OUT = 2 };

/* How the key of a set is found in a packet; of a listener in those to it only. */
static const struct fields {
	struct hf_nft_field in[HF_NFT_FIELDS];
	struct hf_nft_field out[HF_NFT_FIELDS];
} fields[HF_LOCK_SETS] = {
	[HF_SET_CONN4] = {{V4_SRC, SRC_PORT, V4_DST, DST_PORT},
		{V4_DST, DST_PORT, V4_SRC, SRC_PORT}},
	[HF_SET_CONN6] = {{V6_SRC, SRC_PORT, V6_DST, DST_PORT},
		{V6_DST, DST_PORT, V6_SRC, SRC_PORT}},
	[HF_SET_LISTEN4] = {{V4_DST, DST_PORT}, {{0}}},
	[HF_SET_LISTEN6] = {{V6_DST, DST_PORT}, {{0}}},
	[HF_SET_PORT4] = {{DST_PORT}, {{0}}},
	[HF_SET_PORT6] = {{DST_PORT}, {{0}}},
};

/* Devices that the packets of a chain leave by and that are not its business. */
enum spared { SPARES_NONE = 0, SPARES_LOOPBACK = 1, SPARES_BRIDGES = 2 };

/* The chains of a lock, and which packets they see. NF_BR_* has the numbers of NF_INET_*. The first
 * is the one that may be open for a while. */
static const struct chain {
	enum hf_lock_place place;
	enum hf_lock_table table;
	const char *name;
	uint32_t hook;
	unsigned int directions;
	unsigned int spared;
} chains[] = {
	{HF_LOCK_NETNS, HF_LOCK_INET, "input", NF_INET_LOCAL_IN, IN, SPARES_NONE},
	{HF_LOCK_NETNS, HF_LOCK_INET, "output", NF_INET_LOCAL_OUT, OUT, SPARES_LOOPBACK},
	{HF_LOCK_HOST, HF_LOCK_INET, "input", NF_INET_LOCAL_IN, IN | OUT, SPARES_NONE},
	{HF_LOCK_HOST, HF_LOCK_INET, "forward", NF_INET_FORWARD, IN | OUT, SPARES_NONE},
	{HF_LOCK_HOST, HF_LOCK_INET, "output", NF_INET_LOCAL_OUT, IN | OUT,
		SPARES_LOOPBACK | SPARES_BRIDGES},
	{HF_LOCK_HOST, HF_LOCK_BRIDGE, "forward", NF_INET_FORWARD, IN | OUT, SPARES_NONE},
	{HF_LOCK_HOST, HF_LOCK_BRIDGE, "output", NF_INET_LOCAL_OUT, IN | OUT, SPARES_NONE},
};

static void add_mark_rule(struct hf_nft *nft, const char *chain, uint32_t mark, uint32_t verdict)
{
	struct hf_nft_rule rule = hf_nft_rule_begin(nft, chain);

	hf_nft_match_meta(&rule, NFT_META_MARK, &mark, sizeof(mark));
	hf_nft_rule_end(&rule, verdict);
}

static void add_spared(struct hf_nft *nft, const struct chain *chain, enum spared which)
{
	const uint16_t loopback = ARPHRD_LOOPBACK;
	const char bridge[IFNAMSIZ] = "bridge";
	struct hf_nft_rule rule = hf_nft_rule_begin(nft, chain->name);

	if (which == SPARES_LOOPBACK)
		hf_nft_match_meta(&rule, NFT_META_OIFTYPE, &loopback, sizeof(loopback));
	else
		hf_nft_match_meta(&rule, NFT_META_OIFKIND, bridge, sizeof(bridge));
	hf_nft_rule_end(&rule, NF_ACCEPT);
}

static void match_protocol(
	struct hf_nft_rule *rule, enum hf_lock_table table, const struct hf_lock_set *row)
{
	const uint16_t ether = htons(row->nfproto == NFPROTO_IPV4 ? ETH_P_IP : ETH_P_IPV6);
	const uint8_t tcp = IPPROTO_TCP;

	if (table == HF_LOCK_BRIDGE)
		hf_nft_match_meta(rule, NFT_META_PROTOCOL, &ether, sizeof(ether));
	else
		hf_nft_match_meta(rule, NFT_META_NFPROTO, &row->nfproto, 1);
	hf_nft_match_meta(rule, NFT_META_L4PROTO, &tcp, 1);
}

static void add_drop_rule(struct hf_nft *nft, const struct chain *chain, enum hf_lock_set_kind kind,
	enum direction direction)
{
	static const struct hf_nft_field flags = {
		NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS_OFFSET, 1};
	struct hf_nft_rule rule = hf_nft_rule_begin(nft, chain->name);

	match_protocol(&rule, chain->table, &hf_lock_sets[kind]);
	if (!hf_lock_sets[kind].pair)
		hf_nft_match_bits(&rule, &flags, TCP_SYN_MASK, TCP_SYN);
	hf_nft_match_set(&rule, kind, direction == IN ? fields[kind].in : fields[kind].out);
	hf_nft_rule_end(&rule, NF_DROP);
}

static void add_chain(struct hf_nft *nft, const struct hf_lock *lock, const struct chain *chain,
	const struct hf_lock_keylists *lists)
{
	hf_nft_add_chain(nft, chain->name, chain->hook);
	add_mark_rule(nft, chain->name, HF_MARK, NF_ACCEPT);
	add_mark_rule(nft, chain->name, HF_MARK_CRIU, NF_ACCEPT);
	if (chain->hook == NF_INET_LOCAL_OUT)
		add_mark_rule(nft, chain->name, HF_MARK_MUTE, NF_DROP);
	/* New connections are held at once: where a connection is tracked before it is translated,
	 * it stays untranslated. */
	for (int kind = 0; kind < HF_LOCK_SETS; kind++)
		if (lists->of[kind].n && !hf_lock_sets[kind].pair && chain->directions & IN)
			add_drop_rule(nft, chain, kind, IN);
	if (chain->spared & SPARES_LOOPBACK)
		add_spared(nft, chain, SPARES_LOOPBACK);
	if (chain->spared & SPARES_BRIDGES && !lock->no_bridge)
		add_spared(nft, chain, SPARES_BRIDGES);
	for (int kind = 0; kind < HF_LOCK_SETS; kind++) {
		if (lists->of[kind].n == 0 || !hf_lock_sets[kind].pair)
			continue;
		if (chain->directions & IN && !lock->input_open)
			add_drop_rule(nft, chain, kind, IN);
		if (chain->directions & OUT)
			add_drop_rule(nft, chain, kind, OUT);
	}
}

/*
 * Connection tracking goes on as long as some rule asks for it. When the last one goes with the
 * container's published ports and comes back with them, the kernel does not trust the windows that
 * it knows (nf_ct_tcp_fixup()), and takes packets for invalid, which are then not translated.
 */
static void add_tracking(struct hf_nft *nft)
{
	struct hf_nft_rule rule = hf_nft_rule_begin(nft, "input");

	hf_nft_match_ct_mark(&rule, HF_MARK);
	hf_nft_rule_end(&rule, NF_ACCEPT);
}

static void add_table(struct hf_nft *nft, const struct hf_lock *lock, enum hf_lock_table table,
	const struct hf_lock_keylists *lists)
{
	char name[HF_TABLE_NAME];

	hf_nft_table(nft, hf_lock_families[table], hf_table_name(name, lock->image->id));
	hf_nft_add_table(nft, lock->comment);
	for (int kind = 0; kind < HF_LOCK_SETS; kind++)
		if (lists->of[kind].n)
			hf_nft_add_set(nft, kind, &lists->of[kind], lock->timeout_s);
	for (size_t i = 0; i < sizeof(chains) / sizeof(chains[0]); i++)
		if (chains[i].place == lock->place && chains[i].table == table)
			add_chain(nft, lock, &chains[i], lists);
	if (lock->place == HF_LOCK_HOST && table == HF_LOCK_INET && lock->image->n_aliases)
		add_tracking(nft);
}

int hf_lock_rules_add(struct hf_batch *batch, const struct hf_lock *lock, struct hf_error *err)
{
	struct hf_lock_keylists lists = {0};
	struct hf_nft nft;
	int ret = hf_lock_keys_take(&lists, lock->image, lock->place);

	if (ret < 0) {
		hf_lock_keys_clear(&lists);
		return hf_error_sys(err, ret, "cannot build the lock's rules");
	}
	if (lock->place == HF_LOCK_HOST && hf_lock_keys_count(&lists) == 0) {
		hf_lock_keys_clear(&lists);
		return 1;
	}
	hf_nft_begin(&nft, batch);
	add_table(&nft, lock, HF_LOCK_INET, &lists);
	if (lock->place == HF_LOCK_HOST && !lock->no_bridge)
		add_table(&nft, lock, HF_LOCK_BRIDGE, &lists);
	hf_lock_keys_clear(&lists);
	return hf_nft_end(&nft, err);
}

int hf_lock_rules_close(struct hf_batch *batch, const struct hf_image *image, struct hf_error *err)
{
	bool has[HF_LOCK_SETS] = {false};
	char name[HF_TABLE_NAME];
	struct hf_nft nft;

	for (uint32_t i = 0; i < image->n_conns; i++) {
		const struct hf_conn *conn = &image->conns[i];
		const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

		if (row && row->connected)
			has[hf_lock_kind(conn)] = true;
	}
	hf_nft_begin(&nft, batch);
	hf_nft_table(&nft, NFPROTO_INET, hf_table_name(name, image->id));
	for (int kind = 0; kind < HF_LOCK_SETS; kind++)
		if (has[kind])
			add_drop_rule(&nft, &chains[0], kind, IN);
	return hf_nft_end(&nft, err);
}

int hf_lock_rules_remove(struct hf_batch *batch, const uint8_t id[HF_ID_SIZE],
	enum hf_lock_table table, struct hf_error *err)
{
	char name[HF_TABLE_NAME];
	struct hf_nft nft;

	hf_nft_begin(&nft, batch);
	hf_nft_table(&nft, hf_lock_families[table], hf_table_name(name, id));
	hf_nft_remove_table(&nft);
	return hf_nft_end(&nft, err);
}

int hf_lock_rules_remove_at(struct hf_batch *batch, const uint8_t id[HF_ID_SIZE],
	unsigned int tables, uint32_t generation, struct hf_error *err)
{
	char name[HF_TABLE_NAME];
	struct hf_nft nft;

	hf_nft_begin(&nft, batch);
	hf_nft_only_at(&nft, generation);
	for (int table = 0; table < HF_LOCK_TABLES; table++)
		if (tables & 1u << table) {
			hf_nft_table(&nft, hf_lock_families[table], hf_table_name(name, id));
			hf_nft_remove_table(&nft);
		}
	return hf_nft_end(&nft, err);
}

int hf_lock_rules_note(struct hf_batch *batch, const uint8_t id[HF_ID_SIZE], const char *comment,
	bool again, struct hf_error *err)
{
	char name[HF_TABLE_NAME];
	struct hf_nft nft;

	hf_nft_begin(&nft, batch);
	hf_nft_table(&nft, NFPROTO_INET, hf_table_name(name, id));
	if (again)
		hf_nft_remove_note(&nft, HF_LOCK_NOTE_CHAIN);
	hf_nft_add_note(&nft, HF_LOCK_NOTE_CHAIN, comment);
	return hf_nft_end(&nft, err);
}

char *hf_table_name(char buf[HF_TABLE_NAME], const uint8_t id[HF_ID_SIZE])
{
	char text[HF_ID_TEXT];

	snprintf(buf, HF_TABLE_NAME, HF_TABLE_PREFIX "%s", hf_id_format(text, id));
	return buf;
}
