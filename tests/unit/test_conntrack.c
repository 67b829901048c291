// SPDX-License-Identifier: GPL-2.0-or-later
/* What a host's connection tracking is told: the messages are taken apart again. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <libmnl/libmnl.h>

#include "lib/conntrack.h"

#define TIMEOUT 4711

/* An image of a connection that came in at unit_v4(1, 80), and a listener there. */
struct sample {
	struct hf_holder holders[2];
	struct hf_conn conns[2];
	struct hf_alias aliases[2];
	struct hf_image image;
};

static void make(struct sample *sample)
{
	memset(sample, 0, sizeof(*sample));
	sample->conns[0] = unit_conn(&sample->holders[0]);
	sample->conns[1] = (struct hf_conn){
		.family = HF_FAMILY_IPV4, .state = HF_TCP_LISTEN, .local = {.port = 80}};
	sample->image =
		(struct hf_image){.conns = sample->conns, .n_conns = 2, .aliases = sample->aliases};
}

static void add_alias(struct sample *sample, struct hf_endpoint local, struct hf_endpoint peer)
{
	sample->aliases[sample->image.n_aliases++] =
		(struct hf_alias){.family = HF_FAMILY_IPV4, .local = local, .peer = peer};
}

/* The two messages about connection 0. */
struct told {
	struct hf_batch batch;
	const struct nlmsghdr *add, *keep;
};

static void tell(const struct sample *sample, struct told *told)
{
	struct hf_conntrack conntrack = {0};
	int left;

	memset(told, 0, sizeof(*told));
	told->batch.last_seq = 6;
	assert_int_equal(hf_conntrack_init(&conntrack, &sample->image), 0);
	assert_int_equal(hf_conntrack_put(&conntrack, 0, TIMEOUT, &told->batch), 1);
	assert_int_equal(hf_conntrack_put(&conntrack, 1, TIMEOUT, &told->batch), 0);
	assert_int_equal(hf_conntrack_keep(&conntrack, 0, TIMEOUT, &told->batch), 1);
	assert_int_equal(hf_conntrack_keep(&conntrack, 1, TIMEOUT, &told->batch), 0);
	hf_conntrack_clear(&conntrack);
	left = (int)told->batch.len;
	told->add = (const struct nlmsghdr *)told->batch.data;
	assert_true(mnl_nlmsg_ok(told->add, left));
	told->keep = mnl_nlmsg_next(told->add, &left);
	assert_true(mnl_nlmsg_ok(told->keep, left));
	mnl_nlmsg_next(told->keep, &left);
	assert_int_equal(left, 0);
	assert_int_equal(told->add->nlmsg_seq, 7);
	assert_int_equal(told->keep->nlmsg_seq, 8);
	assert_int_equal(told->batch.last_seq, 8);
}

static const struct nlattr *attribute(const struct nlmsghdr *message, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each (attr, message, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

static const struct nlattr *inside(const struct nlattr *outer, uint16_t type)
{
	const struct nlattr *attr;

	assert_non_null(outer);
	mnl_attr_for_each_nested(attr, outer) if (mnl_attr_get_type(attr) == type) return attr;
	return NULL;
}

static void assert_ip(const struct nlattr *attr, const struct hf_endpoint *want, bool v4)
{
	assert_non_null(attr);
	assert_int_equal(mnl_attr_get_payload_len(attr), v4 ? 4 : 16);
	assert_memory_equal(mnl_attr_get_payload(attr), want->ip, v4 ? 4 : 16);
}

static void assert_port(const struct nlattr *attr, uint16_t want)
{
	assert_non_null(attr);
	assert_int_equal(ntohs(mnl_attr_get_u16(attr)), want);
}

static void assert_tuple(const struct nlmsghdr *message, uint16_t type, struct hf_endpoint from,
	struct hf_endpoint to, bool v4)
{
	const struct nlattr *tuple = attribute(message, type);
	const struct nlattr *ip = inside(tuple, CTA_TUPLE_IP);
	const struct nlattr *proto = inside(tuple, CTA_TUPLE_PROTO);

	assert_ip(inside(ip, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC), &from, v4);
	assert_ip(inside(ip, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST), &to, v4);
	assert_port(inside(proto, CTA_PROTO_SRC_PORT), from.port);
	assert_port(inside(proto, CTA_PROTO_DST_PORT), to.port);
	assert_int_equal(mnl_attr_get_u8(inside(proto, CTA_PROTO_NUM)), IPPROTO_TCP);
}

static void assert_becomes(
	const struct nlmsghdr *message, uint16_t type, const struct hf_endpoint *want)
{
	const struct nlattr *nat = attribute(message, type), *proto;

	if (!want) {
		assert_null(nat);
		return;
	}
	proto = inside(nat, CTA_NAT_PROTO);
	assert_ip(inside(nat, CTA_NAT_V4_MINIP), want, true);
	assert_ip(inside(nat, CTA_NAT_V4_MAXIP), want, true);
	assert_port(inside(proto, CTA_PROTONAT_PORT_MIN), want->port);
	assert_port(inside(proto, CTA_PROTONAT_PORT_MAX), want->port);
}

static void assert_untranslated(const struct told *told)
{
	assert_becomes(told->add, CTA_NAT_SRC, NULL);
	assert_becomes(told->add, CTA_NAT_DST, NULL);
}

static void test_ask(void **state)
{
	struct hf_batch batch = {.last_seq = 6};
	const struct nlmsghdr *first, *second;
	struct sample sample;
	int left;

	(void)state;
	make(&sample);
	assert_int_equal(hf_conntrack_ask(&sample.conns[0], false, &batch), 0);
	assert_int_equal(hf_conntrack_ask(&sample.conns[0], true, &batch), 0);
	left = (int)batch.len;
	first = (const struct nlmsghdr *)batch.data;
	second = mnl_nlmsg_next(first, &left);
	assert_true(mnl_nlmsg_ok(second, left));
	assert_int_equal(first->nlmsg_type, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET);
	assert_int_equal(first->nlmsg_flags, NLM_F_REQUEST);
	assert_int_equal(second->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	assert_int_equal(first->nlmsg_seq, 7);
	assert_int_equal(second->nlmsg_seq, 8);
	assert_int_equal(batch.last_seq, 8);
	assert_tuple(first, CTA_TUPLE_ORIG, unit_v4(1, 80), unit_v4(2, 40000), true);
	hf_batch_clear(&batch);
}

static void test_plain(void **state)
{
	struct sample sample;
	struct told told;

	(void)state;
	make(&sample);
	tell(&sample, &told);
	assert_int_equal(told.add->nlmsg_type, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW);
	assert_int_equal(
		told.add->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
	assert_int_equal(told.keep->nlmsg_type, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW);
	assert_int_equal(told.keep->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	assert_tuple(told.add, CTA_TUPLE_ORIG, unit_v4(2, 40000), unit_v4(1, 80), true);
	assert_tuple(told.add, CTA_TUPLE_REPLY, unit_v4(1, 80), unit_v4(2, 40000), true);
	assert_untranslated(&told);
	assert_tuple(told.keep, CTA_TUPLE_ORIG, unit_v4(1, 80), unit_v4(2, 40000), true);
	assert_int_equal(ntohl(mnl_attr_get_u32(attribute(told.add, CTA_TIMEOUT))), TIMEOUT);
	assert_int_equal(ntohl(mnl_attr_get_u32(attribute(told.keep, CTA_TIMEOUT))), TIMEOUT);
	/* One that is there keeps its state. */
	assert_null(inside(inside(attribute(told.keep, CTA_PROTOINFO), CTA_PROTOINFO_TCP),
		CTA_PROTOINFO_TCP_STATE));
	hf_batch_clear(&told.batch);
}

static void test_ipv6(void **state)
{
	struct sample sample;
	struct told told;

	(void)state;
	make(&sample);
	sample.conns[0].family = HF_FAMILY_IPV6;
	sample.conns[0].local = unit_v6(1, 80);
	sample.conns[0].peer = unit_v6(2, 40000);
	tell(&sample, &told);
	assert_tuple(told.add, CTA_TUPLE_ORIG, unit_v6(2, 40000), unit_v6(1, 80), false);
	hf_batch_clear(&told.batch);
}

/* A client knows the published address alone. */
static void assert_published(const struct sample *sample)
{
	const struct hf_endpoint local = unit_v4(1, 80);
	struct told told;

	tell(sample, &told);
	assert_tuple(told.add, CTA_TUPLE_ORIG, unit_v4(2, 40000), unit_v4(99, 8080), true);
	assert_tuple(told.add, CTA_TUPLE_REPLY, unit_v4(99, 8080), unit_v4(2, 40000), true);
	assert_becomes(told.add, CTA_NAT_DST, &local);
	assert_becomes(told.add, CTA_NAT_SRC, NULL);
	assert_tuple(told.keep, CTA_TUPLE_ORIG, unit_v4(1, 80), unit_v4(2, 40000), true);
	hf_batch_clear(&told.batch);
}

static void test_published(void **state)
{
	struct sample sample;

	(void)state;
	make(&sample);
	add_alias(&sample, unit_v4(99, 8080), unit_v4(2, 40000));
	add_alias(&sample, unit_v4(99, 8080), unit_v4(0, 0)); /* new connections */
	memset(&sample.aliases[1].peer, 0, sizeof(sample.aliases[1].peer));
	assert_published(&sample);
}

static void test_published_mapped(void **state)
{
	struct sample sample;

	(void)state;
	make(&sample);
	sample.conns[0].family = HF_FAMILY_IPV6;
	sample.conns[0].local = unit_mapped(1, 80);
	sample.conns[0].peer = unit_mapped(2, 40000);
	add_alias(&sample, unit_v4(99, 8080), unit_v4(2, 40000));
	add_alias(&sample, unit_v4(99, 8080), unit_v4(2, 40001)); /* another one's */
	assert_published(&sample);
}

/* The container began it, and its peer knows the host's address. */
static void test_masqueraded(void **state)
{
	const struct hf_endpoint host = unit_v4(77, 50000);
	struct sample sample;
	struct told told;

	(void)state;
	make(&sample);
	sample.conns[0].local.port = 41000;
	add_alias(&sample, host, unit_v4(2, 40000));
	tell(&sample, &told);
	assert_tuple(told.add, CTA_TUPLE_ORIG, unit_v4(1, 41000), unit_v4(2, 40000), true);
	assert_becomes(told.add, CTA_NAT_SRC, &host);
	assert_becomes(told.add, CTA_NAT_DST, NULL);
	hf_batch_clear(&told.batch);
}

/* A client whose port was taken by another one got another, on its way in. */
static void test_both(void **state)
{
	const struct hf_endpoint local = unit_v4(1, 80), peer = unit_v4(2, 40000);
	struct sample sample;
	struct told told;

	(void)state;
	make(&sample);
	add_alias(&sample, unit_v4(1, 80), unit_v4(2, 40000)); /* another one's, half translated */
	add_alias(&sample, unit_v4(99, 8080), unit_v4(2, 555));
	sample.aliases[1].inside = unit_v4(2, 40000);
	tell(&sample, &told);
	assert_tuple(told.add, CTA_TUPLE_ORIG, unit_v4(2, 555), unit_v4(99, 8080), true);
	assert_becomes(told.add, CTA_NAT_DST, &local);
	assert_becomes(told.add, CTA_NAT_SRC, &peer);
	assert_tuple(told.keep, CTA_TUPLE_ORIG, unit_v4(1, 80), unit_v4(2, 40000), true);
	hf_batch_clear(&told.batch);
}

/* The same where our address is not translated. */
static void test_other_port(void **state)
{
	const struct hf_endpoint peer = unit_v4(2, 40000);
	struct sample sample;
	struct told told;

	(void)state;
	make(&sample);
	add_alias(&sample, unit_v4(1, 80), unit_v4(2, 555));
	sample.aliases[0].inside = unit_v4(2, 40000);
	tell(&sample, &told);
	assert_tuple(told.add, CTA_TUPLE_ORIG, unit_v4(2, 555), unit_v4(1, 80), true);
	assert_becomes(told.add, CTA_NAT_DST, NULL);
	assert_becomes(told.add, CTA_NAT_SRC, &peer);
	hf_batch_clear(&told.batch);
}

/* One peer with two names for it: which is this connection's cannot be told. */
static void test_ambiguous(void **state)
{
	struct sample sample;
	struct told told;

	(void)state;
	make(&sample);
	add_alias(&sample, unit_v4(98, 8080), unit_v4(2, 40000));
	add_alias(&sample, unit_v4(99, 8080), unit_v4(2, 40000));
	tell(&sample, &told);
	assert_untranslated(&told);
	hf_batch_clear(&told.batch);
}

static void test_loopback(void **state)
{
	struct hf_conntrack conntrack = {0};
	struct hf_batch batch = {0};
	struct sample sample;

	(void)state;
	make(&sample);
	sample.conns[0].local = (struct hf_endpoint){.ip = {127, 0, 0, 1}, .port = 80};
	assert_int_equal(hf_conntrack_init(&conntrack, &sample.image), 0);
	assert_int_equal(hf_conntrack_put(&conntrack, 0, TIMEOUT, &batch), 0);
	assert_int_equal(hf_conntrack_keep(&conntrack, 0, TIMEOUT, &batch), 0);
	assert_int_equal(batch.len, 0);
	hf_conntrack_clear(&conntrack);
	hf_batch_clear(&batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_ask),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_published),
		cmocka_unit_test(test_published_mapped),
		cmocka_unit_test(test_masqueraded),
		cmocka_unit_test(test_both),
		cmocka_unit_test(test_other_port),
		cmocka_unit_test(test_ambiguous),
		cmocka_unit_test(test_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
