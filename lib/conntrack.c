// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <libmnl/libmnl.h>

#include "lib/tcp_state.h"

#define MESSAGE_ROOM 1024 /* the longest has some 300 bytes */

/* One direction of a connection in its packets. */
struct tuple {
	bool v4;
	uint8_t from[16], to[16]; /* an IPv4 address fills the first 4 bytes */
	uint16_t from_port, to_port;
};

static void set_ip(uint8_t ip[16], enum hf_family family, const struct hf_endpoint *endpoint)
{
	const uint8_t *v4 = hf_endpoint_ipv4(family, endpoint);

	memset(ip, 0, 16);
	memcpy(ip, v4 ? v4 : endpoint->ip, v4 ? 4 : 16);
}

static struct tuple make_tuple(
	enum hf_family family, const struct hf_endpoint *from, const struct hf_endpoint *to)
{
	struct tuple tuple = {.v4 = hf_endpoint_ipv4(family, from) != NULL,
		.from_port = from->port,
		.to_port = to->port};

	set_ip(tuple.from, family, from);
	set_ip(tuple.to, family, to);
	return tuple;
}

static struct tuple reversed(const struct tuple *tuple)
{
	struct tuple back = {
		.v4 = tuple->v4, .from_port = tuple->to_port, .to_port = tuple->from_port};

	memcpy(back.from, tuple->to, sizeof(back.from));
	memcpy(back.to, tuple->from, sizeof(back.to));
	return back;
}

static void put_port(struct nlmsghdr *header, uint16_t type, uint16_t port)
{
	mnl_attr_put_u16(header, type, htons(port));
}

static void put_tuple(struct nlmsghdr *header, uint16_t type, const struct tuple *tuple)
{
	struct nlattr *outer = mnl_attr_nest_start(header, type), *inner;
	size_t len = tuple->v4 ? 4 : 16;

	inner = mnl_attr_nest_start(header, CTA_TUPLE_IP);
	mnl_attr_put(header, tuple->v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, len, tuple->from);
	mnl_attr_put(header, tuple->v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, len, tuple->to);
	mnl_attr_nest_end(header, inner);
	inner = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(header, CTA_PROTO_NUM, IPPROTO_TCP);
	put_port(header, CTA_PROTO_SRC_PORT, tuple->from_port);
	put_port(header, CTA_PROTO_DST_PORT, tuple->to_port);
	mnl_attr_nest_end(header, inner);
	mnl_attr_nest_end(header, outer);
}

/* What a source or a destination becomes. */
static void put_translation(
	struct nlmsghdr *header, uint16_t type, bool v4, const uint8_t ip[16], uint16_t port)
{
	struct nlattr *outer = mnl_attr_nest_start(header, type), *inner;
	size_t len = v4 ? 4 : 16;

	mnl_attr_put(header, v4 ? CTA_NAT_V4_MINIP : CTA_NAT_V6_MINIP, len, ip);
	mnl_attr_put(header, v4 ? CTA_NAT_V4_MAXIP : CTA_NAT_V6_MAXIP, len, ip);
	inner = mnl_attr_nest_start(header, CTA_NAT_PROTO);
	put_port(header, CTA_PROTONAT_PORT_MIN, port);
	put_port(header, CTA_PROTONAT_PORT_MAX, port);
	mnl_attr_nest_end(header, inner);
	mnl_attr_nest_end(header, outer);
}

/* Its windows are not known here, or were long ago: packets that do not fit are not to be called
 * invalid, which rules drop. */
static void put_protocol(struct nlmsghdr *header, bool established)
{
	const struct nf_ct_tcp_flags flags = {
		.flags = IP_CT_TCP_FLAG_BE_LIBERAL, .mask = IP_CT_TCP_FLAG_BE_LIBERAL};
	struct nlattr *outer = mnl_attr_nest_start(header, CTA_PROTOINFO);
	struct nlattr *inner = mnl_attr_nest_start(header, CTA_PROTOINFO_TCP);

	if (established)
		mnl_attr_put_u8(header, CTA_PROTOINFO_TCP_STATE, TCP_CONNTRACK_ESTABLISHED);
	mnl_attr_put(header, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, sizeof(flags), &flags);
	mnl_attr_put(header, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof(flags), &flags);
	mnl_attr_nest_end(header, inner);
	mnl_attr_nest_end(header, outer);
}

/* The next message, to be ended by end(); NULL when memory is short. */
static struct nlmsghdr *begin(struct hf_batch *batch, uint16_t type, uint16_t flags, bool v4)
{
	struct nfgenmsg message = {
		.nfgen_family = v4 ? AF_INET : AF_INET6, .version = NFNETLINK_V0};
	struct nlmsghdr *header;

	if (batch->room - batch->len < MESSAGE_ROOM) {
		size_t room = 2 * batch->room + 16 * (size_t)MESSAGE_ROOM;
		uint8_t *grown = realloc(batch->data, room);

		if (!grown)
			return NULL;
		batch->data = grown;
		batch->room = room;
	}
	header = mnl_nlmsg_put_header(batch->data + batch->len);
	header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	header->nlmsg_seq = ++batch->last_seq;
	memcpy(mnl_nlmsg_put_extra_header(header, sizeof(message)), &message, sizeof(message));
	return header;
}

static int end(struct hf_batch *batch, const struct nlmsghdr *header)
{
	batch->len += NLMSG_ALIGN(header->nlmsg_len);
	return 0;
}

/*
 * The kernel makes the way back itself, out of the way there and the translations. Who began the
 * connection does not matter where nothing is translated.
 */
static int add_entry(struct hf_batch *batch, const struct tuple *there, const struct tuple *after,
	uint32_t timeout_s)
{
	struct nlmsghdr *header =
		begin(batch, IPCTNL_MSG_CT_NEW, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, there->v4);
	struct tuple back = reversed(there);

	if (!header)
		return -ENOMEM;
	put_tuple(header, CTA_TUPLE_ORIG, there);
	put_tuple(header, CTA_TUPLE_REPLY, &back);
	if (memcmp(after->to, there->to, sizeof(after->to)) != 0 ||
		after->to_port != there->to_port)
		put_translation(header, CTA_NAT_DST, there->v4, after->to, after->to_port);
	if (memcmp(after->from, there->from, sizeof(after->from)) != 0 ||
		after->from_port != there->from_port)
		put_translation(header, CTA_NAT_SRC, there->v4, after->from, after->from_port);
	mnl_attr_put_u32(header, CTA_TIMEOUT, htonl(timeout_s));
	mnl_attr_put_u32(header, CTA_STATUS, htonl(IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED));
	put_protocol(header, true);
	return end(batch, header);
}

/* The one that is there may be from before the connection was on another host. Either direction
 * finds it. */
static int keep_entry(struct hf_batch *batch, const struct tuple *tuple, uint32_t timeout_s)
{
	struct nlmsghdr *header = begin(batch, IPCTNL_MSG_CT_NEW, NLM_F_ACK, tuple->v4);

	if (!header)
		return -ENOMEM;
	put_tuple(header, CTA_TUPLE_ORIG, tuple);
	mnl_attr_put_u32(header, CTA_TIMEOUT, htonl(timeout_s));
	put_protocol(header, false);
	return end(batch, header);
}

int hf_conntrack_ask(const struct hf_conn *conn, bool last, struct hf_batch *batch)
{
	const struct tuple tuple = make_tuple(conn->family, &conn->local, &conn->peer);
	struct nlmsghdr *header = begin(batch, IPCTNL_MSG_CT_GET, last ? NLM_F_ACK : 0, tuple.v4);

	if (!header)
		return -ENOMEM;
	put_tuple(header, CTA_TUPLE_ORIG, &tuple);
	return end(batch, header);
}

/* ---- which of a connection's names is whose */

static int compare_ends(enum hf_family family_a, const struct hf_endpoint *a,
	enum hf_family family_b, const struct hf_endpoint *b)
{
	uint8_t ip_a[16], ip_b[16];
	int order = !hf_endpoint_ipv4(family_a, a) - !hf_endpoint_ipv4(family_b, b);

	set_ip(ip_a, family_a, a);
	set_ip(ip_b, family_b, b);
	order = order ? order : memcmp(ip_a, ip_b, sizeof(ip_a));
	return order ? order : (a->port > b->port) - (a->port < b->port);
}

static const struct hf_endpoint *inside(const struct hf_alias *alias)
{
	return alias->inside.port ? &alias->inside : &alias->peer;
}

static int compare_peers(const void *left, const void *right)
{
	const struct hf_alias *a = *(const struct hf_alias *const *)left;
	const struct hf_alias *b = *(const struct hf_alias *const *)right;

	return compare_ends(a->family, inside(a), b->family, inside(b));
}

/* The place of the first alias that is not before this peer. */
static uint32_t find_peer(const struct hf_conntrack *conntrack, const struct hf_conn *conn)
{
	uint32_t low = 0, high = conntrack->n_aliases;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct hf_alias *alias = conntrack->aliases[middle];

		if (compare_ends(alias->family, inside(alias), conn->family, &conn->peer) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* How a connection is called outside of the host that it was on, or NULL: the same, or it cannot be
 * told. */
static const struct hf_alias *find_alias(
	const struct hf_conntrack *conntrack, const struct hf_conn *conn)
{
	const struct hf_alias *found = NULL;

	for (uint32_t i = find_peer(conntrack, conn); i < conntrack->n_aliases; i++) {
		const struct hf_alias *alias = conntrack->aliases[i];

		if (compare_ends(alias->family, inside(alias), conn->family, &conn->peer) != 0)
			break;
		/* Another one's, on the part of the way where only our end is translated. */
		if (!alias->inside.port &&
			compare_ends(alias->family, &alias->local, conn->family, &conn->local) == 0)
			continue;
		if (found)
			return NULL;
		found = alias;
	}
	return found;
}

static bool is_listened(const struct hf_image *image, uint16_t port)
{
	for (uint32_t i = 0; i < image->n_conns; i++)
		if (image->conns[i].state == HF_TCP_LISTEN && image->conns[i].local.port == port)
			return true;
	return false;
}

int hf_conntrack_init(struct hf_conntrack *conntrack, const struct hf_image *image)
{
	conntrack->image = image;
	conntrack->aliases = calloc((size_t)image->n_aliases + 1, sizeof(struct hf_alias *));
	if (!conntrack->aliases)
		return -ENOMEM;
	for (uint32_t i = 0; i < image->n_aliases; i++)
		if (image->aliases[i].peer.port)
			conntrack->aliases[conntrack->n_aliases++] = &image->aliases[i];
	qsort(conntrack->aliases, conntrack->n_aliases, sizeof(struct hf_alias *), compare_peers);
	return 0;
}

void hf_conntrack_clear(struct hf_conntrack *conntrack)
{
	free(conntrack->aliases);
	memset(conntrack, 0, sizeof(*conntrack));
}

bool hf_conntrack_concerns(const struct hf_conn *conn)
{
	return hf_tcp_row(conn->state, conn->closed)->connected &&
	       !hf_ip_is_loopback(conn->family, conn->local.ip);
}

int hf_conntrack_put(const struct hf_conntrack *conntrack, uint32_t i, uint32_t timeout_s,
	struct hf_batch *batch)
{
	const struct hf_conn *conn = &conntrack->image->conns[i];
	struct tuple out, in, outside;
	const struct hf_alias *alias;
	int ret;

	if (!hf_conntrack_concerns(conn))
		return 0;
	alias = find_alias(conntrack, conn);
	out = outside = make_tuple(conn->family, &conn->local, &conn->peer);
	if (alias)
		outside = make_tuple(alias->family, &alias->local, &alias->peer);
	if (alias && !is_listened(conntrack->image, conn->local.port)) {
		ret = add_entry(batch, &out, &outside, timeout_s);
	} else {
		in = reversed(&outside);
		outside = reversed(&out);
		ret = add_entry(batch, &in, &outside, timeout_s);
	}
	return ret < 0 ? ret : 1;
}

int hf_conntrack_keep(const struct hf_conntrack *conntrack, uint32_t i, uint32_t timeout_s,
	struct hf_batch *batch)
{
	const struct hf_conn *conn = &conntrack->image->conns[i];
	const struct tuple out = make_tuple(conn->family, &conn->local, &conn->peer);
	int ret;

	if (!hf_conntrack_concerns(conn))
		return 0;
	ret = keep_entry(batch, &out, timeout_s);
	return ret < 0 ? ret : 1;
}
