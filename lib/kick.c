// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/kick.h"

#include <string.h>

#include "lib/packet.h"
#include "lib/tcp_state.h"

/* The kernel clears the last bit of a clock that it tells (TCP_TIMESTAMP). */
#define LATEST             1u
#define ICMP_HEADER        8
#define TCP_HEADER         20
#define PROTOCOL_ICMP      1
#define PROTOCOL_TCP       6
#define PROTOCOL_ICMPV6    58
#define ICMP_UNREACHABLE   3 /* RFC 792 */
#define ICMP_HOST          1
#define ICMPV6_UNREACHABLE 1 /* RFC 4443 section 3.1 */
#define ICMPV6_NO_ROUTE    0
#define FIRST_RTO_MS       200
#define MAX_KICKS          8
#define DUE_US             20000 /* at least: what many peers send takes us so long */
#define MARGIN_US          10000 /* beyond the round trip */
#define MAX_RTT_US         1000000
#define FIRST_WINDOWS      (2u << 20) /* bytes of all: for 143 peers as much as they would send */
#define FIRST_WINDOW_MIN   4096

unsigned int hf_kick_count(uint64_t outage_s)
{
	unsigned int count = 2;

	/* All timers so far: 200 ms, 400 ms, and so on. */
	for (uint64_t sum_ms = FIRST_RTO_MS; sum_ms < 1000 * outage_s && count < MAX_KICKS;
		sum_ms += sum_ms + FIRST_RTO_MS)
		count++;
	return count;
}

bool hf_kick_at_once(const struct hf_conn *conn)
{
	return !conn->peer_paused && !conn->peer_silent;
}

uint32_t hf_kick_due_us(const struct hf_conn *conn)
{
	uint32_t rtt_us = conn->rtt_us < MAX_RTT_US ? conn->rtt_us : MAX_RTT_US;
	uint32_t due_us = rtt_us + rtt_us / 4 + MARGIN_US;

	return due_us > DUE_US ? due_us : DUE_US;
}

bool hf_kick_wanted(const struct hf_conn *conn)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

	return row && row->connected && row->stream && !row->peer_fin;
}

/* What is left of the window that was offered. */
static uint16_t window(const struct hf_conn *conn)
{
	uint32_t left = conn->window.rcv_wup + conn->window.rcv_wnd - conn->recv.seq;

	if (left > conn->window.rcv_wnd)
		return 0;
	left >>= conn->has_wscale ? conn->rcv_wscale : 0;
	return left < UINT16_MAX ? (uint16_t)left : UINT16_MAX;
}

struct hf_segment hf_kick_ack(const struct hf_conn *conn)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);
	uint32_t fin = row->our_fin && !conn->fin_unsent;

	return (struct hf_segment){.family = conn->family,
		.from = conn->local,
		.to = conn->peer,
		.seq = conn->send.seq - conn->unsent + fin,
		.ack = conn->recv.seq,
		.flags = HF_SEGMENT_ACK,
		.window = window(conn),
		.has_timestamps = conn->has_timestamps,
		.tsval = conn->timestamp | LATEST};
}

/* In bytes. */
static uint32_t first_share(const struct hf_conn *conn, uint32_t n)
{
	uint32_t share = FIRST_WINDOWS / (n ? n : 1);
	uint32_t least =
		2 * conn->mss_clamp > FIRST_WINDOW_MIN ? 2 * conn->mss_clamp : FIRST_WINDOW_MIN;

	return share > least ? share : least;
}

struct hf_segment hf_kick_first_word(const struct hf_conn *conn, uint32_t n)
{
	struct hf_segment word = hf_kick_ack(conn);
	uint32_t shift = conn->has_wscale ? conn->rcv_wscale : 0;
	uint32_t share = (first_share(conn, n) + (1u << shift) - 1) >> shift;

	word.has_timestamps = false;
	if (conn->peer_paused && word.window > share)
		word.window = (uint16_t)share;
	return word;
}

static void set_ip(struct hf_endpoint *to, enum hf_family family, enum hf_family on_wire,
	const struct hf_endpoint *from)
{
	*to = *from;
	if (on_wire == HF_FAMILY_IPV4)
		memmove(to->ip, hf_endpoint_ipv4(family, from), 4);
}

/* The start of a segment of the peer: the first 8 bytes of a TCP header are all that counts. */
static size_t put_segment(uint8_t *at, const struct hf_conn *conn)
{
	memset(at, 0, TCP_HEADER);
	hf_put_be16(at, conn->peer.port);
	hf_put_be16(at + 2, conn->local.port);
	hf_put_be32(at + 4, conn->recv.seq);
	at[12] = TCP_HEADER / 4 << 4;
	return TCP_HEADER;
}

size_t hf_kick_build(uint8_t buf[HF_KICK_SIZE], const struct hf_conn *conn)
{
	bool v4 = hf_conn_is_ipv4_on_wire(conn);
	enum hf_family family = v4 ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6;
	uint8_t protocol = v4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
	size_t quote_len = (v4 ? HF_IPV4_HEADER : HF_IPV6_HEADER) + TCP_HEADER;
	struct hf_endpoint local, peer;
	size_t header_len, len = ICMP_HEADER + quote_len;
	uint8_t *icmp, *quote;
	uint32_t sum;

	set_ip(&local, conn->family, family, &conn->local);
	set_ip(&peer, conn->family, family, &conn->peer);
	header_len = hf_packet_header(buf, family, &local, &peer, protocol, len);
	icmp = buf + header_len;
	memset(icmp, 0, ICMP_HEADER);
	icmp[0] = v4 ? ICMP_UNREACHABLE : ICMPV6_UNREACHABLE;
	icmp[1] = v4 ? ICMP_HOST : ICMPV6_NO_ROUTE;
	quote = icmp + ICMP_HEADER;
	quote += hf_packet_header(quote, family, &peer, &local, PROTOCOL_TCP, TCP_HEADER);
	put_segment(quote, conn);
	sum = v4 ? 0 : hf_checksum_pseudo(buf, family, protocol, len);
	hf_put_be16(icmp + 2, hf_checksum_fold(hf_checksum_add(sum, icmp, len)));
	return header_len + len;
}
