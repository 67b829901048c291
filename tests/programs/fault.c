// SPDX-License-Identifier: GPL-2.0-or-later
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_ANSWERS 64

enum what { FAIL, LOST, INTERRUPTED, REFUSED, HOOK };

void (*hf_fault_hook)(void);

static struct {
	char function[16];
	int protocol; /* -1: any socket */
	int at;
	bool and_later, fired;
	enum what what;
	int error;
	int calls;
	/* What the kernel is said to have answered. */
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} answers[MAX_ANSWERS];
	int n_answers;
} fault;

static const struct {
	const char *name;
	enum what what;
	int error;
} whats[] = {
	{"EAGAIN", FAIL, EAGAIN},
	{"EBUSY", FAIL, EBUSY},
	{"EINTR", FAIL, EINTR},
	{"EMFILE", FAIL, EMFILE},
	{"ENOBUFS", FAIL, ENOBUFS},
	{"ENOMEM", FAIL, ENOMEM},
	{"EPERM", FAIL, EPERM},
	{"lost", LOST, ENOBUFS},
	{"interrupted", INTERRUPTED, 0},
	{"refused", REFUSED, 0},
	{"hook", HOOK, 0},
};

bool hf_fault_set(const char *text)
{
	char what[16], later[2];

	memset(&fault, 0, sizeof(fault));
	fault.protocol = -1;
	if (!text)
		return true;
	if (sscanf(text, "%15[a-z]@%d:%d", fault.function, &fault.protocol, &fault.at) != 3 &&
		sscanf(text, "%15[a-z]:%d", fault.function, &fault.at) != 2)
		return false;
	text = strchr(text, ':') + 1;
	fault.and_later = sscanf(text, "%*d%1[+]", later) == 1;
	text = strchr(text, ':');
	if (!text || sscanf(text, ":%15s", what) != 1)
		return false;
	for (size_t i = 0; i < sizeof(whats) / sizeof(whats[0]); i++)
		if (strcmp(what, whats[i].name) == 0) {
			fault.what = whats[i].what;
			fault.error = whats[i].error;
			return true;
		}
	return false;
}

bool hf_fault_fired(void)
{
	return fault.fired;
}

__attribute__((constructor)) static void from_environment(void)
{
	if (!hf_fault_set(getenv("HF_FAULT"))) {
		fprintf(stderr, "HF_FAULT is wrong\n");
		_Exit(2);
	}
}

static void *next(const char *function)
{
	void *found = dlsym(RTLD_NEXT, function);

	if (!found)
		abort();
	return found;
}

static bool counts(int sock)
{
	int (*get)(int, int, int, void *, socklen_t *) = next("getsockopt");
	int domain = 0, protocol = 0, before = errno;
	socklen_t len = sizeof(int);

	if (fault.protocol < 0)
		return true;
	get(sock, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	get(sock, SOL_SOCKET, SO_PROTOCOL, &protocol, &len);
	errno = before;
	return domain == AF_NETLINK && protocol == fault.protocol;
}

/* Whether this is the call; sock is -1 where there is none yet. */
static bool fires(const char *function, int sock)
{
	if (fault.at == 0 || strcmp(function, fault.function) != 0)
		return false;
	if (sock >= 0 && !counts(sock))
		return false;
	fault.calls++;
	if (fault.calls != fault.at && !(fault.and_later && fault.calls > fault.at))
		return false;
	/* Once in a log, for those who cannot ask. */
	if (!fault.fired && getenv("HF_FAULT"))
		fprintf(stderr, "HF_FAULT fired\n");
	fault.fired = true;
	return true;
}

/* True where the call fails: then errno is set. */
static bool fails(const char *function, int sock)
{
	if (!fires(function, sock))
		return false;
	if (fault.what == HOOK && hf_fault_hook)
		hf_fault_hook();
	if (fault.what != FAIL)
		return false;
	errno = fault.error;
	return true;
}

int socket(int domain, int type, int protocol)
{
	int (*real)(int, int, int) = next("socket");

	if (domain == AF_NETLINK && (fault.protocol < 0 || fault.protocol == protocol) &&
		fails("socket", -1))
		return -1;
	return real(domain, type, protocol);
}

int bind(int sock, const struct sockaddr *address, socklen_t len)
{
	int (*real)(int, const struct sockaddr *, socklen_t) = next("bind");

	return fails("bind", sock) ? -1 : real(sock, address, len);
}

int setsockopt(int sock, int level, int option, const void *value, socklen_t len)
{
	int (*real)(int, int, int, const void *, socklen_t) = next("setsockopt");

	return fails("setsockopt", sock) ? -1 : real(sock, level, option, value, len);
}

int getsockname(int sock, struct sockaddr *address, socklen_t *len)
{
	int (*real)(int, struct sockaddr *, socklen_t *) = next("getsockname");

	return fails("getsockname", sock) ? -1 : real(sock, address, len);
}

static void answer(uint32_t seq, int error)
{
	if (fault.n_answers == MAX_ANSWERS)
		abort();
	fault.answers[fault.n_answers].header = (struct nlmsghdr){
		.nlmsg_len = sizeof(fault.answers[0]), .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = seq};
	fault.answers[fault.n_answers++].error = (struct nlmsgerr){.error = error};
}

/* nfnetlink_rcv_batch(): a failing commit answers to the batch's first message, and all the other
 * answers are delivered after it, the last one's acknowledgement too. */
static void refuse(const void *batch, size_t len)
{
	const struct nlmsghdr *header = batch;

	answer(header->nlmsg_seq, -EBUSY);
	for (size_t at = 0; at + sizeof(*header) <= len; at += NLMSG_ALIGN(header->nlmsg_len)) {
		header = (const struct nlmsghdr *)((const char *)batch + at);
		if (header->nlmsg_flags & NLM_F_ACK)
			answer(header->nlmsg_seq, 0);
		if (header->nlmsg_len < sizeof(*header))
			break;
	}
}

ssize_t sendto(int sock, const void *data, size_t len, int flags, const struct sockaddr *to,
	socklen_t to_len)
{
	ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) =
		next("sendto");
	bool now = fires("sendto", sock);

	if (now && fault.what == REFUSED) {
		refuse(data, len);
		return (ssize_t)len;
	}
	if (now && fault.what == FAIL) {
		errno = fault.error;
		return -1;
	}
	return real(sock, data, len, flags, to, to_len);
}

static ssize_t made_up_answer(void *buf, size_t len)
{
	if (len > sizeof(fault.answers[0]))
		len = sizeof(fault.answers[0]);
	memcpy(buf, &fault.answers[0], len);
	fault.n_answers--;
	memmove(&fault.answers[0], &fault.answers[1],
		(size_t)fault.n_answers * sizeof(fault.answers[0]));
	return (ssize_t)len;
}

static void mark_interrupted(void *buf, ssize_t len)
{
	struct nlmsghdr *header = buf;

	for (ssize_t at = 0; at + (ssize_t)sizeof(*header) <= len;
		at += NLMSG_ALIGN(header->nlmsg_len)) {
		header = (struct nlmsghdr *)((char *)buf + at);
		header->nlmsg_flags |= NLM_F_DUMP_INTR;
		if (header->nlmsg_len < sizeof(*header))
			break;
	}
}

ssize_t recvmsg(int sock, struct msghdr *message, int flags)
{
	ssize_t (*real)(int, struct msghdr *, int) = next("recvmsg");
	bool now = fires("recvmsg", sock);
	ssize_t n;

	if (now && fault.what == HOOK && hf_fault_hook)
		hf_fault_hook();
	if (now && fault.what == FAIL) {
		errno = fault.error;
		return -1;
	}
	if (fault.n_answers > 0)
		return made_up_answer(message->msg_iov->iov_base, message->msg_iov->iov_len);
	n = real(sock, message, flags);
	if (now && fault.what == LOST) {
		errno = fault.error;
		return -1;
	}
	if (now && fault.what == INTERRUPTED && n > 0)
		mark_interrupted(message->msg_iov->iov_base, n);
	return n;
}

ssize_t recv(int sock, void *buf, size_t len, int flags)
{
	ssize_t (*real)(int, void *, size_t, int) = next("recv");

	if (fails("recv", sock))
		return -1;
	return fault.n_answers > 0 ? made_up_answer(buf, len) : real(sock, buf, len, flags);
}
