// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One accepted connection of hf-server.
 *
 * There are no buffers: what is to be sent follows from the position in the stream, the same for
 * the echo of what was read and found right. So all state of a connection is two positions.
 *
 * No timer looks after connections that could go on: a wake-up that is lost by a restore must show
 * as a connection that stands still.
 */
#include "server-conn.h"

#include "common.h"
#include "stream.h"
#include "wire.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/sockios.h>
#include <linux/tcp.h>

#define CHUNK   (64 * 1024)
#define STOPPED (SEC_NS / 2) /* between two turns: nobody ran us */
#define QUANTUM (4 * CHUNK)  /* what one connection may read or write before others get a turn */

struct conn {
	int fd;
	int duplicate; /* SHARE_DUP, else -1 */
	pid_t holder;  /* SHARE_FORK, else 0 */
	uint32_t interest;
	struct sockaddr_storage peer;

	struct wire_header header;
	size_t header_len;
	char message[64]; /* hello or trailer on its way out */
	size_t message_len, message_sent;
	bool last_message;

	uint64_t up, down; /* positions: read and checked, written */
	int64_t up_bad;
	struct bucket read_limit, write_limit;
	uint64_t resumed, advanced; /* as the trailer says */
	uint64_t begun;             /* by the wall's clock */
	bool eof, holding, awake;
	bool ending;                  /* the peer's FIN is here, if not yet read */
	bool read_waits, write_waits; /* for the bucket */
	uint64_t hold_until;

	bool listed;
	struct conn *next, *prev; /* in server->waiting */
};

static char scratch[CHUNK];

static void list_remove(struct server *server, struct conn *c)
{
	if (!c->listed)
		return;
	if (c->prev)
		c->prev->next = c->next;
	else
		server->waiting = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->listed = false;
}

static void list_add(struct server *server, struct conn *c)
{
	if (c->listed)
		return;
	if (!server->waiting)
		server->last_turn = 0;
	c->prev = NULL;
	c->next = server->waiting;
	if (c->next)
		c->next->prev = c;
	server->waiting = c;
	c->listed = true;
}

static void complain(struct server *server, const struct conn *c, const char *what, int error)
{
	char text[80];

	format_address(&c->peer, text, sizeof(text));
	fprintf(stderr, "hf-server: peer %s: %s%s%s (read %" PRIu64 ", written %" PRIu64 ")\n",
		text, what, error ? ": " : "", error ? strerror(error) : "", c->up, c->down);
	server->errors++;
}

static void conn_close(struct server *server, struct conn *c)
{
	list_remove(server, c);
	/* Duplicates keep the socket open, and so in the epoll set, beyond our close(). */
	epoll_ctl(server->epoll, EPOLL_CTL_DEL, c->fd, NULL);
	if (c->duplicate >= 0)
		close(c->duplicate);
	if (c->holder > 0)
		kill(c->holder, SIGKILL);
	close(c->fd);
	free(c);
}

static void conn_lost(struct server *server, struct conn *c, const char *what, int error)
{
	complain(server, c, what, error);
	conn_close(server, c);
}

/* A child whose only purpose is to have the socket open too, under another number. */
static pid_t spawn_holder(int fd)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(fd, 3) != 3)
		_exit(1);
	closefrom(4);
	for (;;)
		pause();
}

void conn_accepted(struct server *server, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};
	struct conn *c = calloc(1, sizeof(*c));
	socklen_t len = sizeof(c->peer);

	if (!c) {
		close(fd);
		server->errors++;
		return;
	}
	server->connections++;
	c->fd = fd;
	c->duplicate = -1;
	c->up_bad = -1;
	c->interest = event.events;
	getpeername(fd, (struct sockaddr *)&c->peer, &len);
	event.data.ptr = c;
	if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event)) {
		conn_lost(server, c, "epoll_ctl", errno);
		return;
	}
	if (server->share == SHARE_DUP) {
		c->duplicate = dup(fd);
		if (c->duplicate < 0)
			complain(server, c, "dup", errno);
	} else if (server->share == SHARE_FORK) {
		c->holder = spawn_holder(fd);
		if (c->holder < 0)
			complain(server, c, "fork", errno);
	}
}

static uint64_t down_limit(const struct conn *c)
{
	switch (c->header.role) {
	case WIRE_IDLE:
	case WIRE_ECHO:
		return c->up;
	case WIRE_SOURCE:
	case WIRE_DUPLEX:
		return c->eof ? c->down : UINT64_MAX;
	case WIRE_WAKE:
		return c->awake && !c->eof ? c->header.hold_out : c->down;
	case WIRE_HOLD:
		return c->header.hold_out;
	default:
		return 0;
	}
}

static bool queue_message(struct conn *c, const void *message, size_t len)
{
	_Static_assert(sizeof(struct wire_trailer) <= sizeof(c->message), "it does not fit");
	memcpy(c->message, message, len);
	c->message_len = len;
	c->message_sent = 0;
	return true;
}

static void header_complete(struct conn *c, uint64_t now)
{
	struct wire_hello hello = {.magic = WIRE_HELLO_MAGIC, .pid = (uint32_t)getpid()};

	bucket_init(&c->read_limit, c->header.read_rate, now);
	bucket_init(&c->write_limit, c->header.write_rate, now);
	bucket_pace(&c->write_limit, c->header.write_chunk, c->header.seed);
	c->begun = wall_ns();
	c->holding = c->header.role == WIRE_HOLD;
	if (c->header.hold_ms)
		c->hold_until = now + c->header.hold_ms * MS_NS;
	if (!c->header.nagle)
		set_nodelay(c->fd);
	queue_message(c, &hello, sizeof(hello));
}

/* All of the header, or nothing yet (1), or a broken one (negative errno). */
static int read_header(struct conn *c, uint64_t now)
{
	char *at = (char *)&c->header + c->header_len;
	ssize_t n = recv(c->fd, at, sizeof(c->header) - c->header_len, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 1 : -errno;
	if (n == 0)
		return -ECONNABORTED;
	c->header_len += (size_t)n;
	if (c->header_len < sizeof(c->header))
		return 1;
	if (memcmp(c->header.magic, WIRE_HEADER_MAGIC, sizeof(c->header.magic)) ||
		c->header.role >= WIRE_ROLES)
		return -EPROTO;
	header_complete(c, now);
	return 0;
}

static bool still_holding(const struct conn *c, uint64_t now)
{
	int queued = 0;

	if (c->hold_until && now >= c->hold_until)
		return false;
	return ioctl(c->fd, SIOCINQ, &queued) || (uint64_t)queued <= c->header.hold_in;
}

static void check_up(struct server *server, struct conn *c, size_t len)
{
	ssize_t bad = stream_check(scratch, len, c->header.seed, c->up);

	if (bad >= 0 && c->up_bad < 0) {
		c->up_bad = (int64_t)c->up + bad;
		complain(server, c, "wrong byte read", 0);
	}
	c->up += len;
}

/*
 * A restored socket counts anew, so it tells what came from what was in its queue. (One that was
 * only stopped has counted all the time.)
 */
static void note_advance(const struct server *server, struct conn *c)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (c->resumed != server->resumed) {
		c->resumed = server->resumed;
		c->advanced = 0;
	}
	if (c->resumed && !c->advanced && !getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) &&
		info.tcpi_data_segs_in > 0)
		c->advanced = wall_ns();
}

static int conn_read(struct server *server, struct conn *c, uint64_t now)
{
	size_t done = 0;

	if (c->holding && still_holding(c, now))
		return 0;
	c->holding = false;
	while (!c->eof && done < QUANTUM) {
		size_t want = bucket_allows(&c->read_limit, sizeof(scratch), now);
		ssize_t n;

		c->read_waits = !want;
		if (!want)
			return 0;
		n = recv(c->fd, scratch, want, 0);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		c->eof = n == 0;
		bucket_use(&c->read_limit, (size_t)n);
		check_up(server, c, (size_t)n);
		note_advance(server, c);
		done += (size_t)n;
	}
	return 0;
}

/* The hello or trailer. 0 when it is out, 1 when the socket takes no more for now. */
static int write_message(struct conn *c)
{
	while (c->message_sent < c->message_len) {
		ssize_t n = send(c->fd, c->message + c->message_sent,
			c->message_len - c->message_sent, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 1 : -errno;
		c->message_sent += (size_t)n;
	}
	return 0;
}

static int write_pattern(struct conn *c, uint64_t now)
{
	uint64_t seed = wire_seed_down(c->header.role, c->header.seed);
	size_t done = 0;

	/* Edge-triggered while holding: there, only a full socket may end this loop. */
	while (c->down < down_limit(c) && (done < QUANTUM || c->holding)) {
		uint64_t left = down_limit(c) - c->down;
		size_t want = left < sizeof(scratch) ? (size_t)left : sizeof(scratch);
		int64_t flip = c->header.flip_down - (int64_t)c->down;
		ssize_t n;

		want = bucket_allows(&c->write_limit, want, now);
		c->write_waits = !want;
		if (!want)
			return 1;
		stream_fill(scratch, want, seed, c->down);
		if (flip >= 0 && (uint64_t)flip < want)
			scratch[flip] ^= 1;
		n = send(c->fd, scratch, want, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 1 : -errno;
		bucket_use(&c->write_limit, (size_t)n);
		c->down += (size_t)n;
		done += (size_t)n;
	}
	return c->down < down_limit(c);
}

/* Negative errno, or 0; sets *finished once the trailer is out. */
static int conn_write(const struct server *server, struct conn *c, uint64_t now, bool *finished)
{
	int rc = write_message(c);

	if (!rc && !c->last_message)
		rc = write_pattern(c, now);
	if (!rc && c->eof && !c->last_message) {
		struct wire_trailer trailer = {
			.magic = WIRE_TRAILER_MAGIC,
			.down_total = c->down,
			.up_checked = c->up,
			.up_bad = c->up_bad,
			.resumed = server->resumed,
			.advanced = c->advanced,
		};

		c->last_message = queue_message(c, &trailer, sizeof(trailer));
		rc = write_message(c);
	}
	*finished = !rc && c->last_message;
	return rc < 0 ? rc : 0;
}

static void update_interest(struct server *server, struct conn *c)
{
	bool to_write = c->message_sent < c->message_len || c->down < down_limit(c);
	struct epoll_event event = {.data.ptr = c};

	if (!c->eof && !c->read_waits)
		event.events |= EPOLLIN;
	if (!c->ending)
		event.events |= EPOLLRDHUP;
	if (to_write && !c->write_waits)
		event.events |= EPOLLOUT;
	/* What is held stays readable: ask for news only. */
	if (c->holding)
		event.events |= EPOLLET;
	if (event.events != c->interest) {
		epoll_ctl(server->epoll, EPOLL_CTL_MOD, c->fd, &event);
		c->interest = event.events;
	}
	if (c->read_waits || c->write_waits || (c->holding && c->hold_until) ||
		(c->header.role == WIRE_WAKE && !c->awake && !c->eof))
		list_add(server, c);
	else
		list_remove(server, c);
}

static void conn_run(struct server *server, struct conn *c)
{
	uint64_t now = now_ns();
	bool finished = false;
	int rc;

	if (c->header_len < sizeof(c->header)) {
		rc = read_header(c, now);
		if (rc > 0)
			return;
		if (rc < 0) {
			conn_lost(server, c, "header", -rc);
			return;
		}
	}
	rc = conn_read(server, c, now);
	if (!rc)
		rc = conn_write(server, c, now, &finished);
	if (rc) {
		conn_lost(server, c, c->eof ? "write" : "read or write", -rc);
		return;
	}
	if (finished) {
		/* The duplicates must not delay the FIN. */
		shutdown(c->fd, SHUT_WR);
		conn_close(server, c);
		return;
	}
	update_interest(server, c);
}

void conn_event(struct server *server, struct conn *c, uint32_t events)
{
	/* The peer wants to end: hold nothing back any more. */
	if (events & EPOLLRDHUP && c->header_len == sizeof(c->header)) {
		c->ending = true;
		c->holding = false;
		c->read_limit.rate = 0;
	}
	conn_run(server, c);
}

void conn_turn(struct server *server)
{
	uint64_t now = wall_ns();

	if (server->last_turn && now - server->last_turn > STOPPED)
		server->resumed = now;
	server->last_turn = now;
}

void conn_tick(struct server *server)
{
	struct conn *c = server->waiting, *next;

	for (; c; c = next) {
		next = c->next;
		c->awake = server->resumed > c->begun;
		if (c->header.role == WIRE_WAKE && !c->awake)
			continue;
		c->read_waits = c->write_waits = false;
		conn_run(server, c);
	}
}
