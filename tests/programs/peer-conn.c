// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One connection of hf-peer. As in the server there are no buffers, only positions: what is sent
 * follows from the position, and what comes is checked where it stands.
 */
#include "peer.h"

#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/sockios.h>

#define CHUNK   (64 * 1024)
#define QUANTUM (4 * CHUNK)
#define TRAILER sizeof(struct wire_trailer)

/* Room for a trailer held back from the last reading, before the new bytes. */
static char scratch[TRAILER + CHUNK];

uint64_t pconn_stall_ms(const struct pconn *c, uint64_t now)
{
	uint64_t in = meter_longest(&c->in, now), out = meter_longest(&c->out, now);

	return (in > out ? in : out) / MS_NS;
}

static void settle(struct pconn *c, enum phase phase)
{
	uint64_t now = now_ns();

	meter_expect(&c->in, false, now);
	meter_expect(&c->out, false, now);
	c->phase = phase;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void pconn_lost(struct pconn *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->error, sizeof(c->error), format, args);
	va_end(args);
	settle(c, PHASE_LOST);
}

static bool answers_only(const struct pconn *c)
{
	return c->spec->role == WIRE_IDLE || c->spec->role == WIRE_ECHO;
}

/* Whether bytes must be on their way to us, so that their absence is a stall. */
static bool expects_in(const struct pconn *c)
{
	if (answers_only(c))
		return c->down < c->up_end;
	return c->phase == PHASE_RUN &&
	       (c->spec->role == WIRE_SOURCE || c->spec->role == WIRE_DUPLEX);
}

uint64_t pconn_inq(const struct pconn *c)
{
	int queued = 0;

	return c->fd < 0 || ioctl(c->fd, SIOCINQ, &queued) ? 0 : (uint64_t)queued;
}

void pconn_sample(struct pconn *c, uint64_t now)
{
	uint64_t acked = 0;
	int queued = 0;

	if (c->phase < PHASE_RUN || c->fd < 0 || ioctl(c->fd, SIOCOUTQ, &queued))
		return;
	if ((uint64_t)queued < c->up)
		acked = c->up - (uint64_t)queued;
	if (acked > c->acked) {
		c->acked = acked;
		c->last_progress = now;
		meter_progress(&c->out, now);
	}
	if (!answers_only(c) && c->spec->role != WIRE_HOLD)
		meter_expect(&c->out, queued > 0 && c->phase == PHASE_RUN, now);
}

static void update_interest(struct pconn *c)
{
	struct epoll_event event = {.data.ptr = c};

	if (c->phase == PHASE_CONNECT || (c->phase == PHASE_HELLO && c->message_len) ||
		(c->up < c->up_end && !c->write_waits))
		event.events |= EPOLLOUT;
	if (!c->read_waits && !(c->phase == PHASE_RUN && c->spec->role == WIRE_HOLD))
		event.events |= EPOLLIN;
	if (event.events == c->interest)
		return;
	epoll_ctl(c->peer->epoll, EPOLL_CTL_MOD, c->fd, &event);
	c->interest = event.events;
}

void pconn_start(struct pconn *c)
{
	struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
	const struct sockaddr *addr = (const struct sockaddr *)&c->target->addr;

	c->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		c->peer->mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);
	if (c->fd < 0) {
		pconn_lost(c, "socket: %s", strerror(errno));
		return;
	}
	set_buffers(c->fd, c->spec->sndbuf, c->spec->rcvbuf);
	if (!c->spec->nagle)
		set_nodelay(c->fd);
	c->interest = event.events;
	c->last_progress = now_ns();
	format_address(&c->target->addr, c->remote, sizeof(c->remote));
	if ((connect(c->fd, addr, c->target->addr_len) && errno != EINPROGRESS) ||
		epoll_ctl(c->peer->epoll, EPOLL_CTL_ADD, c->fd, &event))
		pconn_lost(c, "connect: %s", strerror(errno));
}

static void connected(struct pconn *c)
{
	struct wire_header header = {
		.magic = WIRE_HEADER_MAGIC,
		.role = c->spec->role,
		.nagle = !!c->spec->nagle,
		.seed = c->seed,
		.write_rate = c->spec->rate,
		.write_chunk = c->spec->chunk,
		.read_rate = c->spec->reading,
		.hold_in = c->spec->in,
		.hold_out = c->spec->out,
		.hold_ms = c->spec->hold_ms,
		.flip_down = c->spec->flip_down,
	};
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	_Static_assert(sizeof(header) <= sizeof(c->message), "the header does not fit");
	if (!getsockname(c->fd, (struct sockaddr *)&addr, &len))
		format_address(&addr, c->local, sizeof(c->local));
	memcpy(c->message, &header, sizeof(header));
	c->message_len = sizeof(header);
	c->phase = PHASE_HELLO;
}

static void send_header(struct pconn *c)
{
	ssize_t n = send(c->fd, c->message, c->message_len, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN)
			pconn_lost(c, "sending the header: %s", strerror(errno));
		return;
	}
	c->message_len -= (size_t)n;
	memmove(c->message, c->message + n, c->message_len);
}

static void start_role(struct pconn *c, uint64_t now)
{
	static const bool endless[WIRE_ROLES] = {[WIRE_SINK] = true, [WIRE_DUPLEX] = true};

	c->phase = PHASE_RUN;
	c->up_end = endless[c->spec->role] ? UINT64_MAX : 0;
	if (c->spec->role == WIRE_ECHO)
		c->up_end = c->spec->size;
	else if (c->spec->role == WIRE_HOLD)
		c->up_end = c->spec->in;
	bucket_init(&c->write_limit, c->spec->rate, now);
	bucket_pace(&c->write_limit, c->spec->chunk, ~c->seed);
	bucket_init(&c->read_limit, c->spec->reading, now);
	meter_expect(&c->in, expects_in(c), now);
}

/* The hello is small: it comes in one piece or the connection is not worth much. */
static void read_hello(struct pconn *c, uint64_t now)
{
	struct wire_hello hello;
	ssize_t n = recv(c->fd, &hello, sizeof(hello), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(hello) || memcmp(hello.magic, WIRE_HELLO_MAGIC, sizeof(hello.magic))) {
		pconn_lost(c, "no hello from the server: %s", n < 0 ? strerror(errno) : "EOF");
		return;
	}
	c->server_pid = hello.pid;
	start_role(c, now);
}

/* Pattern bytes at scratch: all that came but a possible trailer. False when the end is sealed. */
static bool check_down(struct pconn *c, const char *bytes, size_t len)
{
	ssize_t bad = stream_check(bytes, len, wire_seed_down(c->spec->role, c->seed), c->down);

	if (bad >= 0) {
		pconn_lost(c, "wrong byte received at position %llu",
			(unsigned long long)c->down + (unsigned long long)bad);
		return false;
	}
	c->down += len;
	if (!answers_only(c) || c->down <= c->up)
		return true;
	pconn_lost(c, "more received (%llu) than sent (%llu)", (unsigned long long)c->down,
		(unsigned long long)c->up);
	return false;
}

static void end_of_stream(struct pconn *c)
{
	struct wire_trailer t;

	if (!c->shut || c->message_len != TRAILER) {
		pconn_lost(c, "unexpected end of stream at position %llu",
			(unsigned long long)c->down);
		return;
	}
	memcpy(&t, c->message, sizeof(t));
	if (memcmp(t.magic, WIRE_TRAILER_MAGIC, sizeof(t.magic)))
		pconn_lost(c, "broken trailer after position %llu", (unsigned long long)c->down);
	else if (t.up_bad >= 0)
		pconn_lost(c, "server got a wrong byte at position %lld", (long long)t.up_bad);
	else if (t.up_checked != c->up)
		pconn_lost(c, "server got %llu of %llu bytes", (unsigned long long)t.up_checked,
			(unsigned long long)c->up);
	else if (t.down_total != c->down)
		pconn_lost(c, "received %llu of the %llu bytes which the server sent",
			(unsigned long long)c->down, (unsigned long long)t.down_total);
	else
		settle(c, PHASE_KEPT);
	c->resumed = t.resumed;
	c->advanced = t.advanced;
}

/*
 * After our FIN, the last bytes may be the trailer: message holds back as many. (Before, it is
 * empty.)
 */
static bool take(struct pconn *c, size_t len)
{
	size_t held = c->message_len, total = held + len, keep = 0;
	const char *start = scratch + TRAILER - held;

	memcpy(scratch + TRAILER - held, c->message, held);
	if (c->shut)
		keep = total < TRAILER ? total : TRAILER;
	if (!check_down(c, start, total - keep))
		return false;
	memcpy(c->message, start + total - keep, keep);
	c->message_len = keep;
	return true;
}

static void pconn_read(struct pconn *c, uint64_t now)
{
	size_t done = 0;

	while (c->phase < PHASE_KEPT && done < QUANTUM) {
		size_t want = bucket_allows(&c->read_limit, CHUNK, now);
		ssize_t n;

		c->read_waits = !want;
		if (!want)
			break;
		n = recv(c->fd, scratch + TRAILER, want, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			meter_expect(&c->in, expects_in(c), now);
			return;
		}
		if (n < 0) {
			pconn_lost(c, "read: %s", strerror(errno));
			return;
		}
		if (n == 0) {
			end_of_stream(c);
			return;
		}
		c->last_progress = now;
		meter_progress(&c->in, now);
		if (c->marked && !c->arrived)
			c->arrived = wall_ns();
		bucket_use(&c->read_limit, (size_t)n);
		done += (size_t)n;
		if (!take(c, (size_t)n))
			return;
		if (c->asked && !c->answered && c->down >= c->up_end)
			c->answered = wall_ns();
	}
	/* We stopped by ourselves: no stall. */
	meter_expect(&c->in, false, now);
}

static void pconn_write(struct pconn *c, uint64_t now)
{
	size_t done = 0;

	while (c->up < c->up_end && done < QUANTUM) {
		uint64_t left = c->up_end - c->up;
		size_t want = left < CHUNK ? (size_t)left : CHUNK;
		int64_t flip = c->spec->flip_up - (int64_t)c->up;
		ssize_t n;

		want = bucket_allows(&c->write_limit, want, now);
		c->write_waits = !want;
		if (!want)
			return;
		stream_fill(scratch, want, c->seed, c->up);
		if (flip >= 0 && (uint64_t)flip < want)
			scratch[flip] ^= 1;
		n = send(c->fd, scratch, want, MSG_NOSIGNAL);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				pconn_lost(c, "write: %s", strerror(errno));
			return;
		}
		bucket_use(&c->write_limit, (size_t)n);
		c->up += (size_t)n;
		done += (size_t)n;
	}
}

/* An answer is complete: when is the next request due? */
static void plan_request(struct pconn *c, uint64_t now)
{
	if (c->spec->role != WIRE_ECHO || c->phase != PHASE_RUN || c->down < c->up_end || c->due)
		return;
	if (c->spec->gap) {
		c->due = now + c->spec->gap * MS_NS;
		return;
	}
	c->up_end += c->spec->size;
	pconn_write(c, now);
}

static void maybe_shutdown(struct pconn *c)
{
	if (c->phase != PHASE_FINISH || c->shut || c->up < c->up_end)
		return;
	if (answers_only(c) && c->down < c->up)
		return;
	if (shutdown(c->fd, SHUT_WR)) {
		pconn_lost(c, "shutdown: %s", strerror(errno));
		return;
	}
	c->shut = true;
}

static void pconn_run(struct pconn *c, uint64_t now)
{
	if (c->phase == PHASE_HELLO && c->message_len)
		send_header(c);
	else if (c->phase == PHASE_HELLO)
		read_hello(c, now);
	if (c->phase == PHASE_RUN || c->phase == PHASE_FINISH) {
		pconn_write(c, now);
		if (c->phase == PHASE_FINISH ||
			(c->phase == PHASE_RUN && c->spec->role != WIRE_HOLD))
			pconn_read(c, now);
		plan_request(c, now);
		maybe_shutdown(c);
	}
	if (c->phase < PHASE_KEPT)
		update_interest(c);
}

void pconn_event(struct pconn *c, uint32_t events)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (c->phase >= PHASE_KEPT)
		return;
	if (events & EPOLLERR || c->phase == PHASE_CONNECT)
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		pconn_lost(c, "%s: %s", c->phase == PHASE_CONNECT ? "connect" : "socket",
			strerror(error));
		return;
	}
	if (c->phase == PHASE_CONNECT)
		connected(c);
	pconn_run(c, now_ns());
}

void pconn_tick(struct pconn *c, uint64_t now)
{
	bool waits = c->read_waits || c->write_waits;

	if (c->phase >= PHASE_KEPT)
		return;
	if (c->phase >= PHASE_RUN && !answers_only(c) && c->spec->role != WIRE_SOURCE)
		pconn_sample(c, now);
	if (c->phase != PHASE_RUN && now - c->last_progress > c->peer->patience * MS_NS) {
		pconn_lost(c, "timeout: no progress for %llu s at position %llu",
			(unsigned long long)c->peer->patience / 1000, (unsigned long long)c->down);
		return;
	}
	/* The server has our FIN and stops sending: now, and no sooner, read without a limit. */
	if (c->shut && c->acked >= c->up)
		c->read_limit.rate = 0;
	if (c->due && now >= c->due) {
		c->due = 0;
		c->up_end += c->spec->size;
		meter_expect(&c->in, true, now);
		waits = true;
	}
	if (!waits)
		return;
	c->read_waits = c->write_waits = false;
	pconn_run(c, now);
}

void pconn_ask(struct pconn *c)
{
	if (c->spec->role != WIRE_IDLE || c->phase != PHASE_RUN)
		return;
	c->up_end += c->spec->size;
	c->asked = wall_ns();
	c->answered = 0;
	pconn_run(c, now_ns());
}

static void note_state(struct pconn *c)
{
	static const char *const names[] = {"?", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1",
		"FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"};
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	snprintf(c->state, sizeof(c->state), "%s",
		info.tcpi_state < sizeof(names) / sizeof(*names) ? names[info.tcpi_state] : "?");
}

void pconn_finish(struct pconn *c, uint64_t now)
{
	if (c->phase >= PHASE_KEPT)
		return;
	if (c->phase < PHASE_RUN) {
		pconn_lost(c, "never served");
		return;
	}
	note_state(c);
	pconn_sample(c, now);
	c->phase = PHASE_FINISH;
	c->last_progress = now;
	c->due = 0;
	c->read_waits = c->write_waits = false;
	if (c->spec->role == WIRE_IDLE)
		c->up_end += c->spec->size;
	else if (c->up_end == UINT64_MAX)
		c->up_end = c->up;
	meter_expect(&c->out, false, now);
	meter_expect(&c->in, expects_in(c), now);
	pconn_run(c, now);
}
