// SPDX-License-Identifier: GPL-2.0-or-later
/* What an end does with its connection, and what it finds there. */
#include "chaos.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "stream.h"

#define ACK_POLL_US 3000

static uint8_t buffer[SIZE_MAX_IO];

bool stopping(const struct task *task)
{
	return counted(task, N_STOP) || (task->leave_at && task->running > task->leave_at);
}

static void progress(struct task *task, struct conn *conn)
{
	uint64_t ms = (task->running - conn->progress_at) / 1000;

	if (ms > counted(task, N_LONGEST_MS))
		atomic_store(&task->counters[N_LONGEST_MS], ms);
	conn->progress_at = task->running;
}

static uint32_t wanted_events(const struct conn *conn)
{
	uint32_t events = 0;

	if (conn->reads && !conn->eof && !conn->can_read)
		events |= EPOLLIN | EPOLLRDHUP;
	if ((conn->writes && !conn->fin && !conn->can_write) || !conn->connected)
		events |= EPOLLOUT;
	return events;
}

void watch(struct task *task, struct conn *conn)
{
	struct epoll_event event = {.data.u32 = (uint32_t)(conn - task->conns)};
	uint32_t wanted =
		conn->style == EDGE ? EPOLLIN | EPOLLOUT | EPOLLRDHUP : wanted_events(conn);
	int op = conn->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (conn->watched && (conn->style == EDGE || conn->armed == wanted))
		return;
	event.events = wanted | (conn->style == EDGE              ? EPOLLET
					: conn->style == ONE_SHOT ? EPOLLONESHOT
								  : 0);
	if (epoll_ctl(task->epoll, op, conn->fd, &event) < 0)
		fail(task, conn, "epoll_ctl: %s", strerror(errno));
	conn->armed = wanted;
	conn->watched = true;
}

void unwatch(struct task *task, struct conn *conn)
{
	if (conn->watched && epoll_ctl(task->epoll, EPOLL_CTL_DEL, conn->fd, NULL) < 0)
		fail(task, conn, "epoll_ctl: %s", strerror(errno));
	conn->watched = false;
}

void forget(struct task *task, struct conn *conn)
{
	unwatch(task, conn);
	while (conn->n_extra)
		close(conn->extra[--conn->n_extra]);
	close(conn->fd);
	if (!conn->parked)
		count(task, N_LIVE, -1);
	if (conn->stuck)
		count(task, N_STUCK, -1);
	conn->used = false;
}

static uint64_t send_limit(const struct conn *conn)
{
	return conn->plan.reset_by == conn->side ? conn->plan.reset_at
						 : conn->plan.total[conn->side];
}

static uint64_t receive_limit(const struct conn *conn)
{
	return conn->plan.reset_by == !conn->side ? conn->plan.reset_at
						  : conn->plan.total[!conn->side];
}

static void reset(struct task *task, struct conn *conn)
{
	const struct linger linger = {1, 0};

	note(task, conn, "reset", 0);
	setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	count(task, N_RESETS_MADE, 1);
	forget(task, conn);
}

/* All that came before the connection broke has been read. */
static void broken_end(struct task *task, struct conn *conn)
{
	bool planned = conn->known && conn->plan.reset_by == !conn->side;
	bool unsure = conn->side == CONNECTOR && !conn->confirmed;

	if (!planned && !(unsure && conn->may_pend))
		fail(task, conn, "the connection was reset");
	count(task,
		planned && unsure ? N_RESETS_UNSURE
		: planned         ? N_RESETS_SEEN
				  : N_PENDING_LOST,
		1);
	if (!planned && conn->fin)
		count(task, N_STREAMS_SENT, -1);
	forget(task, conn);
}

static void break_off(struct task *task, struct conn *conn, const char *what, int error)
{
	note(task, conn, what, -error);
	if (error != ECONNRESET && error != EPIPE)
		fail(task, conn, "%s: %s", what, strerror(error));
	if (conn->split)
		fail(task, conn, "the connection was reset");
	conn->broken = true;
	conn->writes = false;
	conn->can_read = true;
	conn->read_at = 0;
}

static void confirm(struct task *task, struct conn *conn)
{
	if (conn->side == CONNECTOR && !conn->confirmed) {
		conn->confirmed = true;
		count(task, N_CONFIRMED, 1);
	}
}

static void end_of_stream(struct task *task, struct conn *conn)
{
	if (!conn->known || conn->plan.reset_by == !conn->side)
		fail(task, conn, "the stream ended in between");
	if (conn->in != conn->plan.total[!conn->side])
		fail(task, conn, "the stream ended early");
	confirm(task, conn);
	conn->eof = true;
	progress(task, conn);
	note(task, conn, "end of file", 0);
	count(task, N_STREAMS_CHECKED, conn->plan.reset_by == NOBODY);
}

/* After shutdown(SHUT_RD) only the state tells that the other end is done. */
static void look_for_fin(struct task *task, struct conn *conn)
{
	int state;

	conn->read_at = task->now + ACK_POLL_US;
	if (conn->in != conn->plan.total[!conn->side])
		return;
	state = tcp_state(conn->fd);
	if (state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING ||
		state == TCP_TIME_WAIT || state == TCP_CLOSE)
		end_of_stream(task, conn);
}

static void take_id(struct task *task, struct conn *conn, size_t len)
{
	uint64_t id;

	memcpy(conn->id_bytes + conn->in, buffer, len);
	conn->in += len;
	if (conn->in < ID_BYTES)
		return;
	memcpy(&id, conn->id_bytes, sizeof(id));
	set_known(task, conn, id);
	count(task, N_IDENTIFIED, 1);
}

static void check(struct task *task, struct conn *conn, size_t len, bool peeked)
{
	ssize_t wrong = stream_check(buffer, len, conn->key_in, conn->in);

	if (conn->in + len > receive_limit(conn))
		fail(task, conn, "%zu bytes more than the other end sends",
			(size_t)(conn->in + len - receive_limit(conn)));
	if (wrong >= 0)
		fail(task, conn, "byte %llu is wrong, in %zu bytes read at %llu",
			(unsigned long long)conn->in + (size_t)wrong, len,
			(unsigned long long)conn->in);
	if (peeked)
		return;
	conn->in += len;
	count(task, N_BYTES_CHECKED, (int64_t)len);
}

static void delay(struct task *task, uint64_t *at, uint64_t pace)
{
	if (stopping(task))
		*at = 0;
	else if (one_in(task, 100))
		*at = task->now + below(task, 3000000); /* queues fill */
	else
		*at = task->now + below(task, 2 * pace);
}

static void read_some(struct task *task, struct conn *conn)
{
	bool peek = conn->known && one_in(task, 20);
	size_t size = conn->known ? random_size(task) : ID_BYTES - conn->in;
	ssize_t n = recv(conn->fd, buffer, size, MSG_DONTWAIT | (peek ? MSG_PEEK : 0));

	if (n < 0 && errno == EAGAIN) {
		if (conn->read_shut)
			fail(task, conn, "shutdown(SHUT_RD) is undone");
		conn->can_read = false;
		return;
	}
	note(task, conn, peek ? "peek" : "read", n < 0 ? -errno : n);
	if (n < 0) {
		break_off(task, conn, "read", errno);
		broken_end(task, conn);
		return;
	}
	if (n == 0) {
		if (conn->broken)
			broken_end(task, conn);
		else if (conn->read_shut)
			look_for_fin(task, conn);
		else
			end_of_stream(task, conn);
		return;
	}
	progress(task, conn);
	confirm(task, conn);
	if (conn->known)
		check(task, conn, (size_t)n, peek);
	else
		take_id(task, conn, (size_t)n);
	if (conn->broken)
		conn->read_at = 0;
	else
		delay(task, &conn->read_at, conn->read_pace);
}

static void finish_sending(struct task *task, struct conn *conn)
{
	if (conn->plan.reset_by == conn->side) {
		/* The other end must know who we are, and we that it was there. */
		if (conn->side == ACCEPTOR || conn->confirmed)
			reset(task, conn);
		else
			conn->write_at = task->now + ACK_POLL_US;
		return;
	}
	/* Linux resets a connection that gets data after both directions were shut down. */
	if (conn->plan.shut_read[conn->side] && !conn->eof) {
		conn->write_at = task->now + ACK_POLL_US;
		return;
	}
	if (shutdown(conn->fd, SHUT_WR) < 0) {
		if (errno != ENOTCONN)
			fail(task, conn, "shutdown: %s", strerror(errno));
		break_off(task, conn, "shutdown", ECONNRESET);
		return;
	}
	note(task, conn, "shut down", 0);
	conn->fin = true;
	progress(task, conn);
	count(task, N_STREAMS_SENT, conn->plan.reset_by == NOBODY);
}

static void fill(const struct conn *conn, size_t len)
{
	stream_fill(buffer, len, conn->key_out, conn->out);
	if (conn->side != CONNECTOR)
		return;
	for (uint64_t pos = conn->out; pos < ID_BYTES && pos - conn->out < len; pos++)
		buffer[pos - conn->out] = ((const uint8_t *)&conn->id)[pos];
}

static void write_some(struct task *task, struct conn *conn)
{
	size_t size = random_size(task);
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	ssize_t n;

	if (conn->out == send_limit(conn)) {
		finish_sending(task, conn);
		return;
	}
	if (conn->side == CONNECTOR && conn->out == 0)
		size = ID_BYTES;
	if (size > send_limit(conn) - conn->out)
		size = (size_t)(send_limit(conn) - conn->out);
	if (conn->plan.urgent && one_in(task, 8)) {
		flags |= MSG_OOB;
		count(task, N_URGENT, 1);
	} else if (one_in(task, 8)) {
		flags |= MSG_MORE;
	}
	fill(conn, size);
	n = send(conn->fd, buffer, size, flags);
	if (n < 0 && errno == EAGAIN) {
		conn->can_write = false;
		return;
	}
	note(task, conn, flags & MSG_OOB ? "write urgent" : "write", n < 0 ? -errno : n);
	if (n < 0) {
		break_off(task, conn, "write", errno);
		return;
	}
	conn->out += (uint64_t)n;
	count(task, N_BYTES_SENT, n);
	progress(task, conn);
	delay(task, &conn->write_at, conn->write_pace);
}

/* An event may be about a time that is over: what counts is the state. */
static void finish_connecting(struct task *task, struct conn *conn)
{
	int error = 0, state;
	socklen_t len = sizeof(error);

	if (!conn->can_write)
		return;
	getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	state = tcp_state(conn->fd);
	note(task, conn, "connected", error ? -error : state);
	if (error) {
		break_off(task, conn, "connect", error);
		broken_end(task, conn);
	} else if (state == TCP_SYN_SENT) {
		conn->can_write = false;
	} else if (state == TCP_CLOSE) {
		fail(task, conn, "connect() ended without an error");
	} else {
		conn->connected = conn->can_read = true;
		progress(task, conn);
	}
}

/* SO_ERROR, but for what a peer is woken with after a checkpoint (RFC 6069): that is told there
 * once, and does nothing. */
static int pending_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error == EHOSTUNREACH || error == ENETUNREACH ? 0 : error;
}

/* True when all is done that is ours to do, and the connection is forgotten. */
static bool close_if_done(struct task *task, struct conn *conn)
{
	int queued = 0, error;
	bool ended;

	if ((conn->reads && !conn->eof) || (conn->writes && !conn->fin) || conn->broken)
		return false;
	if (!conn->closing) {
		note(task, conn, "closing", 0);
		unwatch(task, conn);
		conn->closing = true;
	}
	ended = tcp_state(conn->fd) == TCP_CLOSE; /* then the queue does not change any more */
	if (conn->writes)
		ioctl(conn->fd, SIOCOUTQ, &queued);
	if (queued > 1 && conn->plan.early_close[conn->side])
		count(task, N_ORPHANS, 1);
	else if (queued && !ended) {
		conn->read_at = task->now + ACK_POLL_US;
		return true;
	}
	error = pending_error(conn->fd);
	if (error || (queued && ended))
		fail(task, conn, "an error at the end, %d not acknowledged: %s", queued,
			strerror(error));
	progress(task, conn);
	forget(task, conn);
	return true;
}

/* The connection gets another number. */
static void duplicate(struct task *task, struct conn *conn)
{
	int fd;

	if (conn->n_extra == 2) {
		close(conn->extra[--conn->n_extra]);
		return;
	}
	fd = fcntl(conn->fd, F_DUPFD_CLOEXEC, (int)below(task, 300));
	if (fd < 0)
		fail(task, conn, "dup: %s", strerror(errno));
	count(task, N_DUPS, 1);
	note(task, conn, "dup", fd);
	unwatch(task, conn);
	conn->extra[conn->n_extra++] = conn->fd;
	conn->fd = fd;
	if (!conn->read_shut)
		watch(task, conn);
}

static void play(struct task *task, struct conn *conn)
{
	uint64_t choice = below(task, 200);

	if (choice < 10)
		play_with_options(task, conn);
	else if (choice < 14)
		check_options(task, conn);
	else if (choice < 17)
		duplicate(task, conn);
	else if (choice < 20 && conn->plan.shut_read[conn->side] && conn->known && conn->reads &&
		 conn->writes && !conn->read_shut && !conn->eof) {
		note(task, conn, "shutdown(SHUT_RD)", shutdown(conn->fd, SHUT_RD));
		unwatch(task, conn);
		conn->read_shut = true;
	}
}

void step(struct task *task, struct conn *conn)
{
	if (!conn->connected) {
		finish_connecting(task, conn);
	} else {
		if (conn->read_shut && !conn->closing)
			conn->can_read = conn->can_write = true;
		if (conn->closing && task->now < conn->read_at)
			return;
		if (close_if_done(task, conn))
			return;
		if (conn->reads && !conn->eof && conn->can_read && task->now >= conn->read_at) {
			read_some(task, conn);
			if (conn->used && !stopping(task))
				play(task, conn);
		}
		if (conn->used && conn->writes && !conn->fin && conn->can_write &&
			(conn->known || conn->side == CONNECTOR) && task->now >= conn->write_at)
			write_some(task, conn);
	}
	if (conn->used && !conn->read_shut && !conn->closing)
		watch(task, conn);
}
