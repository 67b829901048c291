// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/netlink.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/conntrack.h"
#include "sys/conntrack.h"
#include "sys/netlink.h"

/* There while connection tracking is loaded, in every network namespace. It is not to be loaded for
 * this. */
#define LOADED "/proc/sys/net/netfilter/nf_conntrack_max"

/* Connections at a time: all answers must find room in our socket. */
#define AT_A_TIME 128

/* As long as the kernel keeps a quiet connection, tcp_timeouts[TCP_CONNTRACK_ESTABLISHED]. */
#define FIVE_DAYS (5u * 24 * 60 * 60)

/* -EEXIST: it knows the connection. -ENOENT: that has ended since. */
static void take_answer(const struct nlmsghdr *answer, void *context)
{
	const struct nlmsgerr *result = mnl_nlmsg_get_payload(answer);
	int *error = context;

	if (answer->nlmsg_type == NLMSG_ERROR &&
		mnl_nlmsg_get_payload_len(answer) >= sizeof(*result) && result->error &&
		result->error != -EEXIST && result->error != -ENOENT && !*error)
		*error = result->error;
}

/* Tells of the connections from `first`, as many as may be at a time. Returns the next one. */
static int tell_some(int sock, const struct hf_conntrack *conntrack, uint32_t first)
{
	struct hf_batch batch = {.first_seq = 1};
	uint32_t i = first;
	int ret = 0, error = 0;

	for (; ret >= 0 && i < conntrack->image->n_conns && i - first < AT_A_TIME; i++)
		ret = hf_conntrack_put(conntrack, i, FIVE_DAYS, &batch);
	if (ret >= 0)
		ret = batch.len ? hf_netlink_each(sock, &batch, take_answer, &error) : 0;
	hf_batch_clear(&batch);
	ret = ret < 0 ? ret : error;
	return ret < 0 ? ret : (int)i;
}

int hf_conntrack_tell(int netns, const struct hf_image *image, struct hf_error *err)
{
	hf_autoclose int sock = -1;
	struct hf_conntrack conntrack = {0};
	int ret;

	if (access(LOADED, F_OK) < 0)
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
