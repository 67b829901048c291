// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/tcp_repair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef TCPI_OPT_USEC_TS
#define TCPI_OPT_USEC_TS 64
#endif

static int get_int(int sock, int level, int option, int *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(sock, level, option, value, &len) < 0 ? -errno : 0;
}

static int set_int(int sock, int level, int option, int value)
{
	return setsockopt(sock, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static void set_endpoint(struct hf_endpoint *to, const struct sockaddr_storage *from)
{
	memset(to, 0, sizeof(*to));
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)from;

		memcpy(to->ip, &in->sin_addr, 4);
		to->port = ntohs(in->sin_port);
	} else {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

		memcpy(to->ip, &in6->sin6_addr, 16);
		to->port = ntohs(in6->sin6_port);
		to->scope_id = in6->sin6_scope_id;
	}
}

static int get_addresses(int sock, struct hf_conn *conn)
{
	struct sockaddr_storage local = {0}, peer = {0};
	socklen_t local_len = sizeof(local), peer_len = sizeof(peer);

	if (getsockname(sock, (struct sockaddr *)&local, &local_len) < 0)
		return -errno;
	conn->family = local.ss_family == AF_INET ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6;
	set_endpoint(&conn->local, &local);
	/* A connection that its peer reset has no peer any more. */
	if (getpeername(sock, (struct sockaddr *)&peer, &peer_len) == 0)
		set_endpoint(&conn->peer, &peer);
	return 0;
}

static int get_info(int sock, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return getsockopt(sock, IPPROTO_TCP, TCP_INFO, info, &len) < 0 ? -errno : 0;
}

static int refuse(const struct hf_conn *conn, const char *why, struct hf_error *err)
{
	char text[HF_CONN_TEXT];

	return hf_error_set(err, -EOPNOTSUPP, "connection %s %s", hf_conn_format(text, conn), why);
}

/* The name of the upper layer protocol, "tls" for kernel TLS; empty for none. */
static void get_ulp(int sock, char name[16])
{
	socklen_t len = 15;

	memset(name, 0, 16);
	if (getsockopt(sock, IPPROTO_TCP, TCP_ULP, name, &len) < 0)
		name[0] = '\0';
}

int hf_tcp_identify(int sock, struct hf_conn *conn, struct hf_error *err)
{
	int domain = 0, type = 0, protocol = 0, reuse = 0, ret;
	struct tcp_info info;
	char ulp[16];

	if (get_int(sock, SOL_SOCKET, SO_DOMAIN, &domain) < 0 ||
		get_int(sock, SOL_SOCKET, SO_TYPE, &type) < 0 ||
		get_int(sock, SOL_SOCKET, SO_PROTOCOL, &protocol) < 0)
		return hf_error_sys(err, -errno, "cannot look at a socket");
	if ((domain != AF_INET && domain != AF_INET6) || type != SOCK_STREAM ||
		(protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP))
		return HF_TCP_NONE;
	ret = get_info(sock, &info);
	if (ret == 0)
		ret = get_addresses(sock, conn);
	if (ret == 0)
		ret = get_int(sock, SOL_SOCKET, SO_REUSEADDR, &reuse);
	if (ret < 0)
		return hf_error_sys(err, ret, "cannot look at a TCP socket");
	conn->state = info.tcpi_state;
	conn->reuseaddr = reuse != 0;
	if (conn->state == HF_TCP_LISTEN || conn->state == HF_TCP_CLOSE)
		return HF_TCP_NONE;
	if (protocol == IPPROTO_MPTCP)
		return refuse(conn,
			"speaks MPTCP, which holdfast cannot save: close it, or start "
			"the program without MPTCP",
			err);
	get_ulp(sock, ulp);
	if (strcmp(ulp, "tls") == 0)
		return refuse(conn,
			"uses kernel TLS, which holdfast cannot save: close it, or turn "
			"kernel TLS off in the program",
			err);
	if (conn->state != HF_TCP_ESTABLISHED) {
		char text[HF_CONN_TEXT];

		return hf_error_set(err, -EOPNOTSUPP,
			"connection %s is in state %s; holdfast saves ESTABLISHED ones only: wait "
			"until it is closed and try again",
			hf_conn_format(text, conn), hf_tcp_state_name(conn->state));
	}
	return HF_TCP_CONNECTION;
}

int hf_tcp_freeze(int sock, struct hf_error *err)
{
	int ret = set_int(sock, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);

	return ret < 0 ? hf_error_sys(err, ret, "cannot turn TCP_REPAIR on") : 0;
}

int hf_tcp_thaw(int sock, bool reuseaddr, struct hf_error *err)
{
	int ret = set_int(sock, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);

	/* TCP_REPAIR took SO_REUSEADDR for itself (kernel SK_FORCE_REUSE). */
	if (ret == 0)
		ret = set_int(sock, SOL_SOCKET, SO_REUSEADDR, reuseaddr);
	return ret < 0 ? hf_error_sys(err, ret, "cannot turn TCP_REPAIR off") : 0;
}

static void set_options(struct hf_conn *conn, const struct tcp_info *info)
{
	conn->has_timestamps = info->tcpi_options & TCPI_OPT_TIMESTAMPS;
	conn->has_sack = info->tcpi_options & TCPI_OPT_SACK;
	conn->has_wscale = info->tcpi_options & TCPI_OPT_WSCALE;
	conn->usec_timestamps = info->tcpi_options & TCPI_OPT_USEC_TS;
	conn->snd_wscale = conn->has_wscale ? info->tcpi_snd_wscale : 0;
	conn->rcv_wscale = conn->has_wscale ? info->tcpi_rcv_wscale : 0;
}

static int read_state(int sock, struct hf_conn *conn)
{
	struct tcp_repair_window window;
	socklen_t len = sizeof(window);
	struct tcp_info info;
	int mss = 0, timestamp = 0;
	int ret = get_info(sock, &info);

	if (ret == 0)
		ret = get_int(sock, IPPROTO_TCP, TCP_MAXSEG, &mss); /* in repair mode: mss_clamp */
	if (ret == 0)
		ret = get_int(sock, IPPROTO_TCP, TCP_TIMESTAMP, &timestamp);
	if (ret == 0 && getsockopt(sock, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &len) < 0)
		ret = -errno;
	if (ret < 0)
		return ret;
	conn->state = info.tcpi_state;
	set_options(conn, &info);
	conn->mss_clamp = (uint32_t)mss;
	conn->timestamp = (uint32_t)timestamp;
	conn->window = (struct hf_window){
		window.snd_wl1, window.snd_wnd, window.max_window, window.rcv_wnd, window.rcv_wup};
	return 0;
}

static int make_room(uint8_t **buf, size_t *room, size_t len)
{
	uint8_t *grown;

	if (len <= *room)
		return 0;
	grown = realloc(*buf, len);
	if (!grown)
		return -ENOMEM;
	*buf = grown;
	*room = len;
	return 0;
}

/* Reads one queue; ioctl tells its length. */
static int read_queue(int sock, int which, unsigned long length_ioctl, struct hf_queue *queue,
	uint8_t **buf, size_t *room)
{
	int len = 0, seq = 0;
	int ret = set_int(sock, IPPROTO_TCP, TCP_REPAIR_QUEUE, which);

	if (ret == 0)
		ret = get_int(sock, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq);
	if (ret == 0 && ioctl(sock, length_ioctl, &len) < 0)
		ret = -errno;
	if (ret == 0)
		ret = make_room(buf, room, (size_t)len);
	if (ret < 0)
		return ret;
	if (len > 0) {
		ssize_t n = recv(sock, *buf, (size_t)len, MSG_PEEK | MSG_DONTWAIT);

		if (n < 0)
			return -errno;
		if (n != len)
			return -EIO;
	}
	queue->seq = (uint32_t)seq;
	queue->len = (uint32_t)len;
	return 0;
}

int hf_tcp_read(int sock, struct hf_conn *conn, struct hf_queues *queues, struct hf_error *err)
{
	char text[HF_CONN_TEXT];
	int unsent = 0;
	int ret = read_state(sock, conn);

	if (ret == 0)
		ret = read_queue(sock, TCP_RECV_QUEUE, SIOCINQ, &conn->recv, &queues->recv,
			&queues->recv_room);
	if (ret == 0)
		ret = read_queue(sock, TCP_SEND_QUEUE, SIOCOUTQ, &conn->send, &queues->send,
			&queues->send_room);
	if (ret == 0 && ioctl(sock, SIOCOUTQNSD, &unsent) < 0)
		ret = -errno;
	/* Back to no queue, so that an application that goes on reads and sends as before. */
	if (ret == 0)
		ret = set_int(sock, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_NO_QUEUE);
	conn->unsent = (uint32_t)unsent;
	return ret < 0 ? hf_error_sys(err, ret, "cannot read the state of connection %s",
				 hf_conn_format(text, conn))
		       : 0;
}

void hf_queues_clear(struct hf_queues *queues)
{
	free(queues->recv);
	free(queues->send);
	memset(queues, 0, sizeof(*queues));
}
