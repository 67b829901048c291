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

bool hf_conn_is_ipv4_on_wire(const struct hf_conn *conn)
{
	return conn->family == HF_FAMILY_IPV4 ||
	       (hf_endpoint_is_v4_mapped(&conn->local) && hf_endpoint_is_v4_mapped(&conn->peer));
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

char *hf_conn_format(char buf[HF_CONN_TEXT], const struct hf_conn *conn)
{
	char local[HF_ENDPOINT_TEXT], peer[HF_ENDPOINT_TEXT];

	snprintf(buf, HF_CONN_TEXT, "%s -> %s",
		hf_endpoint_format(local, conn->family, &conn->local),
		hf_endpoint_format(peer, conn->family, &conn->peer));
	return buf;
}

void hf_conn_clear(struct hf_conn *conn)
{
	if (!conn)
		return;
	free(conn->holders);
	free(conn->options);
	memset(conn, 0, sizeof(*conn));
}
