// SPDX-License-Identifier: GPL-2.0-or-later
/* The steps that the peer takes part in: what it sent is sent once more, in its name. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/sockopt_int.h"
#include "sys/tcp_steps.h"

#define STATE_ATTEMPTS 2000  /* of 1 ms: a segment to ourselves may wait for a busy processor */
#define OPEN_WINDOW    65535 /* enough for the segments that we make */

/* A segment in the peer's name. Without options: the kernel takes it as one that says nothing about
 * them, even where timestamps were negotiated (tcp_fast_parse_options()). */
static struct hf_segment from_peer(const struct hf_steps *steps, uint8_t flags, uint32_t seq)
{
	const struct hf_conn *conn = steps->conn;

	return (struct hf_segment){.family = conn->family,
		.from = steps->peer,
		.to = conn->local,
		.seq = seq,
		.flags = flags,
		.window = (uint16_t)(conn->window.snd_wnd >> conn->snd_wscale)};
}

static void send_segment(struct hf_steps *steps, const struct hf_segment *segment, const char *what)
{
	int ret;

	if (steps->ret < 0)
		return;
	ret = hf_raw_send(steps->tools->raw, segment, NULL);
	errno = -ret;
	hf_steps_note(steps, what, ret);
}

static int get_state(int sock)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? -1 : info.tcpi_state;
}

void hf_steps_await_state(struct hf_steps *steps, enum hf_tcp_state state)
{
	for (int attempt = 0; steps->ret == 0; attempt++) {
		if (get_state(steps->sock) == (int)state)
			return;
		if (attempt == STATE_ATTEMPTS) {
			errno = ETIMEDOUT;
			hf_steps_note(steps, "reach the next state", -1);
		}
		usleep(1000);
	}
}

void hf_step_window(struct hf_steps *steps, const struct hf_window *window)
{
	const struct tcp_repair_window value = {window->snd_wl1, window->snd_wnd,
		window->max_window, window->rcv_wnd, window->rcv_wup};

	if (steps->ret == 0)
		hf_steps_note(steps, "set the windows",
			setsockopt(steps->sock, IPPROTO_TCP, TCP_REPAIR_WINDOW, &value,
				sizeof(value)));
}

/* A full receive queue has used the window up, and the kernel would refuse the peer's segments. */
static void open_window(struct hf_steps *steps, uint32_t rcv_nxt)
{
	const struct hf_window *saved = &steps->conn->window;

	hf_step_window(steps, &(struct hf_window){rcv_nxt - 1, saved->snd_wnd, saved->max_window,
				      OPEN_WINDOW, rcv_nxt});
}

/* With SO_OOBINLINE, which the owner may have set later, the kernel would refuse it. */
static void take_urgent(struct hf_steps *steps)
{
	int inlined = 0;

	hf_steps_note(steps, "get SO_OOBINLINE",
		hf_get_int(steps->sock, SOL_SOCKET, SO_OOBINLINE, &inlined));
	hf_steps_set_int(steps, "reset SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 0);
	if (steps->ret == 0)
		hf_steps_note(steps, "take the urgent byte",
			(int)recv(steps->sock, &(char){0}, 1, MSG_OOB | MSG_DONTWAIT));
	hf_steps_set_int(steps, "set SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, inlined);
}

/*
 * HF_STEP_RECEIVED. The mark of urgent data comes into being as it did: by a segment of the peer,
 * with the one byte that is urgent.
 */
void hf_step_received(struct hf_steps *steps, const uint8_t *data)
{
	const struct hf_conn *conn = steps->conn;
	const struct hf_urgent *urgent = &conn->urgent;
	uint32_t seq = conn->recv.seq - conn->recv.len + urgent->at, now = seq;
	struct hf_segment segment = from_peer(steps, HF_SEGMENT_ACK | HF_SEGMENT_URG, seq);

	if (!urgent->present) {
		hf_steps_fill(steps, TCP_RECV_QUEUE, data, conn->recv.len);
		return;
	}
	hf_steps_fill(steps, TCP_RECV_QUEUE, data, urgent->at);
	open_window(steps, seq);
	segment.ack = conn->send.seq - conn->send.len;
	segment.urgent = 1; /* Linux counts to the byte behind it, tcp_check_urg() */
	segment.data = data[urgent->at];
	segment.len = 1;
	send_segment(steps, &segment, "send the urgent byte");
	hf_steps_set_int(
		steps, "choose the receive queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	for (int attempt = 0; now == seq && steps->ret == 0; attempt++) {
		hf_steps_note(steps, "read the receive sequence",
			hf_get_int(steps->sock, IPPROTO_TCP, TCP_QUEUE_SEQ, (int *)&now));
		if (now == seq && attempt == STATE_ATTEMPTS) {
			errno = ETIMEDOUT;
			hf_steps_note(steps, "receive the urgent byte", -1);
		} else if (now == seq) {
			usleep(1000);
		}
	}
	hf_steps_fill(
		steps, TCP_RECV_QUEUE, data + urgent->at + 1, conn->recv.len - urgent->at - 1);
	if (urgent->taken)
		take_urgent(steps);
}

/* HF_STEP_OUR_FIN: one that was sent is queued in repair mode, and counts as sent. */
void hf_step_our_fin(struct hf_steps *steps)
{
	bool unsent = steps->conn->fin_unsent;

	if (unsent)
		hf_steps_set_int(
			steps, "leave repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	else
		hf_steps_set_int(steps, "choose the send queue", IPPROTO_TCP, TCP_REPAIR_QUEUE,
			TCP_SEND_QUEUE);
	if (steps->ret == 0)
		hf_steps_note(steps, "shut down", shutdown(steps->sock, SHUT_WR));
	if (unsent)
		hf_steps_set_int(
			steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
}

/* HF_STEP_PEER_FIN, HF_STEP_PEER_ACK, HF_STEP_PEER_RST */
void hf_step_segment(struct hf_steps *steps, enum hf_step step, enum hf_tcp_state state)
{
	const struct hf_conn *conn = steps->conn;
	uint32_t rcv_nxt = conn->recv.seq + (state == HF_TCP_LAST_ACK);
	struct hf_segment segment = from_peer(steps, HF_SEGMENT_ACK, rcv_nxt);

	segment.ack = conn->send.seq - conn->send.len;
	if (step == HF_STEP_PEER_FIN)
		segment.flags |= HF_SEGMENT_FIN;
	if (step == HF_STEP_PEER_ACK)
		segment.ack = conn->send.seq + 1; /* our FIN */
	if (step == HF_STEP_PEER_RST) {
		segment.flags |= HF_SEGMENT_RST;
		if (state == HF_TCP_SYN_SENT) {
			segment.seq = 0;
			segment.ack = hf_initial_seq(conn) + 1; /* our SYN */
		}
	}
	if (state != HF_TCP_SYN_SENT)
		open_window(steps, rcv_nxt);
	send_segment(steps, &segment, "send a segment in the peer's name");
}
