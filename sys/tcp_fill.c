// SPDX-License-Identifier: GPL-2.0-or-later
/* The queues of a socket that is being rebuilt. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "sys/tcp_steps.h"

#define SEND_CHUNK (1u << 20)
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

void hf_steps_note(struct hf_steps *steps, const char *what, int result)
{
	if (result < 0 && steps->ret == 0) {
		steps->ret = -errno;
		steps->what = what;
	}
}

void hf_steps_set_int(struct hf_steps *steps, const char *what, int level, int option, int value)
{
	if (steps->ret == 0)
		hf_steps_note(
			steps, what, setsockopt(steps->sock, level, option, &value, sizeof(value)));
}

static void get_limits(struct hf_steps *steps, struct hf_buffers *buffers)
{
	socklen_t len = sizeof(int);

	if (steps->ret < 0)
		return;
	hf_steps_note(steps, "get SO_SNDBUF",
		getsockopt(steps->sock, SOL_SOCKET, SO_SNDBUF, &buffers->send, &len));
	hf_steps_note(steps, "get SO_RCVBUF",
		getsockopt(steps->sock, SOL_SOCKET, SO_RCVBUF, &buffers->recv, &len));
	buffers->has_lock =
		getsockopt(steps->sock, SOL_SOCKET, SO_BUF_LOCK, &buffers->lock, &len) == 0;
}

static int room_for(uint32_t len)
{
	uint64_t room = 2ull * len + 65536;

	return room > INT32_MAX / 2 ? INT32_MAX / 2 : (int)room;
}

/*
 * The queues may be longer than a fresh socket takes, and are stored in other pieces: room for four
 * times their bytes while they are filled. The kernel doubles what is set.
 */
void hf_steps_open_buffers(struct hf_steps *steps, struct hf_buffers *buffers)
{
	int send = room_for(steps->conn->send.len), recv = room_for(steps->conn->recv.len);

	if (steps->conn->recv.len == 0 && steps->conn->send.len == 0)
		return;
	get_limits(steps, buffers);
	buffers->changed = true;
	if (steps->conn->send.len && send > buffers->send / 2)
		hf_steps_set_int(steps, "raise SO_SNDBUF", SOL_SOCKET, SO_SNDBUFFORCE, send);
	if (steps->conn->recv.len && recv > buffers->recv / 2)
		hf_steps_set_int(steps, "raise SO_RCVBUF", SOL_SOCKET, SO_RCVBUFFORCE, recv);
}

void hf_steps_close_buffers(struct hf_steps *steps, const struct hf_buffers *buffers)
{
	if (!buffers->changed)
		return;
	hf_steps_set_int(steps, "reset SO_SNDBUF", SOL_SOCKET, SO_SNDBUFFORCE, buffers->send / 2);
	hf_steps_set_int(steps, "reset SO_RCVBUF", SOL_SOCKET, SO_RCVBUFFORCE, buffers->recv / 2);
	if (buffers->has_lock)
		hf_steps_set_int(
			steps, "reset SO_BUF_LOCK", SOL_SOCKET, SO_BUF_LOCK, buffers->lock);
}

/* The kernel may take less than asked; a send without progress is an error. */
static void send_all(
	struct hf_steps *steps, const char *what, const uint8_t *data, size_t len, int flags)
{
	while (len > 0 && steps->ret == 0) {
		ssize_t n = send(steps->sock, data, len < SEND_CHUNK ? len : SEND_CHUNK,
			flags | MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0) {
			errno = EIO;
			n = -1;
		}
		hf_steps_note(steps, what, (int)n);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

void hf_steps_fill(struct hf_steps *steps, int which, const uint8_t *data, size_t len)
{
	bool recv = which == TCP_RECV_QUEUE;

	if (len == 0)
		return;
	hf_steps_set_int(steps, recv ? "choose the receive queue" : "choose the send queue",
		IPPROTO_TCP, TCP_REPAIR_QUEUE, which);
	send_all(steps, recv ? "fill the receive queue" : "fill the send queue", data, len, 0);
}

/*
 * What never was sent is queued outside repair mode, or the kernel would count it as sent. The lock
 * drops what it tries to send now, so that it stays unsent. TCP_NOTSENT_LOWAT, also by sysctl,
 * would refuse some of it (kernel tcp_stream_memory_free()).
 */
static void leave_repair(struct hf_steps *steps)
{
	hf_steps_set_int(steps, "leave repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	hf_steps_set_int(steps, "raise TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1);
}

static void enter_repair(struct hf_steps *steps)
{
	hf_steps_set_int(steps, "reset TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0);
	hf_steps_set_int(steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
}

/*
 * What is held back ends with a packet of its own: a packet filled up with what follows may be too
 * large for the peer's window, and would not go out.
 */
void hf_steps_fill_unsent(struct hf_steps *steps, const uint8_t *data, size_t len)
{
	size_t held = steps->held_len < len ? steps->held_len : 0;

	if (len == 0)
		return;
	leave_repair(steps);
	send_all(steps, "fill the send queue", data, held, MSG_EOR);
	send_all(steps, "fill the send queue", data + held, len - held, 0);
	enter_repair(steps);
}

/*
 * The bytes that end what was sent, with HF_RESEND_TAIL. Of bytes that are queued in repair mode
 * the kernel makes nothing when a SACK comes for them (TCPCB_REPAIRED in tcp_rack_advance()), so
 * these are queued outside it, each in a packet of its own, and counted as sent afterwards.
 */
void hf_steps_fill_sent(struct hf_steps *steps, const uint8_t *data, size_t len)
{
	size_t tail = *steps->resend == HF_RESEND_TAIL ? HF_RESEND_TAIL_BYTES : 0;

	hf_steps_fill(steps, TCP_SEND_QUEUE, data, len - tail);
	if (tail == 0)
		return;
	leave_repair(steps);
	for (size_t at = len - tail; at < len; at++)
		send_all(steps, "fill the send queue", data + at, 1, MSG_EOR);
	enter_repair(steps);
	hf_steps_set_int(
		steps, "choose the send queue", IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	if (steps->ret == 0)
		hf_steps_note(steps, "count as sent", hf_tcp_push(steps->sock));
}
