// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/netns.h"

#define RECEIVE_SIZE  (256u << 10)
#define RECEIVE_QUEUE (4 << 20) /* an error message for every element fits */
#define ATTEMPTS      8

int hf_netlink_open(int netns, int protocol, struct hf_error *err)
{
	struct sockaddr_nl local = {.nl_family = AF_NETLINK};
	hf_autoclose int sock = hf_netns_socket(netns, AF_NETLINK, SOCK_RAW, protocol, err);
	int size = RECEIVE_QUEUE;
	int on = 1;

	if (sock < 0)
		return sock;
	if (bind(sock, (struct sockaddr *)&local, sizeof(local)) < 0)
		return hf_error_sys(err, -errno, "cannot bind a netlink socket");
	/* Best effort: without it the kernel echoes whole requests in its errors. */
	setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return hf_steal_fd(&sock);
}

static int send_all(int sock, const void *data, size_t len)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	ssize_t n;

	do {
		n = sendto(sock, data, len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* One datagram from the kernel; those of other senders are thrown away. */
static ssize_t receive(int sock, void *buf, size_t len)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		struct iovec part = {buf, len};
		struct msghdr message = {.msg_name = &from,
			.msg_namelen = sizeof(from),
			.msg_iov = &part,
			.msg_iovlen = 1};
		ssize_t n = recvmsg(sock, &message, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (from.nl_pid != 0)
			continue;
		return message.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
	}
}

/* Reads answers until the acknowledgement of last_seq or an error that ends the batch. */
static int batch_answer(int sock, const struct hf_batch *batch)
{
	hf_autofree char *buf = malloc(RECEIVE_SIZE);
	int first_error = 0;

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = receive(sock, buf, RECEIVE_SIZE);
		int left = (int)n;

		if (n < 0)
			return (int)n;
		for (struct nlmsghdr *at = (struct nlmsghdr *)buf; mnl_nlmsg_ok(at, left);
			at = mnl_nlmsg_next(at, &left)) {
			const struct nlmsgerr *answer = mnl_nlmsg_get_payload(at);

			if (at->nlmsg_type != NLMSG_ERROR ||
				mnl_nlmsg_get_payload_len(at) < sizeof(*answer) ||
				at->nlmsg_seq < batch->first_seq || at->nlmsg_seq > batch->last_seq)
				continue;
			if (answer->error && !first_error)
				first_error = answer->error;
			/* The commit itself answers with the sequence number of the batch's begin.
			 */
			if (at->nlmsg_seq == batch->last_seq ||
				(at->nlmsg_seq == batch->first_seq && answer->error))
				return first_error;
		}
	}
}

int hf_netlink_batch(int sock, const struct hf_batch *batch)
{
	int ret = -EBUSY;

	for (int attempt = 0; attempt < ATTEMPTS && (ret == -EBUSY || ret == -EAGAIN); attempt++) {
		int size = (int)batch->len + (1 << 16);

		/* A batch is one datagram, so all of it must fit into the send buffer. */
		if (setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
			return -errno;
		ret = send_all(sock, batch->data, batch->len);
		if (ret == 0)
			ret = batch_answer(sock, batch);
		if (ret == -EBUSY || ret == -EAGAIN)
			usleep(1000u << attempt);
	}
	return ret;
}

static int dump_once(
	int sock, const struct nlmsghdr *request, mnl_cb_t each, void *context, char *buf)
{
	struct sockaddr_nl self = {0};
	socklen_t len = sizeof(self);
	int ret = send_all(sock, request, request->nlmsg_len);

	if (ret == 0 && getsockname(sock, (struct sockaddr *)&self, &len) < 0)
		ret = -errno;
	if (ret < 0)
		return ret;
	for (;;) {
		ssize_t n = receive(sock, buf, RECEIVE_SIZE);

		if (n < 0)
			return (int)n;
		/* Checks port id and sequence; EINTR where the kernel says the dump is
		 * inconsistent. */
		ret = mnl_cb_run(buf, (size_t)n, request->nlmsg_seq, self.nl_pid, each, context);
		if (ret < 0)
			return -errno;
		if (ret == MNL_CB_STOP)
			return 0;
	}
}

/* Throws away what an interrupted dump still delivers. */
static void drain(int sock, char *buf)
{
	while (recv(sock, buf, RECEIVE_SIZE, MSG_DONTWAIT) > 0)
		;
}

int hf_netlink_dump(int sock, const struct nlmsghdr *request, mnl_cb_t each,
	void (*restart)(void *), void *context, struct hf_error *err)
{
	hf_autofree char *buf = malloc(RECEIVE_SIZE);
	int ret = -EINTR;

	if (!buf)
		return hf_error_sys(err, -ENOMEM, "cannot read from netlink");
	for (int attempt = 0; attempt < ATTEMPTS && (ret == -EINTR || ret == -ENOBUFS); attempt++) {
		if (attempt > 0)
			drain(sock, buf);
		restart(context);
		ret = dump_once(sock, request, each, context, buf);
	}
	return ret < 0 ? hf_error_sys(err, ret, "cannot read from netlink") : 0;
}
