// SPDX-License-Identifier: GPL-2.0-or-later
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SEC_NS + (uint64_t)ts.tv_nsec;
}

uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * SEC_NS + (uint64_t)ts.tv_nsec;
}

bool parse_address(const char *text, struct sockaddr_storage *addr, socklen_t *len)
{
	const char *colon = strrchr(text, ':');
	bool bracket = text[0] == '[';
	char host[INET6_ADDRSTRLEN];
	size_t host_len;
	char *end;
	long port;

	if (!colon || !colon[1])
		return false;
	port = strtol(colon + 1, &end, 10);
	if (*end || port < 1 || port > 65535)
		return false;
	host_len = (size_t)(colon - text);
	if (bracket) {
		if (host_len < 2 || text[host_len - 1] != ']')
			return false;
		text++;
		host_len -= 2;
	}
	if (host_len >= sizeof(host))
		return false;
	memcpy(host, text, host_len);
	host[host_len] = 0;

	memset(addr, 0, sizeof(*addr));
	if (bracket) {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;

		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*len = sizeof(*v6);
		return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
	} else {
		struct sockaddr_in *v4 = (struct sockaddr_in *)addr;

		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*len = sizeof(*v4);
		return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
	}
}

void format_address(const struct sockaddr_storage *addr, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (addr->ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;

		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else if (addr->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;

		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
	} else {
		snprintf(out, size, "?");
	}
}

bool parse_size(const char *text, uint64_t *value)
{
	static const char units[] = "kMG";
	const char *unit;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (!*end)
		return true;
	unit = strchr(units, *end);
	if (!unit || end[1])
		return false;
	*value <<= 10 * (unit - units + 1);
	return true;
}

void raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

void set_nodelay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void set_buffer(int fd, int force, int plain, uint64_t size)
{
	int value = size > INT32_MAX / 2 ? INT32_MAX / 2 : (int)size;

	if (value && setsockopt(fd, SOL_SOCKET, force, &value, sizeof(value)))
		setsockopt(fd, SOL_SOCKET, plain, &value, sizeof(value));
}

void set_buffers(int fd, uint64_t sndbuf, uint64_t rcvbuf)
{
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, sndbuf);
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, rcvbuf);
}

void bucket_init(struct bucket *b, uint64_t rate, uint64_t now)
{
	b->rate = rate;
	b->least = 0;
	b->last = now;
	b->tokens = 0;
}

void bucket_pace(struct bucket *b, uint64_t least, uint64_t number)
{
	b->least = least;
	b->tokens = (double)(number % 1000) * (double)least / 1000;
}

size_t bucket_allows(struct bucket *b, size_t want, uint64_t now)
{
	double least = b->least > 1 ? (double)b->least : 1;
	double most = (double)b->rate / 10 > least ? (double)b->rate / 10 : least;

	if (!b->rate)
		return want;
	if (now > b->last)
		b->tokens += (double)(now - b->last) * (double)b->rate / (double)SEC_NS;
	b->last = now;
	if (b->tokens > most)
		b->tokens = most;
	if (b->tokens < (double)b->least)
		return 0;
	return b->tokens < (double)want ? (size_t)b->tokens : want;
}

void bucket_use(struct bucket *b, size_t used)
{
	if (b->rate)
		b->tokens -= (double)used;
}
