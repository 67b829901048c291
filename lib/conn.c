// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *hf_tcp_state_name(unsigned int state)
{
	static const char *const names[HF_TCP_STATES] = {
		[HF_TCP_ESTABLISHED] = "ESTABLISHED",
		[HF_TCP_SYN_SENT] = "SYN-SENT",
		[HF_TCP_SYN_RECV] = "SYN-RECEIVED",
		[HF_TCP_FIN_WAIT1] = "FIN-WAIT-1",
		[HF_TCP_FIN_WAIT2] = "FIN-WAIT-2",
		[HF_TCP_TIME_WAIT] = "TIME-WAIT",
		[HF_TCP_CLOSE] = "CLOSED",
		[HF_TCP_CLOSE_WAIT] = "CLOSE-WAIT",
		[HF_TCP_LAST_ACK] = "LAST-ACK",
		[HF_TCP_LISTEN] = "LISTEN",
		[HF_TCP_CLOSING] = "CLOSING",
		[HF_TCP_NEW_SYN_RECV] = "SYN-RECEIVED",
	};

	return state < HF_TCP_STATES && names[state] ? names[state] : "UNKNOWN";
}

bool hf_endpoint_is_v4_mapped(const struct hf_endpoint *endpoint)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(endpoint->ip, prefix, sizeof(prefix)) == 0;
}

const uint8_t *hf_endpoint_ipv4(enum hf_family family, const struct hf_endpoint *endpoint)
{
	if (family == HF_FAMILY_IPV4)
		return endpoint->ip;
	return hf_endpoint_is_v4_mapped(endpoint) ? endpoint->ip + 12 : NULL;
}

bool hf_ip_is_loopback(enum hf_family family, const uint8_t ip[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, one[16] = {[15] = 1};

	if (family == HF_FAMILY_IPV4)
		return ip[0] == 127;
	return memcmp(ip, one, sizeof(one)) == 0 ||
	       (memcmp(ip, mapped, sizeof(mapped)) == 0 && ip[12] == 127);
}

bool hf_endpoint_is_link_local(const struct hf_endpoint *endpoint)
{
	return endpoint->ip[0] == 0xfe && (endpoint->ip[1] & 0xc0) == 0x80;
}

bool hf_conn_is_ipv4_on_wire(const struct hf_conn *conn)
{
	return hf_endpoint_ipv4(conn->family, &conn->local) &&
	       hf_endpoint_ipv4(conn->family, &conn->peer);
}

char *hf_endpoint_format(
	char buf[HF_ENDPOINT_TEXT], enum hf_family family, const struct hf_endpoint *endpoint)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	inet_ntop(family == HF_FAMILY_IPV4 ? AF_INET : AF_INET6, endpoint->ip, ip, sizeof(ip));
	if (family == HF_FAMILY_IPV4)
		snprintf(buf, HF_ENDPOINT_TEXT, "%s:%u", ip, endpoint->port);
	else if (endpoint->scope_id)
		snprintf(buf, HF_ENDPOINT_TEXT, "[%s%%%u]:%u", ip, endpoint->scope_id,
			endpoint->port);
	else
		snprintf(buf, HF_ENDPOINT_TEXT, "[%s]:%u", ip, endpoint->port);
	return buf;
}

static char *format_pair(char buf[HF_CONN_TEXT], enum hf_family family,
	const struct hf_endpoint *local, const struct hf_endpoint *peer)
{
	static const uint8_t none[16];
	char from[HF_ENDPOINT_TEXT], to[HF_ENDPOINT_TEXT];

	hf_endpoint_format(from, family, local);
	if (peer->port == 0 && memcmp(peer->ip, none, sizeof(none)) == 0)
		snprintf(buf, HF_CONN_TEXT, "%s", from);
	else
		snprintf(buf, HF_CONN_TEXT, "%s -> %s", from, hf_endpoint_format(to, family, peer));
	return buf;
}

char *hf_conn_format(char buf[HF_CONN_TEXT], const struct hf_conn *conn)
{
	return format_pair(buf, conn->family, &conn->local, &conn->peer);
}

char *hf_pending_format(char buf[HF_CONN_TEXT], const struct hf_pending *pending)
{
	return format_pair(buf, pending->family, &pending->local, &pending->peer);
}

void hf_conn_clear(struct hf_conn *conn)
{
	if (!conn)
		return;
	free(conn->holders);
	free(conn->options);
	memset(conn, 0, sizeof(*conn));
}
