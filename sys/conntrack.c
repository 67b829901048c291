// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "lib/cleanup.h"
#include "sys/netlink.h"

#define ATTRIBUTES (CTA_MAX + 1)

struct listing {
	int (*each)(const struct hf_translation *translation, void *context);
	void *context;
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

static int take_entry(const struct nlmsghdr *header, void *context)
{
	const struct nfgenmsg *msg = mnl_nlmsg_get_payload(header);
	const struct nlattr *table[ATTRIBUTES] = {NULL};
	const struct listing *listing = context;
	struct hf_translation found = {0};
	uint32_t status;
	int ret;

	if (mnl_nlmsg_get_payload_len(header) < sizeof(*msg))
		return MNL_CB_OK;
	found.family = msg->nfgen_family == AF_INET ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6;
	/* An older kernel does not filter. */
	if (mnl_attr_parse(header, sizeof(*msg), take_attribute, table) < 0 ||
		!copy(&status, table[CTA_STATUS], sizeof(status)) ||
		!(ntohl(status) & IPS_NAT_MASK) ||
		!get_tuple(table[CTA_TUPLE_ORIG], found.family, &found.from, &found.to) ||
		!get_tuple(
			table[CTA_TUPLE_REPLY], found.family, &found.answer_from, &found.answer_to))
		return MNL_CB_OK;
	ret = listing->each(&found, listing->context);
	if (ret >= 0)
		return MNL_CB_OK;
	errno = -ret;
	return MNL_CB_ERROR;
}

/* hf_netlink_dump() gives the listing. */
struct restarting {
	struct listing listing; /* first: it is what take_entry() gets */
	void (*restart)(void *context);
};

static void restart_listing(void *context)
{
	const struct restarting *restarting = context;

	restarting->restart(restarting->listing.context);
}

int hf_conntrack_translations(int netns,
	int (*each)(const struct hf_translation *translation, void *context),
	void (*restart)(void *context), void *context, struct hf_error *err)
{
	char buf[256] __attribute__((aligned(8))) = {0};
	struct restarting restarting = {{each, context}, restart};
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *msg;
	struct hf_error why = HF_ERROR_INIT;
	int ret;

	if (sock < 0)
		return sock;
	header->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = 1;
	msg = mnl_nlmsg_put_extra_header(header, sizeof(*msg));
	msg->nfgen_family = AF_UNSPEC;
	msg->version = NFNETLINK_V0;
	ret = hf_netlink_dump(sock, header, take_entry, restart_listing, &restarting, &why);
	/* Without connection tracking there is no such subsystem (nfnetlink_rcv_msg()). */
	if (ret == -EINVAL || ret == -EOPNOTSUPP)
		return 0;
	if (ret < 0)
		hf_error_set(err, ret, "cannot list the translated connections: %s", why.text);
	return ret;
}
