// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/resend.h"

#include "lib/kick.h"
#include "lib/tcp_state.h"

/* So many packets the kernel wants to be in flight when it counts duplicates. */
#define LEAST_DUPLICATED 4

static uint32_t sent(const struct hf_conn *conn)
{
	return conn->send.len - conn->unsent;
}

/* 1 if our FIN was sent, and not acknowledged. */
static uint32_t sent_fin(const struct hf_conn *conn)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

	return row->our_fin && !row->fin_acked && !conn->fin_unsent;
}

bool hf_resend_wanted(const struct hf_conn *conn)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

	return row->stream && (sent(conn) || sent_fin(conn));
}

static uint32_t n_packets(const struct hf_conn *conn, const struct hf_first_window *first)
{
	uint32_t mss = first->mss ? first->mss : 1;
	uint32_t n = sent(conn) / mss + (sent(conn) % mss != 0);

	return n ? n : 1; /* the FIN alone */
}

/*
 * Acknowledgements of what is held are dropped until it is sent, so all of it must go out at once:
 * the peer may have had all of it.
 */
static bool fits(const struct hf_conn *conn, const struct hf_first_window *first)
{
	return !first->paced && n_packets(conn, first) <= first->packets &&
	       sent(conn) + sent_fin(conn) <= conn->window.snd_wnd;
}

enum hf_resend hf_resend_choose(const struct hf_conn *conn, const struct hf_resend_rules *rules,
	const struct hf_first_window *first)
{
	if (rules->hold && fits(conn, first))
		return HF_RESEND_HELD;
	if (conn->has_sack)
		return rules->hold && sent(conn) > HF_RESEND_TAIL_BYTES ? HF_RESEND_TAIL
									: HF_RESEND_BY_TIMER;
	return rules->duplicates && n_packets(conn, first) >= LEAST_DUPLICATED
		       ? HF_RESEND_DUPLICATES
		       : HF_RESEND_BY_TIMER;
}

void hf_resend_hold(struct hf_conn *conn)
{
	conn->fin_unsent = conn->fin_unsent || sent_fin(conn);
	conn->unsent = conn->send.len;
}

uint32_t hf_resend_tail_at(const struct hf_conn *conn)
{
	return sent(conn) - HF_RESEND_TAIL_BYTES;
}

struct hf_segment hf_resend_tail(const struct hf_conn *conn, unsigned int i, uint8_t byte)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);
	struct hf_segment segment = hf_kick_ack(conn);

	segment.ack += row->peer_fin;
	segment.seq = conn->send.seq - conn->send.len + hf_resend_tail_at(conn) + i;
	segment.data = byte;
	segment.len = 1;
	return segment;
}

/* Without options: where timestamps are in use, that is no reason to refuse it. */
struct hf_segment hf_resend_duplicate(const struct hf_conn *conn)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

	return (struct hf_segment){.family = conn->family,
		.from = conn->peer,
		.to = conn->local,
		.seq = conn->recv.seq + row->peer_fin,
		.ack = conn->send.seq - conn->send.len,
		.flags = HF_SEGMENT_ACK,
		.window = (uint16_t)(conn->window.snd_wnd >> conn->snd_wscale)};
}
