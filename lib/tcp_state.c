// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/tcp_state.h"

#include <stddef.h>

#define CONNECT    HF_STEP_CONNECT
#define SYN        HF_STEP_SYN
#define RECEIVED   HF_STEP_RECEIVED
#define SENT       HF_STEP_SENT
#define UNSENT     HF_STEP_UNSENT
#define OUR_FIN    HF_STEP_OUR_FIN
#define PEER_FIN   HF_STEP_PEER_FIN
#define PEER_ACK   HF_STEP_PEER_ACK
#define PEER_RST   HF_STEP_PEER_RST
#define DISCONNECT HF_STEP_DISCONNECT
#define WINDOW     HF_STEP_WINDOW

/*
 * UNSENT comes before the peer's FIN in CLOSING and after it in LAST-ACK: the order of the two FINs
 * is all that tells these states apart.
 */
/* clang-format off */
static const struct hf_tcp_row rows[] = {
	{.state = HF_TCP_ESTABLISHED,
		.connected = true, .stream = true, .received = true, .sending = true,
		.steps = {CONNECT, RECEIVED, SENT, UNSENT, WINDOW}},
	{.state = HF_TCP_SYN_SENT,
		.connected = true,
		.steps = {SYN}},
	{.state = HF_TCP_FIN_WAIT1,
		.connected = true, .stream = true, .received = true, .sending = true, .our_fin = true,
		.steps = {CONNECT, RECEIVED, SENT, UNSENT, OUR_FIN, WINDOW}},
	{.state = HF_TCP_FIN_WAIT2,
		.connected = true, .stream = true, .received = true, .our_fin = true, .fin_acked = true,
		.steps = {CONNECT, RECEIVED, OUR_FIN, PEER_ACK, WINDOW}},
	{.state = HF_TCP_CLOSE_WAIT,
		.connected = true, .stream = true, .received = true, .sending = true, .peer_fin = true,
		.steps = {CONNECT, RECEIVED, SENT, PEER_FIN, UNSENT, WINDOW}},
	{.state = HF_TCP_LAST_ACK,
		.connected = true, .stream = true, .received = true, .sending = true,
		.our_fin = true, .peer_fin = true,
		.steps = {CONNECT, RECEIVED, SENT, PEER_FIN, UNSENT, OUR_FIN, WINDOW}},
	{.state = HF_TCP_CLOSING,
		.connected = true, .stream = true, .received = true, .sending = true,
		.our_fin = true, .peer_fin = true,
		.steps = {CONNECT, RECEIVED, SENT, UNSENT, OUR_FIN, PEER_FIN, WINDOW}},
	{.state = HF_TCP_CLOSE, .closed = HF_CLOSED_UNCONNECTED},
	{.state = HF_TCP_CLOSE, .closed = HF_CLOSED_FINISHED,
		.received = true, .faked_peer = true,
		.steps = {CONNECT, RECEIVED, PEER_FIN, OUR_FIN, PEER_ACK}},
	{.state = HF_TCP_CLOSE, .closed = HF_CLOSED_RESET,
		.received = true, .faked_peer = true,
		.steps = {CONNECT, RECEIVED, PEER_RST}},
	{.state = HF_TCP_CLOSE, .closed = HF_CLOSED_REFUSED,
		.faked_peer = true,
		.steps = {SYN, PEER_RST}},
	{.state = HF_TCP_CLOSE, .closed = HF_CLOSED_DISCONNECTED,
		.faked_peer = true,
		.steps = {CONNECT, DISCONNECT}},
	{.state = HF_TCP_LISTEN},
};
/* clang-format on */

const struct hf_tcp_row *hf_tcp_row(enum hf_tcp_state state, enum hf_closed closed)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].state == state && (state != HF_TCP_CLOSE || rows[i].closed == closed))
			return &rows[i];
	return NULL;
}

static const struct {
	enum hf_tcp_state from;
	enum hf_step step;
	enum hf_tcp_state to;
} edges[] = {
	{HF_TCP_CLOSE, CONNECT, HF_TCP_ESTABLISHED},
	{HF_TCP_CLOSE, SYN, HF_TCP_SYN_SENT},
	{HF_TCP_ESTABLISHED, OUR_FIN, HF_TCP_FIN_WAIT1},
	{HF_TCP_ESTABLISHED, PEER_FIN, HF_TCP_CLOSE_WAIT},
	{HF_TCP_ESTABLISHED, PEER_RST, HF_TCP_CLOSE},
	{HF_TCP_ESTABLISHED, DISCONNECT, HF_TCP_CLOSE},
	{HF_TCP_SYN_SENT, PEER_RST, HF_TCP_CLOSE},
	{HF_TCP_FIN_WAIT1, PEER_ACK, HF_TCP_FIN_WAIT2},
	{HF_TCP_FIN_WAIT1, PEER_FIN, HF_TCP_CLOSING},
	{HF_TCP_CLOSE_WAIT, OUR_FIN, HF_TCP_LAST_ACK},
	{HF_TCP_LAST_ACK, PEER_ACK, HF_TCP_CLOSE},
};

enum hf_tcp_state hf_tcp_after(enum hf_tcp_state state, enum hf_step step)
{
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		if (edges[i].from == state && edges[i].step == step)
			return edges[i].to;
	return state;
}

const char *hf_closed_name(enum hf_closed closed)
{
	switch (closed) {
	case HF_CLOSED_FINISHED:
		return "finished";
	case HF_CLOSED_RESET:
		return "reset";
	case HF_CLOSED_REFUSED:
		return "refused";
	case HF_CLOSED_DISCONNECTED:
		return "disconnected";
	default:
		return "";
	}
}
