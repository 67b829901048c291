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

/*
 * One datagram from the kernel; those of other senders are thrown away. Never waits: the kernel
 * answers a request before sendto() returns, and goes on with a dump inside recvmsg(). So where
 * nothing is there, the answer was lost.
 */
static ssize_t receive(int sock, void *buf, size_t len)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		struct iovec part = {buf, len};
		struct msghdr message = {.msg_name = &from,
			.msg_namelen = sizeof(from),
			.msg_iov = &part,
			.msg_iovlen = 1};
		ssize_t n = recvmsg(sock, &message, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ENOBUFS : -errno;
		if (from.nl_pid != 0)
			continue;
		return message.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
	}
}

/*
 * Throws away the answers to what was asked before. To the end, also past errors: the kernel
 * refuses a new dump while one is unread (EBUSY), and an old acknowledgement has the number of a
 * new one.
 */
static void drain(int sock, char *buf)
{
	int errors = 0;

	while (errors < ATTEMPTS) {
		ssize_t n = recv(sock, buf, RECEIVE_SIZE, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno == EAGAIN))
			return;
		errors += n < 0;
	}
}

/* Reads answers until the acknowledgement of last_seq or an error that ends the batch. */
static int batch_answer(int sock, const struct hf_batch *batch, char *buf)
{
	int first_error = 0;

	for (;;) {
		ssize_t n = receive(sock, buf, RECEIVE_SIZE);
		int left = (int)n;

		/* Whatever the reason, the kernel has done something and we do not know what. */
		if (n < 0)
			return -ENOBUFS;
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
	/* Before anything is sent: afterwards there is no way back. */
	hf_autofree char *buf = malloc(RECEIVE_SIZE);
	int size = (int)batch->len + (1 << 16);
	int ret = -EBUSY;

	if (!buf)
		return -ENOMEM;
	/* A batch is one datagram, so all of it must fit into the send buffer. */
	if (setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		return -errno;
	for (int attempt = 0; attempt < ATTEMPTS && (ret == -EBUSY || ret == -EAGAIN); attempt++) {
		if (attempt > 0)
			usleep(1000u << attempt);
		drain(sock, buf);
		ret = send_all(sock, batch->data, batch->len);
		if (ret == 0)
			ret = batch_answer(sock, batch, buf);
	}
	return ret;
}

int hf_netlink_each(int sock, const struct hf_batch *batch,
	void (*each)(const struct nlmsghdr *, void *), void *context)
{
	hf_autofree char *buf = malloc(RECEIVE_SIZE);
	int ret = buf ? send_all(sock, batch->data, batch->len) : -ENOMEM;

	while (ret == 0) {
		ssize_t n = receive(sock, buf, RECEIVE_SIZE);
		int left = (int)n;

		if (n < 0)
			return (int)n;
		for (struct nlmsghdr *at = (struct nlmsghdr *)buf; mnl_nlmsg_ok(at, left);
			at = mnl_nlmsg_next(at, &left)) {
			each(at, context);
			if (at->nlmsg_type == NLMSG_ERROR && at->nlmsg_seq == batch->last_seq)
				return 0;
		}
	}
	return ret;
}

static int on_error(const struct nlmsghdr *header, void *context)
{
	const struct nlmsgerr *answer = mnl_nlmsg_get_payload(header);

	(void)context;
	if (mnl_nlmsg_get_payload_len(header) < sizeof(*answer)) {
		errno = EBADMSG;
		return MNL_CB_ERROR;
	}
	errno = -answer->error;
	return answer->error ? MNL_CB_ERROR : MNL_CB_STOP;
}

/* A dump that fails on its way says so at its end, where libmnl's own handler does not look. */
static int on_done(const struct nlmsghdr *header, void *context)
{
	const int *result = mnl_nlmsg_get_payload(header);

	(void)context;
	if (mnl_nlmsg_get_payload_len(header) < sizeof(*result) || *result >= 0)
		return MNL_CB_STOP;
	errno = -*result;
	return MNL_CB_ERROR;
}

static int dump_once(
	int sock, const struct nlmsghdr *request, mnl_cb_t each, void *context, char *buf)
{
	static const mnl_cb_t control[] = {[NLMSG_ERROR] = on_error, [NLMSG_DONE] = on_done};
	struct sockaddr_nl self = {0};
	socklen_t len = sizeof(self);
	int ret = 0;

	if (getsockname(sock, (struct sockaddr *)&self, &len) < 0)
		ret = -errno;
	if (ret == 0)
		ret = send_all(sock, request, request->nlmsg_len);
	if (ret < 0)
		return ret;
	for (;;) {
		ssize_t n = receive(sock, buf, RECEIVE_SIZE);

		if (n < 0)
			return (int)n;
		/* Checks port id and sequence; EINTR where the kernel says the dump is
		 * inconsistent. */
		ret = mnl_cb_run2(buf, (size_t)n, request->nlmsg_seq, self.nl_pid, each, context,
			control, sizeof(control) / sizeof(control[0]));
		if (ret < 0)
			return -errno;
		if (ret == MNL_CB_STOP)
			return 0;
	}
}

int hf_netlink_dump(int sock, const struct nlmsghdr *request, mnl_cb_t each,
	void (*restart)(void *), void *context, struct hf_error *err)
{
	hf_autofree char *buf = malloc(RECEIVE_SIZE);
	int ret = -EINTR;

	if (!buf)
		return hf_error_sys(err, -ENOMEM, "cannot read from netlink");
	for (int attempt = 0;
		attempt < ATTEMPTS && (ret == -EINTR || ret == -ENOBUFS || ret == -EBUSY);
		attempt++) {
		if (attempt > 0)
			drain(sock, buf);
		restart(context);
		ret = dump_once(sock, request, each, context, buf);
	}
	return ret < 0 ? hf_error_sys(err, ret, "cannot read from netlink") : 0;
}
