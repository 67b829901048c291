// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/sock_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "sys/netlink.h"

static void set_endpoint(struct hf_endpoint *to, const struct inet_diag_sockid *id,
	const __be32 *ip, __be16 port, uint8_t family)
{
	memcpy(to->ip, ip, family == AF_INET ? 4 : 16);
	to->port = ntohs(port);
	to->scope_id = family == AF_INET6 && hf_endpoint_is_link_local(to) ? id->idiag_if : 0;
}

static void take_attribute(struct hf_diag_socket *sock, const struct nlattr *attr)
{
	if (mnl_attr_get_payload_len(attr) < 1)
		return;
	if (mnl_attr_get_type(attr) == INET_DIAG_SKV6ONLY)
		sock->v6only = mnl_attr_get_u8(attr);
	if (mnl_attr_get_type(attr) == INET_DIAG_MD5SIG)
		sock->md5 = true;
	if (mnl_attr_get_type(attr) == INET_DIAG_ULP_INFO)
		sock->ulp = true;
	if (mnl_attr_get_type(attr) == INET_DIAG_SHUTDOWN)
		sock->shutdown = mnl_attr_get_u8(attr) & (HF_SHUTDOWN_RECV | HF_SHUTDOWN_SEND);
}

static int take(const struct nlmsghdr *header, void *context)
{
	struct hf_diag *diag = context;
	const struct inet_diag_msg *msg = mnl_nlmsg_get_payload(header);
	const struct nlattr *attr;
	struct hf_diag_socket *sock;

	if (mnl_nlmsg_get_payload_len(header) < sizeof(*msg))
		return MNL_CB_OK;
	if (diag->n == diag->room) {
		size_t room = diag->room ? 2 * diag->room : 256;
		struct hf_diag_socket *grown = realloc(diag->sockets, room * sizeof(*grown));

		if (!grown) {
			errno = ENOMEM;
			return MNL_CB_ERROR;
		}
		diag->sockets = grown;
		diag->room = room;
	}
	sock = &diag->sockets[diag->n++];
	memset(sock, 0, sizeof(*sock));
	sock->inode = msg->idiag_inode;
	sock->family = msg->idiag_family == AF_INET ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6;
	sock->state = msg->idiag_state;
	set_endpoint(
		&sock->local, &msg->id, msg->id.idiag_src, msg->id.idiag_sport, msg->idiag_family);
	set_endpoint(
		&sock->peer, &msg->id, msg->id.idiag_dst, msg->id.idiag_dport, msg->idiag_family);
	sock->unacked = sock->state == HF_TCP_LISTEN ? 0 : msg->idiag_wqueue;
	/* cppcheck-suppress unknownMacro */
	mnl_attr_for_each (attr, header, sizeof(*msg))
		take_attribute(sock, attr);
	return MNL_CB_OK;
}

static void restart(void *context)
{
	struct hf_diag *diag = context;

	diag->n = 0;
}

/*
 * The request of the first interface, before sock_diag: it is the one that lists both families at
 * once (inet_diag_dump_compat()). The kernel walks the whole table of connections for it, most of
 * which is empty, and a listing for each family would have it do so twice.
 */
static int list(int sock, struct hf_diag *diag, struct hf_error *err)
{
	char buf[NLMSG_SPACE(sizeof(struct inet_diag_req))] __attribute__((aligned(4))) = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct inet_diag_req *request = mnl_nlmsg_put_extra_header(header, sizeof(*request));

	header->nlmsg_type = TCPDIAG_GETSOCK;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = 1;
	request->idiag_states = ~0u;
	request->idiag_ext = 1 << (INET_DIAG_INFO - 1); /* with it come keys and ULP */
	return hf_netlink_dump(sock, header, take, restart, diag, err);
}

static int by_inode(const void *left, const void *right)
{
	const struct hf_diag_socket *a = left, *b = right;

	return (a->inode > b->inode) - (a->inode < b->inode);
}

int hf_sock_diag(int netns, struct hf_diag *diag, struct hf_error *err)
{
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_SOCK_DIAG, err);
	int ret = sock < 0 ? sock : list(sock, diag, err);

	if (ret < 0) {
		hf_diag_clear(diag);
		return hf_error_context(err, ret, "cannot list the TCP sockets");
	}
	if (diag->n)
		qsort(diag->sockets, diag->n, sizeof(*diag->sockets), by_inode);
	return 0;
}

const struct hf_diag_socket *hf_diag_find(const struct hf_diag *diag, uint64_t inode)
{
	struct hf_diag_socket key = {.inode = inode};

	return diag->n ? bsearch(&key, diag->sockets, diag->n, sizeof(key), by_inode) : NULL;
}

struct nlmsghdr *hf_diag_put_request(uint8_t at[HF_DIAG_REQUEST_SIZE], enum hf_family family,
	const struct hf_endpoint *local, const struct hf_endpoint *peer)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(at);
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(header, sizeof(*request));

	header->nlmsg_flags = NLM_F_REQUEST;
	request->sdiag_family = family == HF_FAMILY_IPV4 ? AF_INET : AF_INET6;
	request->sdiag_protocol = IPPROTO_TCP;
	request->idiag_states = ~0u;
	request->id.idiag_sport = htons(local->port);
	request->id.idiag_dport = htons(peer->port);
	memcpy(request->id.idiag_src, local->ip, sizeof(local->ip));
	memcpy(request->id.idiag_dst, peer->ip, sizeof(peer->ip));
	request->id.idiag_if = local->scope_id;
	request->id.idiag_cookie[0] = request->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	return header;
}

int hf_sock_destroy(int netns, const struct hf_diag_socket *sock)
{
	uint8_t buf[HF_DIAG_REQUEST_SIZE] __attribute__((aligned(4))) = {0};
	struct nlmsghdr *header = hf_diag_put_request(buf, sock->family, &sock->local, &sock->peer);
	struct hf_batch batch = {
		.data = buf, .len = header->nlmsg_len, .first_seq = 1, .last_seq = 1};
	hf_autoclose int netlink = hf_netlink_open(netns, NETLINK_SOCK_DIAG, NULL);

	header->nlmsg_type = SOCK_DESTROY;
	header->nlmsg_flags |= NLM_F_ACK;
	header->nlmsg_seq = 1;
	return netlink < 0 ? netlink : hf_netlink_batch(netlink, &batch);
}

void hf_diag_clear(struct hf_diag *diag)
{
	free(diag->sockets);
	memset(diag, 0, sizeof(*diag));
}
