// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/in_flight.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/sockopt_int.h"

#define MAX_FDS     253 /* kernel SCM_MAX_FD */
#define MAX_DEPTH   4   /* kernel MAX_RECURSION_LEVEL of unix sockets in unix sockets */
#define FDINFO_SIZE 512

struct walk {
	int (*each)(int fd, void *context, struct hf_error *err);
	void *context;
	struct hf_error *err;
};

static int walk_queue(const struct walk *walk, int sock, int depth);

static bool is_socket_of(int fd, int domain)
{
	int value = 0;

	return hf_get_int(fd, SOL_SOCKET, SO_DOMAIN, &value) == 0 && value == domain;
}

static int visit(const struct walk *walk, int fd, int depth)
{
	if (is_socket_of(fd, AF_UNIX))
		return depth < MAX_DEPTH ? walk_queue(walk, fd, depth + 1) : 0;
	if (is_socket_of(fd, AF_INET) || is_socket_of(fd, AF_INET6))
		return walk->each(fd, walk->context, walk->err);
	return 0;
}

/* SO_PASSPIDFD of the owner makes the kernel add a pidfd of the sender. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

/* Takes all descriptors out of a message, visits them and closes them. */
static int visit_all(const struct walk *walk, struct msghdr *msg, int depth)
{
	int ret = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET ||
			(cmsg->cmsg_type != SCM_RIGHTS && cmsg->cmsg_type != SCM_PIDFD))
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (ret == 0)
				ret = visit(walk, fd, depth);
			close(fd);
		}
	}
	return ret;
}

/* The next message, from where SO_PEEK_OFF stands. Returns its length, 0 at the end. */
static int peek_one(const struct walk *walk, int sock, int depth, ssize_t *len)
{
	static char data[1 << 16]; /* CRIU's process has one thread */
	char control[CMSG_SPACE(sizeof(int) * MAX_FDS) + CMSG_SPACE(64)];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};

	do {
		*len = recvmsg(sock, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (*len < 0 && errno == EINTR);
	if (*len < 0)
		return errno == EAGAIN || errno == EINVAL || errno == ENOTCONN
			       ? 0
			       : hf_error_sys(walk->err, -errno, "cannot look into a unix socket");
	return visit_all(walk, &msg, depth);
}

/*
 * Whether a queue may have descriptors in it, without touching it: the kernel counts them (Linux
 * 5.10). Looking takes SO_PEEK_OFF, which nobody would give back if we were killed meanwhile.
 */
static bool may_have_fds(int sock)
{
	char path[64], buf[FDINFO_SIZE];
	hf_autoclose int info = -1;
	const char *line;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", sock);
	info = open(path, O_RDONLY | O_CLOEXEC);
	n = info < 0 ? -1 : read(info, buf, sizeof(buf) - 1);
	if (n <= 0)
		return true;
	buf[n] = '\0';
	line = strstr(buf, "\nscm_fds:");
	return !line || strtoul(line + strlen("\nscm_fds:"), NULL, 10) > 0;
}

static int walk_queue(const struct walk *walk, int sock, int depth)
{
	struct pollfd ready = {sock, POLLIN, 0};
	int listening = 0, old = -1, ret, reset;
	ssize_t len = 1;

	if (poll(&ready, 1, 0) <= 0 || !(ready.revents & POLLIN) || !may_have_fds(sock))
		return 0;
	if (hf_get_int(sock, SOL_SOCKET, SO_ACCEPTCONN, &listening) == 0 && listening)
		return 0;
	ret = hf_get_int(sock, SOL_SOCKET, SO_PEEK_OFF, &old);
	if (ret == 0)
		ret = hf_set_int(sock, SOL_SOCKET, SO_PEEK_OFF, 0);
	if (ret < 0)
		return hf_error_sys(walk->err, ret, "cannot look into a unix socket");
	while (ret == 0 && len > 0)
		ret = peek_one(walk, sock, depth, &len);
	reset = hf_set_int(sock, SOL_SOCKET, SO_PEEK_OFF, old);
	if (ret == 0 && reset < 0)
		ret = hf_error_sys(walk->err, reset, "cannot reset a unix socket");
	return ret;
}

int hf_in_flight(int sock, int (*each)(int fd, void *context, struct hf_error *err), void *context,
	struct hf_error *err)
{
	const struct walk walk = {each, context, err};

	return is_socket_of(sock, AF_UNIX) ? walk_queue(&walk, sock, 0) : 0;
}
