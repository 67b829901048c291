// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/conntrack.h"
#include "sys/netlink.h"

#define ATTRIBUTES (CTA_MAX + 1)

#define ATTEMPTS 4

/* There while connection tracking is loaded, in every network namespace. */
#define LOADED "/proc/sys/net/netfilter/nf_conntrack_max"

/* Some connections, by the number of the question, and the answers. */
struct asked {
	uint32_t first_seq, next_seq, n;
	const struct hf_conn *conn[HF_CONNTRACK_AT_A_TIME];
	struct hf_translation found[HF_CONNTRACK_AT_A_TIME];
	bool is_translated[HF_CONNTRACK_AT_A_TIME];
	int error;
};

/* Where an attribute of a table goes to, if it has the right length. */
static int take_attribute(const struct nlattr *attr, void *context)
{
	const struct nlattr **table = context;
	uint16_t type = mnl_attr_get_type(attr);

	if (type < ATTRIBUTES)
		table[type] = attr;
	return MNL_CB_OK;
}

static bool copy(void *to, const struct nlattr *attr, size_t len)
{
	if (!attr || mnl_attr_get_payload_len(attr) != len)
		return false;
	memcpy(to, mnl_attr_get_payload(attr), len);
	return true;
}

static bool get_ip(const struct nlattr *ips, enum hf_family family, struct hf_endpoint *from,
	struct hf_endpoint *to)
{
	const struct nlattr *table[ATTRIBUTES] = {NULL};

	if (!ips || mnl_attr_parse_nested(ips, take_attribute, table) < 0)
		return false;
	if (family == HF_FAMILY_IPV4)
		return copy(from->ip, table[CTA_IP_V4_SRC], 4) &&
		       copy(to->ip, table[CTA_IP_V4_DST], 4);
	return copy(from->ip, table[CTA_IP_V6_SRC], 16) && copy(to->ip, table[CTA_IP_V6_DST], 16);
}

static bool get_ports(const struct nlattr *proto, struct hf_endpoint *from, struct hf_endpoint *to)
{
	const struct nlattr *table[ATTRIBUTES] = {NULL};
	uint16_t source, target;
	uint8_t number;

	if (!proto || mnl_attr_parse_nested(proto, take_attribute, table) < 0 ||
		!copy(&number, table[CTA_PROTO_NUM], sizeof(number)) || number != IPPROTO_TCP ||
		!copy(&source, table[CTA_PROTO_SRC_PORT], sizeof(source)) ||
		!copy(&target, table[CTA_PROTO_DST_PORT], sizeof(target)))
		return false;
	from->port = ntohs(source);
	to->port = ntohs(target);
	return true;
}

static bool get_tuple(const struct nlattr *tuple, enum hf_family family, struct hf_endpoint *from,
	struct hf_endpoint *to)
{
	const struct nlattr *table[ATTRIBUTES] = {NULL};

	return tuple && mnl_attr_parse_nested(tuple, take_attribute, table) >= 0 &&
	       get_ip(table[CTA_TUPLE_IP], family, from, to) &&
	       get_ports(table[CTA_TUPLE_PROTO], from, to);
}

static bool get_translation(const struct nlmsghdr *header, struct hf_translation *found)
{
	const struct nfgenmsg *msg = mnl_nlmsg_get_payload(header);
	const struct nlattr *table[ATTRIBUTES] = {NULL};
	uint32_t status;

	if (mnl_nlmsg_get_payload_len(header) < sizeof(*msg))
		return false;
	memset(found, 0, sizeof(*found));
	found->family = msg->nfgen_family == AF_INET ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6;
	return mnl_attr_parse(header, sizeof(*msg), take_attribute, table) >= 0 &&
	       copy(&status, table[CTA_STATUS], sizeof(status)) && (ntohl(status) & IPS_NAT_MASK) &&
	       get_tuple(table[CTA_TUPLE_ORIG], found->family, &found->from, &found->to) &&
	       get_tuple(table[CTA_TUPLE_REPLY], found->family, &found->answer_from,
		       &found->answer_to);
}

/* -ENOENT: the host does not know the connection. */
static void take_answer(const struct nlmsghdr *header, void *context)
{
	const struct nlmsgerr *result = mnl_nlmsg_get_payload(header);
	struct asked *asked = context;
	uint32_t i = header->nlmsg_seq - asked->first_seq;

	if (i >= asked->n)
		return;
	if (header->nlmsg_type != NLMSG_ERROR)
		asked->is_translated[i] = get_translation(header, &asked->found[i]);
	else if (mnl_nlmsg_get_payload_len(header) >= sizeof(*result) && result->error &&
		 result->error != -ENOENT && !asked->error)
		asked->error = result->error;
}

/* Late answers to what was asked before have other numbers. */
static int ask(int sock, struct asked *asked)
{
	struct hf_batch batch = {.first_seq = asked->next_seq, .last_seq = asked->next_seq - 1};
	int ret = 0;

	asked->first_seq = asked->next_seq;
	asked->next_seq += asked->n;
	asked->error = 0;
	memset(asked->is_translated, 0, sizeof(asked->is_translated));
	for (uint32_t i = 0; i < asked->n && ret == 0; i++)
		ret = hf_conntrack_ask(asked->conn[i], i + 1 == asked->n, &batch);
	if (ret == 0)
		ret = hf_netlink_each(sock, &batch, take_answer, asked);
	hf_batch_clear(&batch);
	return ret < 0 ? ret : asked->error;
}

/* The connections from `first` that the host may know, as many as may be at a time. Returns the
 * next one. */
static uint32_t choose(struct asked *asked, const struct hf_conn *conns, uint32_t n, uint32_t first)
{
	uint32_t i = first;

	for (asked->n = 0; i < n && asked->n < HF_CONNTRACK_AT_A_TIME; i++)
		if (hf_conntrack_concerns(&conns[i]))
			asked->conn[asked->n++] = &conns[i];
	return i;
}

bool hf_conntrack_is_there(void)
{
	return access(LOADED, F_OK) == 0;
}

int hf_conntrack_translations(int netns, const struct hf_conn *conns, uint32_t n,
	int (*each)(const struct hf_conn *conn, const struct hf_translation *found, void *context),
	void *context, struct hf_error *err)
{
	hf_autofree struct asked *asked = calloc(1, sizeof(*asked));
	hf_autoclose int sock = -1;
	int ret = asked ? 0 : -ENOMEM;

	if (!hf_conntrack_is_there())
		return 0;
	sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	if (sock < 0)
		return sock;
	if (asked)
		asked->next_seq = 1;
	for (uint32_t i = 0; i < n && ret == 0;) {
		i = choose(asked, conns, n, i);
		if (asked->n == 0)
			break;
		ret = ask(sock, asked);
		for (int attempt = 1; ret == -ENOBUFS && attempt < ATTEMPTS; attempt++)
			ret = ask(sock, asked);
		for (uint32_t k = 0; k < asked->n && ret == 0; k++)
			if (asked->is_translated[k])
				ret = each(asked->conn[k], &asked->found[k], context);
	}
	return ret < 0 ? hf_error_sys(err, ret, "cannot ask which connections are translated") : 0;
}
