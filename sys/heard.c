// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/heard.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "sys/netlink.h"
#include "sys/sock_diag.h"

struct answers {
	const struct hf_conn *const *conns;
	uint32_t n;
	uint32_t within_ms;
	bool *heard;
};

int hf_heard_open(int netns, struct hf_error *err)
{
	return hf_netlink_open(netns, NETLINK_SOCK_DIAG, err);
}

/* The number of a message is the place of its connection, and one. */
static void put_request(uint8_t *at, const struct hf_conn *conn, uint32_t number)
{
	struct nlmsghdr *header = hf_diag_put_request(at, conn->family, &conn->local, &conn->peer);
	struct inet_diag_req_v2 *request = mnl_nlmsg_get_payload(header);

	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	header->nlmsg_seq = number;
	request->idiag_ext = 1 << (INET_DIAG_INFO - 1);
}

/* A rebuilt socket counts from 0. */
static bool has_spoken(const struct nlattr *attr, uint32_t within_ms)
{
	struct tcp_info info = {0};
	size_t len = mnl_attr_get_payload_len(attr);

	memcpy(&info, mnl_attr_get_payload(attr), len < sizeof(info) ? len : sizeof(info));
	return info.tcpi_data_segs_in > 0 && info.tcpi_last_data_recv < within_ms;
}

static void take(const struct nlmsghdr *header, void *context)
{
	const struct inet_diag_msg *msg = mnl_nlmsg_get_payload(header);
	struct answers *answers = context;
	const struct nlattr *attr;
	uint32_t i = header->nlmsg_seq - 1;

	/* A listener is found where the connection is gone. */
	if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || i >= answers->n ||
		mnl_nlmsg_get_payload_len(header) < sizeof(*msg) ||
		msg->id.idiag_dport != htons(answers->conns[i]->peer.port))
		return;
	/* cppcheck-suppress unknownMacro */
	mnl_attr_for_each (attr, header, sizeof(*msg))
		if (mnl_attr_get_type(attr) == INET_DIAG_INFO)
			answers->heard[i] = has_spoken(attr, answers->within_ms);
}

void hf_heard(int sock, const struct hf_conn *const *conns, uint32_t n, uint32_t within_ms,
	bool heard[HF_HEARD_MAX])
{
	uint8_t buf[HF_HEARD_MAX * HF_DIAG_REQUEST_SIZE] __attribute__((aligned(4))) = {0};
	struct answers answers = {conns, n < HF_HEARD_MAX ? n : HF_HEARD_MAX, within_ms, heard};
	struct hf_batch batch = {.data = buf, .first_seq = 1, .last_seq = answers.n};

	memset(heard, 0, HF_HEARD_MAX * sizeof(*heard));
	for (uint32_t i = 0; i < answers.n; i++)
		put_request(buf + i * HF_DIAG_REQUEST_SIZE, conns[i], i + 1);
	if (answers.n == 0)
		return;
	/* One acknowledgement, at the end, is enough. */
	((struct nlmsghdr *)(buf + (answers.n - 1) * HF_DIAG_REQUEST_SIZE))->nlmsg_flags |=
		NLM_F_ACK;
	batch.len = answers.n * HF_DIAG_REQUEST_SIZE;
	hf_netlink_each(sock, &batch, take, &answers);
}
