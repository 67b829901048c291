// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/tcp_queue.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "sys/sockopt_int.h"

/* What is skipped of a send queue: HF_SEND_CUT and more. */
#define SKIP_PIECE 65536
#define SKIP_PARTS (HF_SEND_CUT / SKIP_PIECE + 64)
#define RECV_PIECE (256u << 10) /* stays in the cache until it is taken */

static int get_length(int sock, unsigned long request, uint32_t *len)
{
	int value = 0;

	if (ioctl(sock, request, &value) < 0)
		return -errno;
	*len = (uint32_t)value;
	return 0;
}

static int make_room(uint8_t **buf, size_t *room, size_t len)
{
	uint8_t *grown;

	if (len <= *room)
		return 0;
	grown = realloc(*buf, len);
	if (!grown)
		return -ENOMEM;
	*buf = grown;
	*room = len;
	return 0;
}

/* For one queue; or finds that it is long. */
static int make_place(struct hf_queues *queues, uint8_t **buf, size_t *room, size_t len)
{
	queues->left |= queues->none || (!queues->sink && len > HF_QUEUE_HELD);
	return queues->left || queues->sink ? 0 : make_room(buf, room, len);
}

/*
 * Exactly len bytes, which are there. A plain peek starts where the owner's SO_PEEK_OFF says and
 * ends at the mark of urgent data; the next one with SO_PEEK_OFF starts behind it. Asking for more
 * would take a pending error away.
 */
static int peek_all(int sock, uint8_t *buf, size_t len)
{
	int ret = 0;

	for (size_t done = 0; done < len && ret == 0;) {
		ssize_t n = recv(sock, buf + done, len - done, MSG_PEEK | MSG_DONTWAIT);

		if (n > 0)
			done += (size_t)n;
		else
			ret = n < 0 ? -errno : -EIO;
	}
	return ret;
}

static bool is_cut(const struct hf_queues *queues)
{
	return queues->sink && queues->sink->recv;
}

/* With SO_PEEK_OFF each peek begins where the last one has ended. */
static int peek_recv_queue(int sock, struct hf_queues *queues, size_t len, bool with_offset)
{
	const struct hf_queue_sink *sink = queues->sink;
	int ret = with_offset ? hf_set_int(sock, SOL_SOCKET, SO_PEEK_OFF, 0) : 0;

	if (ret == 0 && sink && len != sink->recv_len)
		return -EAGAIN;
	if (!is_cut(queues))
		return ret < 0 ? ret : peek_all(sock, queues->recv, len);
	while (len > 0 && ret == 0) {
		struct iovec to[2];

		sink->place(sink->context, len < RECV_PIECE ? len : RECV_PIECE, to);
		ret = peek_all(sock, to[0].iov_base, to[0].iov_len);
		if (ret == 0)
			ret = sink->take(sink->context, to[0].iov_len);
		len -= to[0].iov_len;
	}
	return ret;
}

int hf_tcp_choose_queue(int sock, int which, uint32_t *seq)
{
	int value = 0;
	int ret = hf_set_int(sock, IPPROTO_TCP, TCP_REPAIR_QUEUE, which);

	if (ret == 0)
		ret = hf_get_int(sock, IPPROTO_TCP, TCP_QUEUE_SEQ, &value);
	*seq = (uint32_t)value;
	return ret;
}

/*
 * How much is queued, and where the mark is. Without SO_OOBINLINE the kernel counts up to the mark
 * only, with it to the end (tcp_inq()). It is on afterwards.
 */
static int measure(int sock, struct hf_conn *conn, int inlined)
{
	uint32_t before_mark = 0;
	char byte;
	int ret = inlined ? hf_set_int(sock, SOL_SOCKET, SO_OOBINLINE, 0) : 0;

	if (ret == 0)
		ret = get_length(sock, SIOCINQ, &before_mark);
	/* ENOTCONN, after a reset, says nothing: nobody can take it any more. */
	conn->urgent.taken =
		recv(sock, &byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EINVAL;
	if (ret == 0)
		ret = hf_set_int(sock, SOL_SOCKET, SO_OOBINLINE, 1);
	if (ret == 0)
		ret = get_length(sock, SIOCINQ, &conn->recv.len);
	conn->urgent.present = ret == 0 && before_mark < conn->recv.len;
	conn->urgent.taken = conn->urgent.taken && conn->urgent.present;
	conn->urgent.at = conn->urgent.present ? before_mark : 0;
	return ret;
}

/* Nothing queued is the common case, and costs two calls. */
static bool is_empty(int sock)
{
	uint32_t before_mark = 1, at_mark = 1;

	return get_length(sock, SIOCINQ, &before_mark) == 0 && before_mark == 0 &&
	       get_length(sock, SIOCATMARK, &at_mark) == 0 && at_mark == 0;
}

static int look_at_options(int sock, struct hf_borrowed *own)
{
	int ret = hf_get_int(sock, SOL_SOCKET, SO_OOBINLINE, &own->oobinline);

	if (ret == 0)
		ret = hf_get_int(sock, SOL_SOCKET, SO_PEEK_OFF, &own->peek_off);
	if (ret == -EOPNOTSUPP) { /* of a TCP socket: Linux 6.9 */
		own->peek_off = -1;
		ret = 0;
	}
	own->sock = sock;
	return ret;
}

static int give_back(const struct hf_borrowed *own, bool with_offset)
{
	int ret = hf_set_int(own->sock, SOL_SOCKET, SO_OOBINLINE, own->oobinline);

	return ret == 0 && with_offset
		       ? hf_set_int(own->sock, SOL_SOCKET, SO_PEEK_OFF, own->peek_off)
		       : ret;
}

void hf_tcp_give_back(const struct hf_borrowed *borrowed)
{
	if (borrowed && borrowed->sock >= 0)
		give_back(borrowed, true);
}

/* For another process, in this order. */
static void publish(struct hf_borrowed *to, const struct hf_borrowed *own)
{
	if (!to)
		return;
	to->oobinline = own->oobinline;
	to->peek_off = own->peek_off;
	__atomic_store_n(&to->sock, own->sock, __ATOMIC_RELEASE);
}

int hf_tcp_read_recv_queue(
	int sock, struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_queues *queues)
{
	uint32_t rcv_nxt = 0;
	struct hf_borrowed own = {-1, 0, -1};
	bool with_offset;
	int ret = row->stream ? hf_tcp_choose_queue(sock, TCP_RECV_QUEUE, &rcv_nxt) : 0;
	int reset;

	if (ret < 0)
		return ret;
	conn->recv = (struct hf_queue){rcv_nxt - row->peer_fin, 0};
	if (is_empty(sock))
		return 0;
	queues->left = queues->none;
	if (queues->left)
		return 0;
	ret = look_at_options(sock, &own);
	if (ret < 0)
		return ret;
	publish(queues->borrowed, &own);
	ret = measure(sock, conn, own.oobinline);
	if (ret == 0)
		ret = make_place(queues, &queues->recv, &queues->recv_room, conn->recv.len);
	with_offset = conn->urgent.present || own.peek_off >= 0 || is_cut(queues);
	if (ret == 0 && !queues->left)
		ret = peek_recv_queue(sock, queues, conn->recv.len, with_offset);
	reset = give_back(&own, with_offset);
	/* Else it is tried again when the dump is rolled back. */
	if (reset == 0)
		publish(queues->borrowed, &(struct hf_borrowed){-1, 0, -1});
	return ret < 0 ? ret : reset;
}

/*
 * Peeks at what comes after the first `skip` bytes, which all go to the same place. Returns how
 * much is queued: the kernel tells that, whatever the room.
 */
static ssize_t peek_behind(int sock, size_t skip, const struct iovec to[2])
{
	static uint8_t skipped[SKIP_PIECE];
	struct iovec parts[SKIP_PARTS + 2];
	struct msghdr msg = {.msg_iov = parts};
	ssize_t n;

	for (; skip > 0 && msg.msg_iovlen < SKIP_PARTS; msg.msg_iovlen++) {
		size_t part = skip < SKIP_PIECE ? skip : SKIP_PIECE;

		parts[msg.msg_iovlen] = (struct iovec){skipped, part};
		skip -= part;
	}
	if (skip > 0)
		return -EIO;
	parts[msg.msg_iovlen++] = to[0];
	parts[msg.msg_iovlen++] = to[1];
	do {
		n = recvmsg(sock, &msg, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int peek_pieces(int sock, const struct hf_queue_sink *sink, size_t skip, size_t end)
{
	int ret = 0;

	while (skip < end && ret == 0) {
		struct iovec to[2];
		size_t part = sink->place(sink->context, end - skip, to);
		ssize_t n = peek_behind(sock, skip, to);

		if (n >= 0 && (size_t)n != end)
			n = -EAGAIN;
		ret = n < 0 ? (int)n : sink->take(sink->context, part);
		skip += part;
	}
	return ret;
}

/*
 * The last len bytes that are queued. There may be more than those not acknowledged: the kernel
 * keeps a segment of which a part was acknowledged (tcp_clean_rtx_queue()), as it happens after a
 * restore, which cuts the queue into other segments.
 */
static int peek_send(int sock, struct hf_queues *queues, size_t len)
{
	const struct hf_queue_sink *sink = queues->sink;
	bool cut = sink && sink->send;
	const struct iovec to[2] = {{queues->send, len}}, one[2] = {{&(char){0}, 1}};
	size_t skip;
	ssize_t n;

	if (sink && len != sink->send_len)
		return -EAGAIN;
	if (len == 0)
		return 0;
	n = peek_behind(sock, 0, cut ? one : to);
	if (n < 0)
		return (int)n;
	if ((size_t)n < len)
		return -EIO;
	skip = (size_t)n - len;
	if (cut)
		return peek_pieces(sock, sink, skip, (size_t)n);
	if (skip > 0)
		n = peek_behind(sock, skip, to);
	if (n < 0)
		return (int)n;
	return (size_t)n == skip + len ? 0 : -EIO;
}

int hf_tcp_read_send_queue(
	int sock, struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_queues *queues)
{
	uint32_t fin = row->our_fin && !row->fin_acked; /* counted by both lengths */
	uint32_t write_seq = 0, unacked = 0, unsent = 0;
	int ret = hf_tcp_choose_queue(sock, TCP_SEND_QUEUE, &write_seq);

	if (ret == 0)
		ret = get_length(sock, SIOCOUTQ, &unacked);
	if (ret == 0 && unacked > fin)
		ret = make_place(queues, &queues->send, &queues->send_room, unacked - fin);
	if (ret < 0)
		return ret;
	if (unacked < fin)
		return -EIO;
	conn->send = (struct hf_queue){write_seq - row->our_fin, unacked - fin};
	ret = queues->left ? 0 : peek_send(sock, queues, conn->send.len);
	if (ret == 0 && unacked > 0)
		ret = get_length(sock, SIOCOUTQNSD, &unsent);
	conn->fin_unsent = fin && unsent > 0;
	conn->unsent = unsent - conn->fin_unsent;
	return ret;
}

int hf_queues_make_room(struct hf_queues *queues, size_t recv, size_t send)
{
	int ret = make_room(&queues->recv, &queues->recv_room, recv);

	return ret < 0 ? ret : make_room(&queues->send, &queues->send_room, send);
}

void hf_queues_clear(struct hf_queues *queues)
{
	free(queues->recv);
	free(queues->send);
	memset(queues, 0, sizeof(*queues));
}
