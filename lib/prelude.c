// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/prelude.h"

#include <string.h>

#include "lib/kick.h"

/* Beside the round trip: a quarter of it, since it varies, and what the peer's stack may take. */
#define MARGIN_US 100

static bool has_hole(const struct hf_conn *conn)
{
	return (int32_t)(conn->window.snd_wl1 - conn->recv.seq) > 0;
}

bool hf_prelude_wanted(const struct hf_conn *conn)
{
	return hf_kick_wanted(conn) && !(conn->shutdown & HF_SHUTDOWN_RECV) &&
	       !hf_ip_is_loopback(conn->family, conn->local.ip) &&
	       memcmp(conn->local.ip, conn->peer.ip, sizeof(conn->peer.ip)) != 0 && !has_hole(conn);
}

bool hf_prelude_is_at(const struct hf_conn *conn, const struct hf_address *address)
{
	const uint8_t *v4 = hf_endpoint_ipv4(conn->family, &conn->peer);

	if (address->family == HF_FAMILY_IPV4)
		return v4 && memcmp(v4, address->ip, 4) == 0;
	return !v4 && memcmp(conn->peer.ip, address->ip, sizeof(address->ip)) == 0;
}

struct hf_segment hf_prelude_ack(const struct hf_conn *conn)
{
	struct hf_segment ack = hf_kick_ack(conn);

	ack.window = 0;
	return ack;
}

uint32_t hf_rtt_us(const struct hf_rtt *rtt)
{
	return rtt->least != UINT32_MAX && rtt->least ? rtt->least
	       : rtt->smoothed                        ? rtt->smoothed
						      : rtt->received;
}

uint64_t hf_prelude_wait_us(const struct hf_rtt *rtt, uint64_t limit_us)
{
	uint64_t known = hf_rtt_us(rtt);
	uint64_t wait_us = known + known / 4 + MARGIN_US;

	if (known > limit_us)
		return 0;
	return wait_us < limit_us ? wait_us : limit_us;
}
