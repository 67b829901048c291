// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a socket must be before the kernel is asked to make it: each rule with its source. Rules
 * that the kernel would enforce by EINVAL in the middle of a restore are here, so that a bad image
 * is found before anything was created. Which parts a socket has is in the table of
 * lib/tcp_state.c; a part that its state does not have must be 0.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "lib/image_format.h"
#include "lib/sockopt.h"

#define MAX_WSCALE 14 /* RFC 7323 section 2.3 */

static int bad(struct hf_error *err, const char *field, const char *why)
{
	return hf_error_set(err, -EBADMSG, "%s: %s", field, why);
}

/* A part that is there although the state has none. */
static int surplus(const struct hf_conn *conn, const char *field, struct hf_error *err)
{
	return hf_error_set(err, -EBADMSG, "%s: a socket in state %s has none", field,
		hf_tcp_state_name(conn->state));
}

/* RFC 1982: a lies after b on the circle of sequence numbers. */
static bool seq_after(uint32_t a, uint32_t b)
{
	return (int32_t)(b - a) < 0;
}

static bool all_zero(const void *at, size_t len)
{
	const uint8_t *bytes = at;

	while (len > 0 && bytes[len - 1] == 0)
		len--;
	return len == 0;
}

static int check_state(const struct hf_conn *conn, struct hf_error *err)
{
	if (conn->closed >= HF_CLOSED_KINDS)
		return bad(err, "closed", "is no kind of closed socket");
	if (conn->closed && conn->state != HF_TCP_CLOSE)
		return surplus(conn, "closed", err);
	if (!hf_tcp_row(conn->state, conn->closed))
		return hf_error_set(err, -EBADMSG, "state: %u (%s) cannot be restored",
			(unsigned int)conn->state, hf_tcp_state_name(conn->state));
	if (conn->shutdown > (HF_SHUTDOWN_RECV | HF_SHUTDOWN_SEND))
		return bad(err, "shutdown", "is no set of directions");
	return 0;
}

int hf_check_family(enum hf_family family, struct hf_error *err)
{
	return family == HF_FAMILY_IPV4 || family == HF_FAMILY_IPV6
		       ? 0
		       : bad(err, "family", "neither 4 nor 6");
}

/* What holds for every address, even one that is not set. */
static int check_form(enum hf_family family, const struct hf_endpoint *endpoint, const char *field,
	struct hf_error *err)
{
	bool v4 = family == HF_FAMILY_IPV4;

	if (v4 && !all_zero(endpoint->ip + 4, 12))
		return bad(err, field, "the address is longer than an IPv4 address");
	if (endpoint->scope_id && (v4 || !hf_endpoint_is_link_local(endpoint)))
		return bad(err, field, "a scope id on an address that is not link-local");
	return 0;
}

/* An end of a connection: RFC 1122 section 4.2.3.10 allows no multicast or broadcast. */
static int check_end(enum hf_family family, const struct hf_endpoint *endpoint, const char *field,
	struct hf_error *err)
{
	static const uint8_t broadcast[4] = {255, 255, 255, 255};
	const uint8_t *v4 = hf_endpoint_ipv4(family, endpoint);

	if (v4 ? all_zero(v4, 4) : all_zero(endpoint->ip, sizeof(endpoint->ip)))
		return bad(err, field, "the address is unspecified");
	if (v4 ? (v4[0] & 0xf0) == 0xe0 : endpoint->ip[0] == 0xff)
		return bad(err, field, "the address is a multicast address");
	if (v4 && memcmp(v4, broadcast, sizeof(broadcast)) == 0)
		return bad(err, field, "the address is the broadcast address");
	if (endpoint->port == 0)
		return bad(err, field, "the port is 0");
	return check_form(family, endpoint, field, err);
}

int hf_check_connected(enum hf_family family, const struct hf_endpoint *local,
	const struct hf_endpoint *peer, struct hf_error *err)
{
	int ret = check_end(family, local, "local", err);

	if (ret == 0)
		ret = check_end(family, peer, "peer", err);
	if (ret < 0)
		return ret;
	if (!hf_endpoint_ipv4(family, local) != !hf_endpoint_ipv4(family, peer))
		return bad(err, "peer", "only one of the two addresses is IPv4-mapped");
	return 0;
}

static int check_addresses(
	const struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_error *err)
{
	bool listens = conn->state == HF_TCP_LISTEN;
	int ret = hf_check_family(conn->family, err);

	if (ret < 0)
		return ret;
	if (conn->v6only && !listens)
		return surplus(conn, "v6only", err);
	if (conn->v6only && hf_endpoint_ipv4(conn->family, &conn->local))
		return bad(err, "v6only", "set on an IPv4 address");
	if (row->connected)
		return hf_check_connected(conn->family, &conn->local, &conn->peer, err);
	if (!all_zero(conn->peer.ip, sizeof(conn->peer.ip)) || conn->peer.port ||
		conn->peer.scope_id)
		return surplus(conn, "peer", err);
	/* What is left of a connection has its local end; the others are bound, or not. */
	if (row->received)
		return check_end(conn->family, &conn->local, "local", err);
	if (listens && conn->local.port == 0)
		return bad(err, "local", "the port is 0");
	return check_form(conn->family, &conn->local, "local", err);
}

static int check_send(
	const struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_error *err)
{
	if (!hf_has_send(row) && conn->send.seq)
		return surplus(conn, "send", err);
	if (!row->sending && (conn->send.len || conn->unsent))
		return surplus(conn, "send", err);
	if (conn->send.len > HF_MAX_QUEUE)
		return bad(err, "send", "the queue is longer than 1 GiB");
	if (conn->unsent > conn->send.len)
		return bad(err, "unsent", "more than the send queue holds");
	if (conn->fin_unsent && (!row->our_fin || row->fin_acked))
		return surplus(conn, "fin_unsent", err);
	if (row->our_fin && conn->unsent && !conn->fin_unsent)
		return bad(err, "fin_unsent", "a FIN was sent before the bytes in front of it");
	return 0;
}

static int check_receive(
	const struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_error *err)
{
	const struct hf_urgent *urgent = &conn->urgent;

	if ((!row->received && conn->recv.len) || (!row->stream && conn->recv.seq))
		return surplus(conn, "receive", err);
	if (conn->recv.len > HF_MAX_QUEUE)
		return bad(err, "receive", "the queue is longer than 1 GiB");
	if (!urgent->present && (urgent->taken || urgent->at))
		return bad(err, "urgent", "a mark that is not present");
	if (urgent->present && urgent->at >= conn->recv.len)
		return bad(err, "urgent", "the mark lies after the receive queue");
	return 0;
}

/* What the two ends agreed upon when the connection was made. */
static int check_negotiated(
	const struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_error *err)
{
	/* The clock of a SYN is there before timestamps are agreed upon. */
	if (!row->connected && (conn->timestamp || conn->usec_timestamps))
		return surplus(conn, "timestamp", err);
	if (!row->stream)
		return conn->mss_clamp || conn->has_wscale || conn->snd_wscale ||
				       conn->rcv_wscale || conn->has_sack || conn->has_timestamps
			       ? surplus(conn, "negotiated options", err)
			       : 0;
	if (conn->mss_clamp == 0 || conn->mss_clamp > UINT16_MAX)
		return bad(err, "mss_clamp", "not from 1 to 65535");
	if (conn->snd_wscale > MAX_WSCALE || conn->rcv_wscale > MAX_WSCALE)
		return bad(err, "wscale", "a window scale above 14");
	if (!conn->has_wscale && (conn->snd_wscale || conn->rcv_wscale))
		return bad(err, "wscale", "a window scale without window scaling");
	if (conn->usec_timestamps && !conn->has_timestamps)
		return bad(err, "usec_timestamps", "set without timestamps");
	return 0;
}

/* The conditions of the kernel's tcp_repair_set_window(). */
static int check_window(
	const struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_error *err)
{
	const struct hf_window *window = &conn->window;
	uint32_t rcv_nxt = conn->recv.seq + row->peer_fin;

	if (!hf_has_window(row))
		return all_zero(window, sizeof(*window)) ? 0 : surplus(conn, "window", err);
	if (window->max_window < window->snd_wnd)
		return bad(err, "window", "max_window is smaller than snd_wnd");
	if (seq_after(window->snd_wl1, rcv_nxt + window->rcv_wnd))
		return bad(err, "window", "snd_wl1 lies beyond the receive window");
	if (seq_after(window->rcv_wup, rcv_nxt))
		return bad(err, "window", "rcv_wup lies after the next sequence number expected");
	return 0;
}

/* Nobody waits for a window who has sent a FIN. */
static int check_peer(
	const struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_error *err)
{
	if (!row->stream && (conn->peer_silent || conn->rtt_us))
		return surplus(conn, "peer_silent or rtt_us", err);
	if ((!row->stream || row->peer_fin) && conn->peer_paused)
		return surplus(conn, "peer_paused", err);
	return 0;
}

static int check_options(const struct hf_conn *conn, struct hf_error *err)
{
	if (conn->n_options > HF_MAX_OPTIONS)
		return bad(err, "options", "too many");
	return hf_sockopt_check(conn, err);
}

static int check_holders(const struct hf_conn *conn, struct hf_error *err)
{
	if (conn->n_holders == 0 || conn->n_holders > HF_MAX_HOLDERS)
		return bad(err, "holders", "none or too many");
	for (uint32_t i = 0; i < conn->n_holders; i++) {
		const struct hf_holder *holder = &conn->holders[i];

		if (holder->levels == 0 || holder->levels > HF_MAX_PID_LEVELS)
			return bad(err, "holders", "a pid with no level or too many");
		for (uint32_t level = 0; level < holder->levels; level++)
			if (holder->pid[level] == 0 || holder->pid[level] > INT_MAX)
				return bad(err, "holders", "a pid out of range");
		if (holder->fd > INT_MAX)
			return bad(err, "holders", "a file descriptor out of range");
	}
	return 0;
}

int hf_conn_check(const struct hf_conn *conn, struct hf_error *err)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);
	int ret = check_state(conn, err);

	if (ret == 0)
		ret = check_addresses(conn, row, err);
	if (ret == 0)
		ret = check_receive(conn, row, err);
	if (ret == 0)
		ret = check_send(conn, row, err);
	if (ret == 0)
		ret = check_negotiated(conn, row, err);
	if (ret == 0)
		ret = check_window(conn, row, err);
	if (ret == 0)
		ret = check_peer(conn, row, err);
	if (ret == 0)
		ret = check_options(conn, err);
	return ret < 0 ? ret : check_holders(conn, err);
}
