// SPDX-License-Identifier: GPL-2.0-or-later
/* The steps that connect, and that disconnect. */
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/address.h"
#include "sys/net_addresses.h"
#include "sys/sockopt_int.h"
#include "sys/tcp_steps.h"

#define MAX_USER_MSS   32767 /* kernel MAX_TCP_WINDOW: what TCP_MAXSEG accepts */
#define MIN_USER_MSS   88    /* kernel TCP_MIN_MSS */
#define DEFAULT_MSS    536   /* kernel TCP_MSS_DEFAULT */
#define TCPOPT_MAXSEG  2
#define TCPOPT_WINDOW  3
#define TCPOPT_SACK_OK 4
#define TCPOPT_TSTAMP  8
#define TUPLE_ATTEMPTS 1000 /* of 1 ms: the old owner's last close may be on its way */
#define FAKE_PORTS     64   /* tried for a peer that is made up */

void hf_steps_disconnect(struct hf_steps *steps)
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

/*
 * An IPv6 address of a network that was just made may not be bound to for a second or two. To wait
 * would keep all connections: this one waits alone, since the kernel takes no packets for the
 * address until it is sure of it.
 */
static int bind_tentative(const struct hf_steps *steps, const struct sockaddr *local, socklen_t len)
{
	int was = 0, ret;

	if (steps->conn->family != HF_FAMILY_IPV6 ||
		!hf_net_address_tentative(steps->tools->raw->netns, steps->conn->local.ip))
		return -EADDRNOTAVAIL;
	ret = hf_get_int(steps->sock, IPPROTO_IP, IP_FREEBIND, &was);
	if (ret == 0)
		ret = hf_set_int(steps->sock, IPPROTO_IP, IP_FREEBIND, 1);
	if (ret < 0)
		return ret;
	ret = bind(steps->sock, local, len) < 0 ? -errno : 0;
	hf_set_int(steps->sock, IPPROTO_IP, IP_FREEBIND, was);
	return ret;
}

static void bind_local(struct hf_steps *steps)
{
	struct sockaddr_storage local;
	socklen_t len = hf_address_make(&local, steps->conn->family, &steps->conn->local);
	int ret;

	if (steps->ret < 0 || is_bound(steps))
		return;
	ret = bind(steps->sock, (struct sockaddr *)&local, len) < 0 ? -errno : 0;
	if (ret == -EADDRNOTAVAIL)
		ret = bind_tentative(steps, (struct sockaddr *)&local, len);
	errno = -ret;
	hf_steps_note(steps, "bind to the local address", ret);
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

void hf_steps_fake_peer(struct hf_steps *steps)
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

void hf_steps_write_options(struct hf_steps *steps, unsigned int phases)
{
	if (steps->ret == 0)
		steps->ret = hf_sock_options_write(
			steps->sock, steps->conn, phases, steps->tools->options, steps->err);
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
void hf_step_connect(struct hf_steps *steps, const struct hf_tcp_row *row)
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
	hf_steps_write_options(steps, HF_SOCKOPT_AFTER);
	if (!row->stream)
		return;
	set_options(steps);
	set_timestamp(steps);
}

/*
 * HF_STEP_SYN: outside repair mode connect() sends a SYN, with the sequence number that is set
 * (tcp_v4_connect()); the lock drops it, and the kernel sends it again. The owner's O_NONBLOCK is
 * borrowed, which is safe since the owner stands still.
 */
void hf_step_syn(struct hf_steps *steps, const struct hf_tcp_row *row)
{
	int flags = fcntl(steps->sock, F_GETFL), ret;

	hf_steps_note(steps, "read the file flags", flags);
	bind_local(steps);
	set_sequences(steps, 0, hf_initial_seq(steps->conn));
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
	hf_steps_write_options(steps, HF_SOCKOPT_AFTER);
	if (row->connected)
		set_timestamp(steps);
}

/* HF_STEP_DISCONNECT: the kernel notes a reset, since the connection is not at its end. */
void hf_step_disconnect(struct hf_steps *steps)
{
	hf_steps_set_int(steps, "leave repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	if (steps->ret == 0)
		hf_steps_disconnect(steps);
	hf_steps_set_int(steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
}
