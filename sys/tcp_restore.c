// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/tcp_repair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_USER_MSS   32767 /* kernel MAX_TCP_WINDOW: what TCP_MAXSEG accepts */
#define MIN_USER_MSS   88    /* kernel TCP_MIN_MSS */
#define TCPOPT_MAXSEG  2
#define TCPOPT_WINDOW  3
#define TCPOPT_SACK_OK 4
#define TCPOPT_TSTAMP  8
#define SEND_CHUNK     (1u << 20)
#define TUPLE_ATTEMPTS 1000 /* of 1 ms: the old owner's last close may be on its way */
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

/* A step that failed, for the error: the first failure in a chain of steps wins. */
struct steps {
	int sock;
	int ret;
	const char *what;
};

static void note(struct steps *steps, const char *what, int result)
{
	if (result < 0 && steps->ret == 0) {
		steps->ret = -errno;
		steps->what = what;
	}
}

static void set_int(struct steps *steps, const char *what, int level, int option, int value)
{
	if (steps->ret == 0)
		note(steps, what, setsockopt(steps->sock, level, option, &value, sizeof(value)));
}

static socklen_t make_address(
	struct sockaddr_storage *to, enum hf_family family, const struct hf_endpoint *from)
{
	memset(to, 0, sizeof(*to));
	if (family == HF_FAMILY_IPV4) {
		struct sockaddr_in *in = (struct sockaddr_in *)to;

		in->sin_family = AF_INET;
		in->sin_port = htons(from->port);
		memcpy(&in->sin_addr, from->ip, 4);
		return sizeof(*in);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(from->port);
		in6->sin6_scope_id = from->scope_id;
		memcpy(&in6->sin6_addr, from->ip, 16);
		return sizeof(*in6);
	}
}

/* What CRIU's tcp-close left: a closed socket that was shut down. connect(AF_UNSPEC) clears that.
 */
static void disconnect(struct steps *steps)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};

	note(steps, "disconnect", connect(steps->sock, &none, sizeof(none)));
}

static bool is_bound(int sock, const struct hf_conn *conn)
{
	struct sockaddr_storage now = {0}, wanted;
	socklen_t len = sizeof(now);

	make_address(&wanted, conn->family, &conn->local);
	return getsockname(sock, (struct sockaddr *)&now, &len) == 0 &&
	       memcmp(&now, &wanted, sizeof(now)) == 0;
}

static void set_sequences(struct steps *steps, const struct hf_conn *conn)
{
	set_int(steps, "choose the receive queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	set_int(steps, "set the receive sequence", IPPROTO_TCP, TCP_QUEUE_SEQ,
		(int)(conn->recv.seq - conn->recv.len));
	set_int(steps, "choose the send queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	set_int(steps, "set the send sequence", IPPROTO_TCP, TCP_QUEUE_SEQ,
		(int)(conn->send.seq - conn->send.len));
}

/*
 * bind and connect, which in repair mode sends nothing. The tuple may still belong for a moment to
 * the socket of the killed tasks, so that is tried for a while.
 */
static void attach(struct steps *steps, const struct hf_conn *conn)
{
	struct sockaddr_storage local, peer;
	socklen_t local_len = make_address(&local, conn->family, &conn->local);
	socklen_t peer_len = make_address(&peer, conn->family, &conn->peer);
	unsigned int mss = conn->mss_clamp;
	int ret;

	if (steps->ret == 0 && !is_bound(steps->sock, conn))
		note(steps, "bind to the local address",
			bind(steps->sock, (struct sockaddr *)&local, local_len));
	set_sequences(steps, conn);
	/*
	 * connect() cuts the queue into segments by this value, and by 536 where it is not set. It
	 * goes back to 0 afterwards, since it would limit the segments of the connection's whole
	 * life.
	 */
	mss = mss > MAX_USER_MSS ? MAX_USER_MSS : mss < MIN_USER_MSS ? MIN_USER_MSS : mss;
	set_int(steps, "set TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, (int)mss);
	if (steps->ret < 0)
		return;
	for (int attempt = 0; attempt < TUPLE_ATTEMPTS; attempt++) {
		ret = connect(steps->sock, (struct sockaddr *)&peer, peer_len);
		if (ret == 0 || (errno != EADDRNOTAVAIL && errno != EADDRINUSE))
			break;
		usleep(1000);
	}
	note(steps, "connect in repair mode", ret);
	set_int(steps, "reset TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, 0);
}

static void set_options(struct steps *steps, const struct hf_conn *conn)
{
	struct tcp_repair_opt options[4];
	unsigned int n = 0;

	if (steps->ret < 0)
		return;
	if (conn->has_sack)
		options[n++] = (struct tcp_repair_opt){TCPOPT_SACK_OK, 0};
	if (conn->has_wscale)
		options[n++] = (struct tcp_repair_opt){
			TCPOPT_WINDOW, conn->snd_wscale | (uint32_t)conn->rcv_wscale << 16};
	if (conn->has_timestamps)
		options[n++] = (struct tcp_repair_opt){TCPOPT_TSTAMP, 0};
	options[n++] = (struct tcp_repair_opt){TCPOPT_MAXSEG, conn->mss_clamp};
	note(steps, "set the TCP options",
		setsockopt(steps->sock, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options,
			n * sizeof(options[0])));
	/* The lowest bit is not time: it switches microsecond timestamps (kernel tcp_usec_ts). */
	set_int(steps, "set the timestamp", IPPROTO_TCP, TCP_TIMESTAMP,
		(int)((conn->timestamp & ~1u) | conn->usec_timestamps));
}

/* The kernel may take less than asked; a send without progress is an error. */
static void send_all(struct steps *steps, const char *what, const uint8_t *data, size_t len)
{
	while (len > 0 && steps->ret == 0) {
		ssize_t n = send(steps->sock, data, len < SEND_CHUNK ? len : SEND_CHUNK,
			MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n == 0) {
			errno = EIO;
			n = -1;
		}
		note(steps, what, (int)n);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

/* The buffer limits of the socket, set by CRIU to what they were. */
struct buffers {
	int send, recv;
	int lock;
	bool has_lock;
};

static void get_buffers(struct steps *steps, struct buffers *buffers)
{
	socklen_t len = sizeof(int);

	if (steps->ret < 0)
		return;
	note(steps, "get SO_SNDBUF",
		getsockopt(steps->sock, SOL_SOCKET, SO_SNDBUF, &buffers->send, &len));
	note(steps, "get SO_RCVBUF",
		getsockopt(steps->sock, SOL_SOCKET, SO_RCVBUF, &buffers->recv, &len));
	buffers->has_lock =
		getsockopt(steps->sock, SOL_SOCKET, SO_BUF_LOCK, &buffers->lock, &len) == 0;
}

/*
 * The queues may be longer than a fresh socket takes, and are stored in other pieces: room for four
 * times their bytes while they are filled. The kernel doubles what is set.
 */
static void grow_buffers(
	struct steps *steps, const struct buffers *buffers, const struct hf_conn *conn)
{
	uint64_t send = 2ull * conn->send.len + 65536, recv = 2ull * conn->recv.len + 65536;

	if (send > INT32_MAX / 2)
		send = INT32_MAX / 2;
	if (recv > INT32_MAX / 2)
		recv = INT32_MAX / 2;
	if (conn->send.len && send * 2 > (uint64_t)buffers->send)
		set_int(steps, "raise SO_SNDBUF", SOL_SOCKET, SO_SNDBUFFORCE, (int)send);
	if (conn->recv.len && recv * 2 > (uint64_t)buffers->recv)
		set_int(steps, "raise SO_RCVBUF", SOL_SOCKET, SO_RCVBUFFORCE, (int)recv);
}

static void reset_buffers(struct steps *steps, const struct buffers *buffers)
{
	set_int(steps, "reset SO_SNDBUF", SOL_SOCKET, SO_SNDBUFFORCE, buffers->send / 2);
	set_int(steps, "reset SO_RCVBUF", SOL_SOCKET, SO_RCVBUFFORCE, buffers->recv / 2);
	if (buffers->has_lock)
		set_int(steps, "reset SO_BUF_LOCK", SOL_SOCKET, SO_BUF_LOCK, buffers->lock);
}

static void fill_queues(struct steps *steps, const struct hf_conn *conn, const uint8_t *recv_data,
	const uint8_t *send_data)
{
	size_t sent = conn->send.len - conn->unsent;
	struct buffers buffers = {0};

	if (conn->recv.len == 0 && conn->send.len == 0)
		return;
	get_buffers(steps, &buffers);
	grow_buffers(steps, &buffers, conn);
	set_int(steps, "choose the receive queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	send_all(steps, "fill the receive queue", recv_data, conn->recv.len);
	set_int(steps, "choose the send queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	send_all(steps, "fill the send queue", send_data, sent);
	/*
	 * What never was sent is queued outside repair mode, or the kernel would count it as sent.
	 * The lock drops what it tries to send now, so that it stays unsent.
	 */
	if (conn->unsent) {
		set_int(steps, "leave repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
		send_all(steps, "fill the send queue", send_data + sent, conn->unsent);
		set_int(steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	}
	reset_buffers(steps, &buffers);
}

static void set_window(struct steps *steps, const struct hf_conn *conn)
{
	const struct tcp_repair_window window = {conn->window.snd_wl1, conn->window.snd_wnd,
		conn->window.max_window, conn->window.rcv_wnd, conn->window.rcv_wup};

	if (steps->ret == 0)
		note(steps, "set the windows",
			setsockopt(steps->sock, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window,
				sizeof(window)));
	set_int(steps, "choose no queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_NO_QUEUE);
}

/* 1 if the socket already is this connection, 0 if it is closed, else a negative errno. */
static int look(int sock, const struct hf_conn *conn, struct hf_error *err)
{
	struct hf_conn now = {0};
	int ret = hf_tcp_identify(sock, &now, err);

	if (ret < 0)
		return ret;
	if (ret == HF_TCP_NONE)
		return now.family == conn->family && now.state == HF_TCP_CLOSE
			       ? 0
			       : hf_error_set(err, -EBADFD,
					 "the socket is not the closed TCP socket that CRIU's "
					 "tcp-close leaves");
	if (now.local.port != conn->local.port || now.peer.port != conn->peer.port ||
		memcmp(now.local.ip, conn->local.ip, 16) != 0 ||
		memcmp(now.peer.ip, conn->peer.ip, 16) != 0)
		return hf_error_set(err, -EBADFD, "the socket is another connection");
	return 1;
}

int hf_tcp_rebuild(int sock, const struct hf_conn *conn, const void *recv_data,
	const void *send_data, struct hf_error *err)
{
	struct steps steps = {.sock = sock};
	int ret = look(sock, conn, err);
	char text[HF_CONN_TEXT];

	if (ret != 0)
		return ret < 0 ? hf_error_context(
					 err, ret, "connection %s", hf_conn_format(text, conn))
			       : ret;
	disconnect(&steps);
	set_int(&steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	attach(&steps, conn);
	set_options(&steps, conn);
	fill_queues(&steps, conn, recv_data, send_data);
	set_window(&steps, conn);
	if (steps.ret < 0)
		return hf_error_sys(err, steps.ret, "connection %s: cannot %s",
			hf_conn_format(text, conn), steps.what);
	return 0;
}

int hf_tcp_resume(int sock, const struct hf_conn *conn, struct hf_error *err)
{
	struct steps steps = {.sock = sock};
	char text[HF_CONN_TEXT];

	set_int(&steps, "leave repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF);
	set_int(&steps, "reset SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, conn->reuseaddr);
	if (steps.ret < 0)
		return hf_error_sys(err, steps.ret, "connection %s: cannot %s",
			hf_conn_format(text, conn), steps.what);
	return 0;
}
