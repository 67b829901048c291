// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/net_addresses.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "sys/netlink.h"

struct list {
	struct hf_address *all;
	uint32_t n, room, most;
};

/* The attribute with the address of our own end, which of a point-to-point device is not
 * IFA_ADDRESS. */
static const struct nlattr *find_local(const struct nlmsghdr *header)
{
	const struct nlattr *attr, *address = NULL;

	mnl_attr_for_each (attr, header, sizeof(struct ifaddrmsg)) {
		if (mnl_attr_get_type(attr) == IFA_LOCAL)
			return attr;
		if (mnl_attr_get_type(attr) == IFA_ADDRESS)
			address = attr;
	}
	return address;
}

static struct hf_address *new_address(struct list *list)
{
	if (list->n == list->room) {
		uint32_t room = list->room ? 2 * list->room : 16;
		struct hf_address *grown = realloc(list->all, room * sizeof(*grown));

		if (!grown)
			return NULL;
		list->all = grown;
		list->room = room;
	}
	memset(&list->all[list->n], 0, sizeof(list->all[0]));
	return &list->all[list->n++];
}

static int take(const struct nlmsghdr *header, void *context)
{
	const struct ifaddrmsg *msg = mnl_nlmsg_get_payload(header);
	struct list *list = context;
	struct hf_address *address;
	const struct nlattr *attr;
	uint8_t ip[16] = {0};
	size_t len;

	if (header->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(header) < sizeof(*msg))
		return MNL_CB_OK;
	len = msg->ifa_family == AF_INET ? 4 : msg->ifa_family == AF_INET6 ? 16 : 0;
	attr = find_local(header);
	if (!len || !attr || mnl_attr_get_payload_len(attr) != len || list->n == list->most)
		return MNL_CB_OK;
	memcpy(ip, mnl_attr_get_payload(attr), len);
	if (hf_ip_is_loopback(len == 4 ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6, ip))
		return MNL_CB_OK;
	address = new_address(list);
	if (!address) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	address->family = len == 4 ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6;
	memcpy(address->ip, ip, sizeof(ip));
	return MNL_CB_OK;
}

static void restart(void *context)
{
	struct list *list = context;

	list->n = 0;
}

static int list(
	int netns, mnl_cb_t each, void (*again)(void *), void *context, struct hf_error *err)
{
	char buf[NLMSG_SPACE(sizeof(struct ifaddrmsg))] __attribute__((aligned(8))) = {0};
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_ROUTE, err);
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	int ret = sock;

	header->nlmsg_type = RTM_GETADDR;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = 1;
	mnl_nlmsg_put_extra_header(header, sizeof(struct ifaddrmsg));
	if (ret >= 0)
		ret = hf_netlink_dump(sock, header, each, again, context, err);
	return ret < 0 ? hf_error_context(err, ret, "cannot list the addresses") : 0;
}

int hf_net_addresses(
	int netns, uint32_t most, struct hf_address **addresses, uint32_t *n, struct hf_error *err)
{
	struct list found = {.most = most};
	int ret = list(netns, take, restart, &found, err);

	if (ret < 0) {
		free(found.all);
		return ret;
	}
	*addresses = found.all;
	*n = found.n;
	return 0;
}

struct wanted {
	const uint8_t *ip;
	bool tentative;
};

static int look(const struct nlmsghdr *header, void *context)
{
	const struct ifaddrmsg *msg = mnl_nlmsg_get_payload(header);
	struct wanted *wanted = context;
	const struct nlattr *attr;

	if (header->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(header) < sizeof(*msg))
		return MNL_CB_OK;
	attr = find_local(header);
	if (msg->ifa_family == AF_INET6 && attr && mnl_attr_get_payload_len(attr) == 16 &&
		memcmp(mnl_attr_get_payload(attr), wanted->ip, 16) == 0)
		wanted->tentative =
			msg->ifa_flags & IFA_F_TENTATIVE && !(msg->ifa_flags & IFA_F_DADFAILED);
	return MNL_CB_OK;
}

static void look_again(void *context)
{
	struct wanted *wanted = context;

	wanted->tentative = false;
}

bool hf_net_address_tentative(int netns, const uint8_t ip[16])
{
	struct wanted wanted = {.ip = ip};

	return list(netns, look, look_again, &wanted, NULL) == 0 && wanted.tentative;
}
