// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/tcp_repair.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/prelude.h"
#include "lib/tcp_state.h"
#include "sys/address.h"
#include "sys/sockopt_int.h"
#include "sys/tcp_numbers.h"
#include "sys/tcp_queue.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef TCPI_OPT_USEC_TS
#define TCPI_OPT_USEC_TS 64
#endif

static int get_addresses(int sock, struct hf_conn *conn)
{
	struct sockaddr_storage local = {0}, peer = {0};
	socklen_t len = sizeof(local);

	if (getsockname(sock, (struct sockaddr *)&local, &len) < 0)
		return -errno;
	conn->family = hf_address_read(&conn->local, &local);
	/* Unlike getpeername(2) it tells the peer in SYN-SENT too, and the last one of a closed
	 * socket. It wants the exact length, which is that of the other address. */
	if (getsockopt(sock, SOL_SOCKET, SO_PEERNAME, &peer, &len) == 0)
		hf_address_read(&conn->peer, &peer);
	else if (errno != ENOTCONN)
		return -errno;
	return 0;
}

/* The name of the upper layer protocol, "tls" for kernel TLS; empty for none. */
static void get_ulp(int sock, char name[16])
{
	socklen_t len = 15;

	memset(name, 0, 16);
	if (getsockopt(sock, IPPROTO_TCP, TCP_ULP, name, &len) < 0)
		name[0] = '\0';
}

/*
 * What a closed socket has behind it; its last peer is known until it is disconnected. An error
 * that the owner has not seen shows as POLLERR; which one it is the kernel tells only by forgetting
 * it (SO_ERROR), so that is concluded from whether the connection ever stood. tp->delivered counts
 * its SYN, but not that of a connection which was restored; that one had its receive buffer
 * measured (tcp_init_buffer_space()).
 */
static enum hf_closed closed_kind(int sock, bool has_peer, const struct tcp_info *info)
{
	struct pollfd events = {sock, 0, 0};
	bool error = poll(&events, 1, 0) > 0 && (events.revents & POLLERR);

	if (!has_peer)
		return error ? HF_CLOSED_DISCONNECTED : HF_CLOSED_UNCONNECTED;
	if (!error)
		return HF_CLOSED_FINISHED;
	return info->tcpi_delivered || info->tcpi_rcv_space ? HF_CLOSED_RESET : HF_CLOSED_REFUSED;
}

/* The state, and what follows from it. */
static void set_state(int sock, struct hf_conn *conn, const struct tcp_info *info)
{
	conn->state = info->tcpi_state;
	conn->closed = HF_CLOSED_UNCONNECTED;
	if (conn->state != HF_TCP_CLOSE)
		return;
	conn->closed = closed_kind(sock, conn->peer.port != 0, info);
	memset(&conn->peer, 0, sizeof(conn->peer));
}

static int refuse(const struct hf_conn *conn, const char *why, struct hf_error *err)
{
	char text[HF_CONN_TEXT];

	return hf_error_set(err, -EOPNOTSUPP, "connection %s %s", hf_conn_format(text, conn), why);
}

static int refuse_state(const struct hf_conn *conn, struct hf_error *err)
{
	char text[HF_CONN_TEXT];

	return hf_error_set(err, -EOPNOTSUPP,
		"connection %s is in state %s, which holdfast cannot save: wait until it is "
		"established or closed and try again",
		hf_conn_format(text, conn), hf_tcp_state_name(conn->state));
}

int hf_tcp_identify_known(
	int sock, const struct hf_diag_socket *known, struct hf_conn *conn, struct hf_error *err)
{
	int reuse = 0;
	int ret = hf_get_int(sock, SOL_SOCKET, SO_REUSEADDR, &reuse);

	if (ret < 0)
		return hf_error_sys(err, ret, "cannot look at a TCP socket");
	conn->family = known->family;
	conn->state = known->state;
	conn->local = known->local;
	conn->peer = known->peer;
	conn->reuseaddr = reuse != 0;
	return hf_tcp_row(conn->state, conn->closed) ? HF_TCP_SOCKET : refuse_state(conn, err);
}

int hf_tcp_identify(int sock, struct hf_conn *conn, struct hf_error *err)
{
	int domain = 0, type = 0, protocol = 0, reuse = 0, ret;
	struct tcp_info info;
	char ulp[16];

	ret = hf_get_int(sock, SOL_SOCKET, SO_DOMAIN, &domain);
	if (ret == 0)
		ret = hf_get_int(sock, SOL_SOCKET, SO_TYPE, &type);
	if (ret == 0)
		ret = hf_get_int(sock, SOL_SOCKET, SO_PROTOCOL, &protocol);
	if (ret < 0)
		return hf_error_sys(err, ret, "cannot look at a socket");
	if ((domain != AF_INET && domain != AF_INET6) || type != SOCK_STREAM ||
		(protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP))
		return HF_TCP_NONE;
	ret = hf_tcp_get_info(sock, &info);
	if (ret == 0)
		ret = get_addresses(sock, conn);
	if (ret == 0)
		ret = hf_get_int(sock, SOL_SOCKET, SO_REUSEADDR, &reuse);
	if (ret < 0)
		return hf_error_sys(err, ret, "cannot look at a TCP socket");
	set_state(sock, conn, &info);
	conn->reuseaddr = reuse != 0;
	if (protocol == IPPROTO_MPTCP)
		return conn->state == HF_TCP_LISTEN || conn->state == HF_TCP_CLOSE
			       ? HF_TCP_NONE
			       : refuse(conn,
					 "speaks MPTCP, which holdfast cannot save: close it, or "
					 "start the program without MPTCP",
					 err);
	get_ulp(sock, ulp);
	if (strcmp(ulp, "tls") == 0)
		return refuse(conn,
			"uses kernel TLS, which holdfast cannot save: close it, or turn "
			"kernel TLS off in the program",
			err);
	if (!hf_tcp_row(conn->state, conn->closed))
		return refuse_state(conn, err);
	return HF_TCP_SOCKET;
}

int hf_tcp_freeze(int sock, struct hf_error *err)
{
	int ret = hf_set_int(sock, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);

	return ret < 0 ? hf_error_sys(err, ret, "cannot turn TCP_REPAIR on") : 0;
}

bool hf_tcp_is_frozen(int sock)
{
	int on = 0;

	return hf_get_int(sock, IPPROTO_TCP, TCP_REPAIR, &on) == 0 && on != 0;
}

int hf_tcp_thaw(int sock, bool reuseaddr, struct hf_error *err)
{
	int ret = hf_set_int(sock, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);

	/* TCP_REPAIR took SO_REUSEADDR for itself (kernel SK_FORCE_REUSE). */
	if (ret == 0)
		ret = hf_set_int(sock, SOL_SOCKET, SO_REUSEADDR, reuseaddr);
	return ret < 0 ? hf_error_sys(err, ret, "cannot turn TCP_REPAIR off") : 0;
}

static int get_timestamp(int sock, struct hf_conn *conn, const struct tcp_info *info)
{
	conn->usec_timestamps = info->tcpi_options & TCPI_OPT_USEC_TS;
	return hf_tcp_get_timestamp(sock, conn);
}

static void note_peer(struct hf_conn *conn, const struct tcp_info *info)
{
	const struct hf_rtt rtt = {info->tcpi_min_rtt, info->tcpi_rtt, info->tcpi_rcv_rtt};

	conn->rtt_us = hf_rtt_us(&rtt);
	conn->peer_silent = info->tcpi_last_data_recv > HF_SILENT_MS;
}

/* What the two ends agreed on, and their windows. */
static int read_negotiated(int sock, struct hf_conn *conn, const struct tcp_info *info)
{
	int mss = 0;
	int ret = hf_get_int(sock, IPPROTO_TCP, TCP_MAXSEG, &mss); /* in repair mode: mss_clamp */

	if (ret == 0)
		ret = get_timestamp(sock, conn, info);
	if (ret == 0)
		ret = hf_tcp_get_window(sock, &conn->window);
	if (ret < 0)
		return ret;
	hf_tcp_agreed(conn, info);
	conn->mss_clamp = (uint32_t)mss;
	note_peer(conn, info);
	return 0;
}

/*
 * The peer's last window may have come in a segment out of order. Those are not saved, and come
 * again: the window then counts as that of the next segment in order. The kernel refuses one beyond
 * our own window, which may have shrunk since (tcp_repair_set_window()).
 */
static void bring_wl1_back(struct hf_conn *conn, const struct hf_tcp_row *row)
{
	uint32_t rcv_nxt = conn->recv.seq + row->peer_fin;

	if ((int32_t)(rcv_nxt - conn->window.snd_wl1) < 0)
		conn->window.snd_wl1 = rcv_nxt;
}

/* A connection that stands, in one of the states with sequence numbers on both sides. */
static int read_stream(int sock, struct hf_conn *conn, const struct hf_tcp_row *row,
	const struct tcp_info *info, struct hf_queues *queues)
{
	int ret = read_negotiated(sock, conn, info);

	if (ret == 0)
		ret = hf_tcp_read_recv_queue(sock, conn, row, queues);
	bring_wl1_back(conn, row);
	if (ret == 0)
		ret = hf_tcp_read_send_queue(sock, conn, row, queues);
	return ret;
}

/* All that a connection in SYN-SENT has is its initial sequence number and its clock. */
static int read_syn(int sock, struct hf_conn *conn, const struct tcp_info *info)
{
	uint32_t write_seq = 0;
	int ret = hf_tcp_choose_queue(sock, TCP_SEND_QUEUE, &write_seq);

	/*
	 * Data that went out with the SYN (RFC 7413) would be a queue that nothing can restore. The
	 * kernel gives all of it or, as here where it does not fit, an error (tcp_peek_sndq()).
	 */
	if (ret == 0 && recv(sock, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
		return -EOPNOTSUPP;
	conn->send.seq = write_seq - 1;
	return ret < 0 ? ret : get_timestamp(sock, conn, info);
}

static int read_connected(
	int sock, struct hf_conn *conn, const struct tcp_info *info, struct hf_queues *queues)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);
	int ret, thawed;

	ret = hf_set_int(sock, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	if (ret < 0)
		return ret;
	ret = row->stream ? read_stream(sock, conn, row, info, queues) : read_syn(sock, conn, info);
	thawed = hf_tcp_thaw(sock, conn->reuseaddr, NULL);
	return ret < 0 ? ret : thawed;
}

int hf_tcp_read(int sock, struct hf_conn *conn, struct hf_queues *queues, struct hf_error *err)
{
	const struct hf_tcp_row *row;
	char text[HF_CONN_TEXT];
	struct tcp_info info;
	int ret = hf_tcp_get_info(sock, &info);

	hf_conn_format(text, conn);
	queues->left = false;
	if (ret == 0) {
		/* What is closed stays so: its owner stands still. */
		if (conn->state != HF_TCP_CLOSE)
			set_state(sock, conn, &info);
		row = hf_tcp_row(conn->state, conn->closed);
		if (!row)
			return refuse_state(conn, err);
		if (row->connected)
			ret = read_connected(sock, conn, &info, queues);
		else if (row->received)
			ret = hf_tcp_read_recv_queue(sock, conn, row, queues);
		if (ret == -EOPNOTSUPP && conn->state == HF_TCP_SYN_SENT)
			return refuse(conn,
				"has sent data with its SYN (TCP fast open), which holdfast cannot "
				"save: wait until it is established and try again",
				err);
	}
	return ret < 0 ? hf_error_sys(err, ret, "cannot read the state of connection %s", text) : 0;
}
