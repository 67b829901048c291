// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/netlink.h>
#include <stdbool.h>

#include "lib/cleanup.h"
#include "lib/conntrack.h"
#include "sys/conntrack.h"
#include "sys/netlink.h"

/* As long as the kernel keeps a quiet connection, tcp_timeouts[TCP_CONNTRACK_ESTABLISHED]. */
#define FIVE_DAYS (5u * 24 * 60 * 60)

/* What was said of some connections: which one by which message, and which the host knew. */
struct told {
	uint32_t first_seq, conn[HF_CONNTRACK_AT_A_TIME];
	bool is_known[HF_CONNTRACK_AT_A_TIME];
	int error;
};

/* -EEXIST: it knows the connection. -ENOENT: that has ended since. */
static void take_answer(const struct nlmsghdr *answer, void *context)
{
	const struct nlmsgerr *result = mnl_nlmsg_get_payload(answer);
	struct told *told = context;
	uint32_t i = answer->nlmsg_seq - told->first_seq;

	if (answer->nlmsg_type != NLMSG_ERROR || i >= HF_CONNTRACK_AT_A_TIME ||
		mnl_nlmsg_get_payload_len(answer) < sizeof(*result))
		return;
	told->is_known[i] = result->error == -EEXIST;
	if (result->error && result->error != -EEXIST && result->error != -ENOENT && !told->error)
		told->error = result->error;
}

/* Sends what is in the batch, and empties it. */
static int send_batch(int sock, struct hf_batch *batch, struct told *told)
{
	int ret = batch->len ? hf_netlink_each(sock, batch, take_answer, told) : 0;

	batch->len = 0;
	return ret < 0 ? ret : told->error;
}

/* Tells of the connections from `first`, as many as may be at a time. Returns the next one. */
static int tell_some(int sock, const struct hf_conntrack *conntrack, uint32_t first)
{
	struct hf_batch batch = {.first_seq = 1};
	struct told told = {.first_seq = 1};
	uint32_t i = first, n = 0;
	int ret = 0;

	for (; ret >= 0 && i < conntrack->image->n_conns && i - first < HF_CONNTRACK_AT_A_TIME;
		i++) {
		told.conn[n] = i;
		ret = hf_conntrack_put(conntrack, i, FIVE_DAYS, &batch);
		n += ret > 0;
	}
	if (ret >= 0)
		ret = send_batch(sock, &batch, &told);
	for (uint32_t k = 0; ret >= 0 && k < n; k++)
		if (told.is_known[k])
			ret = hf_conntrack_keep(conntrack, told.conn[k], FIVE_DAYS, &batch);
	told.first_seq += n;
	if (ret >= 0)
		ret = send_batch(sock, &batch, &told);
	hf_batch_clear(&batch);
	return ret < 0 ? ret : (int)i;
}

int hf_conntrack_tell(int netns, const struct hf_image *image, struct hf_error *err)
{
	hf_autoclose int sock = -1;
	struct hf_conntrack conntrack = {0};
	int ret;

	if (!hf_conntrack_is_there())
		return 0;
	sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	if (sock < 0)
		return sock;
	ret = hf_conntrack_init(&conntrack, image);
	while (ret >= 0 && (uint32_t)ret < image->n_conns)
		ret = tell_some(sock, &conntrack, (uint32_t)ret);
	hf_conntrack_clear(&conntrack);
	return ret < 0 ? hf_error_sys(err, ret, "connection tracking") : 0;
}
