// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/lock_rules.h"
#include "lib/tcp_state.h"
#include "sys/address.h"
#include "sys/sockopt_int.h"
#include "sys/tcp_steps.h"

#define MAX_USER_MSS   32767 /* kernel MAX_TCP_WINDOW: what TCP_MAXSEG accepts */
#define MIN_USER_MSS   88    /* kernel TCP_MIN_MSS */
#define DEFAULT_MSS    536   /* kernel TCP_MSS_DEFAULT */
#define TCPOPT_MAXSEG  2
#define TCPOPT_WINDOW  3
#define TCPOPT_SACK_OK 4
#define TCPOPT_TSTAMP  8
#define TUPLE_ATTEMPTS 1000  /* of 1 ms: the old owner's last close may be on its way */
#define STATE_ATTEMPTS 2000  /* of 1 ms: a segment to ourselves may wait for a busy processor */
#define FAKE_PORTS     64    /* tried for a peer that is made up */
#define OPEN_WINDOW    65535 /* enough for the segments that we make */

/* What CRIU's tcp-close left: a closed socket that was shut down. connect(AF_UNSPEC) clears that.
 */
static void disconnect(struct hf_steps *steps)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};

	hf_steps_note(steps, "disconnect", connect(steps->sock, &none, sizeof(none)));
}

static void set_sequences(struct hf_steps *steps, uint32_t recv, uint32_t send)
{
	hf_steps_set_int(
		steps, "choose the receive queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	hf_steps_set_int(steps, "set the receive sequence", IPPROTO_TCP, TCP_QUEUE_SEQ, (int)recv);
	hf_steps_set_int(
		steps, "choose the send queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	hf_steps_set_int(steps, "set the send sequence", IPPROTO_TCP, TCP_QUEUE_SEQ, (int)send);
}

static bool is_bound(const struct hf_steps *steps)
{
	const struct hf_conn *conn = steps->conn;
	struct sockaddr_storage now = {0}, wanted;
	socklen_t len = sizeof(now);

	hf_address_make(&wanted, conn->family, &conn->local);
	return getsockname(steps->sock, (struct sockaddr *)&now, &len) == 0 &&
	       memcmp(&now, &wanted, sizeof(now)) == 0;
}

static void bind_local(struct hf_steps *steps)
{
	struct sockaddr_storage local;
	socklen_t len = hf_address_make(&local, steps->conn->family, &steps->conn->local);

	if (steps->ret == 0 && !is_bound(steps))
		hf_steps_note(steps, "bind to the local address",
			bind(steps->sock, (struct sockaddr *)&local, len));
}

static bool is_taken(int ret)
{
	return ret < 0 && (errno == EADDRNOTAVAIL || errno == EADDRINUSE);
}

/*
 * connect(). The tuple may still belong for a moment to the socket of the killed tasks, so that is
 * tried for a while. With a made up peer any free port of it will do.
 */
static int connect_peer(struct hf_steps *steps, bool faked)
{
	int attempts = faked ? FAKE_PORTS : TUPLE_ATTEMPTS, ret = -1;

	for (int attempt = 0; attempt < attempts; attempt++) {
		struct sockaddr_storage peer;
		socklen_t len = hf_address_make(&peer, steps->conn->family, &steps->peer);

		ret = connect(steps->sock, (struct sockaddr *)&peer, len);
		if (!is_taken(ret))
			break;
		if (faked)
			steps->peer.port++;
		else
			usleep(1000);
	}
	return ret;
}

/* What connect() to any peer does without a network: the peer is another port of our own. */
static void fake_peer(struct hf_steps *steps)
{
	static const uint8_t any[16];

	steps->peer = steps->conn->local;
	if (memcmp(steps->peer.ip, any, sizeof(any)) == 0) {
		if (steps->conn->family == HF_FAMILY_IPV4)
			steps->peer.ip[0] = 127, steps->peer.ip[3] = 1;
		else
			steps->peer.ip[15] = 1;
	}
	steps->peer.port = (uint16_t)(1 + steps->conn->local.port % 1000);
}

static void set_options(struct hf_steps *steps)
{
	const struct hf_conn *conn = steps->conn;
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
	hf_steps_note(steps, "set the TCP options",
		setsockopt(steps->sock, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options,
			n * sizeof(options[0])));
}

/* The lowest bit is not time: it switches microsecond timestamps (kernel tcp_usec_ts). */
static void set_timestamp(struct hf_steps *steps)
{
	const struct hf_conn *conn = steps->conn;

	hf_steps_set_int(steps, "set the timestamp", IPPROTO_TCP, TCP_TIMESTAMP,
		(int)((conn->timestamp & ~1u) | conn->usec_timestamps));
}

/*
 * The size of segments after connect(), and until the peer's window is larger than ever. The kernel
 * does not take more than half of the largest window for one (tcp_bound_to_half_wnd()), and in
 * repair mode it does not know the window yet: larger segments would each wait for a window probe.
 */
static int first_mss(const struct hf_conn *conn)
{
	uint32_t window = conn->window.max_window, mss = conn->mss_clamp;
	uint32_t limit = window > DEFAULT_MSS ? window / 2 : window;

	if (limit && mss > limit)
		mss = limit;
	return mss > MAX_USER_MSS ? MAX_USER_MSS : mss < MIN_USER_MSS ? MIN_USER_MSS : (int)mss;
}

/* HF_STEP_CONNECT */
static void do_connect(struct hf_steps *steps, const struct hf_tcp_row *row)
{
	const struct hf_conn *conn = steps->conn;

	bind_local(steps);
	set_sequences(steps, conn->recv.seq - conn->recv.len, conn->send.seq - conn->send.len);
	/*
	 * connect() cuts the queue into segments by this value, and by 536 where it is not set. It
	 * goes back to 0 afterwards, since it would limit the segments of the connection's whole
	 * life.
	 */
	hf_steps_set_int(steps, "set TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, first_mss(conn));
	if (steps->ret == 0)
		hf_steps_note(
			steps, "connect in repair mode", connect_peer(steps, row->faked_peer));
	hf_steps_set_int(steps, "reset TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, 0);
	if (!row->stream)
		return;
	set_options(steps);
	set_timestamp(steps);
}

/* With 0 the kernel would choose one itself. */
static uint32_t initial_seq(const struct hf_conn *conn)
{
	return conn->send.seq ? conn->send.seq : 1;
}

/*
 * HF_STEP_SYN: outside repair mode connect() sends a SYN, with the sequence number that is set
 * (tcp_v4_connect()); the lock drops it, and the kernel sends it again. The owner's O_NONBLOCK is
 * borrowed, which is safe since the owner stands still.
 */
static void do_syn(struct hf_steps *steps, const struct hf_tcp_row *row)
{
	int flags = fcntl(steps->sock, F_GETFL), ret;

	hf_steps_note(steps, "read the file flags", flags);
	bind_local(steps);
	set_sequences(steps, 0, initial_seq(steps->conn));
	hf_steps_set_int(steps, "leave repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	if (steps->ret < 0)
		return;
	hf_steps_note(steps, "set O_NONBLOCK", fcntl(steps->sock, F_SETFL, flags | O_NONBLOCK));
	ret = connect_peer(steps, row->faked_peer);
	if (ret < 0 && errno == EINPROGRESS)
		ret = 0;
	hf_steps_note(steps, "connect", ret);
	hf_steps_note(steps, "reset O_NONBLOCK", fcntl(steps->sock, F_SETFL, flags));
	hf_steps_set_int(steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	if (row->connected)
		set_timestamp(steps);
}

/* A segment in the peer's name. Without options: the kernel takes it as one that says nothing about
 * them, even where timestamps were negotiated (tcp_fast_parse_options()). */
static struct hf_segment from_peer(const struct hf_steps *steps, uint8_t flags, uint32_t seq)
{
	const struct hf_conn *conn = steps->conn;

	return (struct hf_segment){.family = conn->family,
		.from = steps->peer,
		.to = conn->local,
		.seq = seq,
		.flags = flags,
		.window = (uint16_t)(conn->window.snd_wnd >> conn->snd_wscale)};
}

static void send_segment(struct hf_steps *steps, const struct hf_segment *segment, const char *what)
{
	int ret;

	if (steps->ret < 0)
		return;
	ret = hf_raw_send(steps->raw, segment, NULL);
	errno = -ret;
	hf_steps_note(steps, what, ret);
}

static int get_state(int sock)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? -1 : info.tcpi_state;
}

/* Segments to ourselves go over the loopback device: mostly done when they are sent. */
static void await_state(struct hf_steps *steps, enum hf_tcp_state state, const char *what)
{
	for (int attempt = 0; steps->ret == 0; attempt++) {
		if (get_state(steps->sock) == (int)state)
			return;
		if (attempt == STATE_ATTEMPTS) {
			errno = ETIMEDOUT;
			hf_steps_note(steps, what, -1);
		}
		usleep(1000);
	}
}

static void set_window(struct hf_steps *steps, const struct hf_window *window)
{
	const struct tcp_repair_window value = {window->snd_wl1, window->snd_wnd,
		window->max_window, window->rcv_wnd, window->rcv_wup};

	if (steps->ret == 0)
		hf_steps_note(steps, "set the windows",
			setsockopt(steps->sock, IPPROTO_TCP, TCP_REPAIR_WINDOW, &value,
				sizeof(value)));
}

/* A full receive queue has used the window up, and the kernel would refuse the peer's segments. */
static void open_window(struct hf_steps *steps, uint32_t rcv_nxt)
{
	const struct hf_window *saved = &steps->conn->window;

	set_window(steps, &(struct hf_window){rcv_nxt - 1, saved->snd_wnd, saved->max_window,
				  OPEN_WINDOW, rcv_nxt});
}

/* MSG_OOB finds nothing where SO_OOBINLINE is set, as it may have been after the byte was taken. */
static void take_urgent(struct hf_steps *steps)
{
	int inlined = 0;

	hf_steps_note(steps, "get SO_OOBINLINE",
		hf_get_int(steps->sock, SOL_SOCKET, SO_OOBINLINE, &inlined));
	hf_steps_set_int(steps, "reset SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 0);
	if (steps->ret == 0)
		hf_steps_note(steps, "take the urgent byte",
			(int)recv(steps->sock, &(char){0}, 1, MSG_OOB | MSG_DONTWAIT));
	hf_steps_set_int(steps, "set SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, inlined);
}

/*
 * HF_STEP_RECEIVED. The mark of urgent data comes into being as it did: by a segment of the peer,
 * with the one byte that is urgent.
 */
static void do_received(struct hf_steps *steps, const uint8_t *data)
{
	const struct hf_conn *conn = steps->conn;
	const struct hf_urgent *urgent = &conn->urgent;
	uint32_t seq = conn->recv.seq - conn->recv.len + urgent->at, now = seq;
	struct hf_segment segment = from_peer(steps, HF_SEGMENT_ACK | HF_SEGMENT_URG, seq);

	if (!urgent->present) {
		hf_steps_fill(steps, TCP_RECV_QUEUE, data, conn->recv.len);
		return;
	}
	hf_steps_fill(steps, TCP_RECV_QUEUE, data, urgent->at);
	open_window(steps, seq);
	segment.ack = conn->send.seq - conn->send.len;
	segment.urgent = 1; /* Linux counts to the byte behind it, tcp_check_urg() */
	segment.data = data[urgent->at];
	segment.len = 1;
	send_segment(steps, &segment, "send the urgent byte");
	hf_steps_set_int(
		steps, "choose the receive queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	for (int attempt = 0; now == seq && steps->ret == 0; attempt++) {
		hf_steps_note(steps, "read the receive sequence",
			hf_get_int(steps->sock, IPPROTO_TCP, TCP_QUEUE_SEQ, (int *)&now));
		if (now == seq && attempt == STATE_ATTEMPTS) {
			errno = ETIMEDOUT;
			hf_steps_note(steps, "receive the urgent byte", -1);
		} else if (now == seq) {
			usleep(1000);
		}
	}
	hf_steps_fill(
		steps, TCP_RECV_QUEUE, data + urgent->at + 1, conn->recv.len - urgent->at - 1);
	if (urgent->taken)
		take_urgent(steps);
}

/* HF_STEP_OUR_FIN: one that was sent is queued in repair mode, and counts as sent. */
static void do_our_fin(struct hf_steps *steps)
{
	bool unsent = steps->conn->fin_unsent;

	if (unsent)
		hf_steps_set_int(
			steps, "leave repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	else
		hf_steps_set_int(steps, "choose the send queue", IPPROTO_TCP, TCP_REPAIR_QUEUE,
			TCP_SEND_QUEUE);
	if (steps->ret == 0)
		hf_steps_note(steps, "shut down", shutdown(steps->sock, SHUT_WR));
	if (unsent)
		hf_steps_set_int(
			steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
}

/* HF_STEP_PEER_FIN, HF_STEP_PEER_ACK, HF_STEP_PEER_RST */
static void do_segment(struct hf_steps *steps, enum hf_step step, enum hf_tcp_state state)
{
	const struct hf_conn *conn = steps->conn;
	uint32_t rcv_nxt = conn->recv.seq + (state == HF_TCP_LAST_ACK);
	struct hf_segment segment = from_peer(steps, HF_SEGMENT_ACK, rcv_nxt);

	segment.ack = conn->send.seq - conn->send.len;
	if (step == HF_STEP_PEER_FIN)
		segment.flags |= HF_SEGMENT_FIN;
	if (step == HF_STEP_PEER_ACK)
		segment.ack = conn->send.seq + 1; /* our FIN */
	if (step == HF_STEP_PEER_RST) {
		segment.flags |= HF_SEGMENT_RST;
		if (state == HF_TCP_SYN_SENT) {
			segment.seq = 0;
			segment.ack = initial_seq(conn) + 1; /* our SYN */
		}
	}
	if (state != HF_TCP_SYN_SENT)
		open_window(steps, rcv_nxt);
	send_segment(steps, &segment, "send a segment in the peer's name");
}

/* HF_STEP_DISCONNECT: the kernel notes a reset, since the connection is not at its end. */
static void do_disconnect(struct hf_steps *steps)
{
	hf_steps_set_int(steps, "leave repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	if (steps->ret == 0)
		disconnect(steps);
	hf_steps_set_int(steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
}

static void do_step(struct hf_steps *steps, const struct hf_tcp_row *row, enum hf_step step,
	enum hf_tcp_state state, const uint8_t *recv_data, const uint8_t *send_data)
{
	const struct hf_conn *conn = steps->conn;
	size_t sent = conn->send.len - conn->unsent;

	switch (step) {
	case HF_STEP_CONNECT:
		do_connect(steps, row);
		break;
	case HF_STEP_SYN:
		do_syn(steps, row);
		break;
	case HF_STEP_RECEIVED:
		do_received(steps, recv_data);
		break;
	case HF_STEP_SENT:
		hf_steps_fill(steps, TCP_SEND_QUEUE, send_data, sent);
		break;
	case HF_STEP_UNSENT:
		if (conn->unsent)
			hf_steps_fill_unsent(steps, send_data + sent, conn->unsent);
		break;
	case HF_STEP_OUR_FIN:
		do_our_fin(steps);
		break;
	case HF_STEP_DISCONNECT:
		do_disconnect(steps);
		break;
	case HF_STEP_WINDOW:
		set_window(steps, &conn->window);
		break;
	default:
		do_segment(steps, step, state);
	}
}

/*
 * Some steps make the kernel send: what is unsent, a SYN, answers to the peer's segments. The lock
 * holds that, but not on the loopback device, where it would count as sent and be lost, and not
 * towards a peer that is made up. So the socket gets a mark that the lock drops.
 */
static bool is_loud(const struct hf_conn *conn)
{
	return conn->state != HF_TCP_ESTABLISHED || conn->unsent || conn->urgent.present;
}

static void set_mark(struct hf_steps *steps, int mark)
{
	hf_steps_set_int(steps, "set SO_MARK", SOL_SOCKET, SO_MARK, mark);
}

static void do_all(struct hf_steps *steps, const struct hf_tcp_row *row, const uint8_t *recv_data,
	const uint8_t *send_data)
{
	enum hf_tcp_state state = HF_TCP_CLOSE;
	bool loud = is_loud(steps->conn), muted = false;
	int mark = 0;

	for (const enum hf_step *step = row->steps; *step != HF_STEP_END; step++) {
		enum hf_tcp_state next = hf_tcp_after(state, *step);

		/* Not for connect() in repair mode: routes may depend on the mark. */
		if (loud && !muted && *step != HF_STEP_CONNECT) {
			hf_steps_note(steps, "get SO_MARK",
				hf_get_int(steps->sock, SOL_SOCKET, SO_MARK, &mark));
			set_mark(steps, (int)HF_MARK_MUTE);
			muted = true;
		}
		do_step(steps, row, *step, state, recv_data, send_data);
		if (next != state)
			await_state(steps, next, "reach the next state");
		state = next;
	}
	if (muted)
		set_mark(steps, mark);
}

/* 1 if the socket already is this connection, 0 if it is closed, else a negative errno. */
static int look(int sock, const struct hf_conn *conn, struct hf_error *err)
{
	struct hf_conn now = {0};
	int ret = hf_tcp_identify(sock, &now, err);

	if (ret < 0)
		return ret;
	if (ret == HF_TCP_NONE || now.family != conn->family || now.state == HF_TCP_LISTEN)
		return hf_error_set(err, -EBADFD,
			"the socket is not the closed TCP socket that CRIU's tcp-close leaves");
	if (now.state == HF_TCP_CLOSE)
		return 0;
	if (now.local.port != conn->local.port || memcmp(now.local.ip, conn->local.ip, 16) != 0 ||
		(now.state != HF_TCP_SYN_SENT &&
			(now.peer.port != conn->peer.port ||
				memcmp(now.peer.ip, conn->peer.ip, 16) != 0)))
		return hf_error_set(err, -EBADFD, "the socket is another connection");
	return 1;
}

int hf_tcp_rebuild(int sock, const struct hf_conn *conn, const void *recv_data,
	const void *send_data, struct hf_raw *raw, struct hf_error *err)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);
	struct hf_steps steps = {.sock = sock, .conn = conn, .peer = conn->peer, .raw = raw};
	struct hf_buffers buffers = {0};
	char text[HF_CONN_TEXT];
	int ret;

	if (row->steps[0] == HF_STEP_END)
		return 1;
	ret = look(sock, conn, err);
	if (ret != 0)
		return ret < 0 ? hf_error_context(
					 err, ret, "connection %s", hf_conn_format(text, conn))
			       : ret;
	if (row->faked_peer)
		fake_peer(&steps);
	disconnect(&steps);
	hf_steps_set_int(&steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	hf_steps_open_buffers(&steps, &buffers);
	do_all(&steps, row, recv_data, send_data);
	if ((conn->shutdown & HF_SHUTDOWN_RECV) && row->connected && !row->peer_fin &&
		steps.ret == 0)
		hf_steps_note(&steps, "shut down", shutdown(sock, SHUT_RD));
	hf_steps_close_buffers(&steps, &buffers);
	if (steps.ret < 0)
		return hf_error_sys(err, steps.ret, "connection %s: cannot %s",
			hf_conn_format(text, conn), steps.what);
	return 0;
}

int hf_tcp_resume(int sock, const struct hf_conn *conn, struct hf_error *err)
{
	int ret = hf_set_int(sock, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF);
	char text[HF_CONN_TEXT];

	if (ret == 0)
		ret = hf_set_int(sock, SOL_SOCKET, SO_REUSEADDR, conn->reuseaddr);
	return ret < 0 ? hf_error_sys(err, ret, "connection %s: cannot leave repair mode",
				 hf_conn_format(text, conn))
		       : 0;
}
