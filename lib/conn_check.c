// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a connection must be before the kernel is asked to make it: each rule with its source. Rules
 * that the kernel would enforce by EINVAL in the middle of a restore are here, so that a bad image
 * is found before anything was created.
 */
#include "lib/image.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define MAX_WSCALE 14 /* RFC 7323 section 2.3 */

static int bad(struct hf_error *err, const char *field, const char *why)
{
	return hf_error_set(err, -EBADMSG, "%s: %s", field, why);
}

/* RFC 1982: a lies after b on the circle of sequence numbers. */
static bool seq_after(uint32_t a, uint32_t b)
{
	return (int32_t)(b - a) < 0;
}

static bool all_zero(const uint8_t *at, size_t len)
{
	while (len > 0 && at[len - 1] == 0)
		len--;
	return len == 0;
}

static bool is_link_local(const struct hf_endpoint *endpoint)
{
	return endpoint->ip[0] == 0xfe && (endpoint->ip[1] & 0xc0) == 0x80;
}

static int check_endpoint(enum hf_family family, const struct hf_endpoint *endpoint,
	const char *field, struct hf_error *err)
{
	bool v4 = family == HF_FAMILY_IPV4;
	bool multicast = v4 ? (endpoint->ip[0] & 0xf0) == 0xe0 : endpoint->ip[0] == 0xff;

	if (v4 && !all_zero(endpoint->ip + 4, 12))
		return bad(err, field, "the address is longer than an IPv4 address");
	if (all_zero(endpoint->ip, 16))
		return bad(err, field, "the address is unspecified");
	if (multicast)
		return bad(err, field, "the address is a multicast address");
	if (endpoint->port == 0)
		return bad(err, field, "the port is 0");
	if (endpoint->scope_id && (v4 || !is_link_local(endpoint)))
		return bad(err, field, "a scope id on an address that is not link-local");
	return 0;
}

static int check_addresses(const struct hf_conn *conn, struct hf_error *err)
{
	int ret;

	if (conn->family != HF_FAMILY_IPV4 && conn->family != HF_FAMILY_IPV6)
		return bad(err, "family", "neither 4 nor 6");
	ret = check_endpoint(conn->family, &conn->local, "local", err);
	if (ret == 0)
		ret = check_endpoint(conn->family, &conn->peer, "peer", err);
	if (ret < 0)
		return ret;
	if (conn->family == HF_FAMILY_IPV6 &&
		hf_endpoint_is_v4_mapped(&conn->local) != hf_endpoint_is_v4_mapped(&conn->peer))
		return bad(err, "peer", "only one of the two addresses is IPv4-mapped");
	return 0;
}

static int check_options(const struct hf_conn *conn, struct hf_error *err)
{
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
static int check_window(const struct hf_conn *conn, struct hf_error *err)
{
	const struct hf_window *window = &conn->window;

	if (window->max_window < window->snd_wnd)
		return bad(err, "window", "max_window is smaller than snd_wnd");
	if (seq_after(window->snd_wl1, conn->recv.seq + window->rcv_wnd))
		return bad(err, "window", "snd_wl1 lies beyond the receive window");
	if (seq_after(window->rcv_wup, conn->recv.seq))
		return bad(err, "window", "rcv_wup lies after the next sequence number expected");
	return 0;
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
	int ret = check_addresses(conn, err);

	if (ret < 0)
		return ret;
	if (conn->state != HF_TCP_ESTABLISHED)
		return hf_error_set(err, -EBADMSG, "state: %u (%s) cannot be restored",
			(unsigned int)conn->state, hf_tcp_state_name(conn->state));
	if (conn->recv.len > HF_MAX_QUEUE)
		return bad(err, "receive", "the queue is longer than 1 GiB");
	if (conn->send.len > HF_MAX_QUEUE)
		return bad(err, "send", "the queue is longer than 1 GiB");
	if (conn->unsent > conn->send.len)
		return bad(err, "unsent", "more than the send queue holds");
	ret = check_options(conn, err);
	if (ret == 0)
		ret = check_window(conn, err);
	if (ret == 0)
		ret = check_holders(conn, err);
	return ret;
}
