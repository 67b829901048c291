// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/tcp_peek.h"

#include <linux/tcp.h>
#include <netinet/in.h>

#include "lib/tcp_state.h"
#include "sys/sockopt_int.h"
#include "sys/tcp_numbers.h"
#include "sys/tcp_queue.h"
#include "sys/tcp_repair.h"

static int failed(int ret, struct hf_error *err)
{
	return hf_error_sys(err, ret, "cannot look at a connection");
}

static int get_info(
	int sock, struct tcp_info *info, struct hf_tcp_pulse *pulse, struct hf_error *err)
{
	int ret = hf_tcp_get_info(sock, info);

	if (ret < 0)
		return failed(ret, err);
	*pulse = (struct hf_tcp_pulse){info->tcpi_bytes_received, info->tcpi_rcv_ooopack};
	return 0;
}

int hf_tcp_pulse(int sock, struct hf_tcp_pulse *pulse, struct hf_error *err)
{
	struct tcp_info info;

	return get_info(sock, &info, pulse, err);
}

/* Where TCP_CORK is off already, this is all that turning it off does (__tcp_sock_set_cork()). */
void hf_tcp_flush(int sock)
{
	int corked = 1;

	if (hf_get_int(sock, IPPROTO_TCP, TCP_CORK, &corked) == 0 && !corked)
		hf_set_int(sock, IPPROTO_TCP, TCP_CORK, 0);
}

/* In repair mode. */
static int get_numbers(
	int sock, struct hf_conn *conn, const struct hf_tcp_row *row, const struct tcp_info *info)
{
	uint32_t rcv_nxt = 0, write_seq = 0;
	int ret = hf_tcp_choose_queue(sock, TCP_RECV_QUEUE, &rcv_nxt);

	if (ret == 0)
		ret = hf_tcp_choose_queue(sock, TCP_SEND_QUEUE, &write_seq);
	if (ret == 0)
		ret = hf_tcp_get_window(sock, &conn->window);
	if (ret < 0)
		return ret;
	conn->recv.seq = rcv_nxt - row->peer_fin;
	conn->send.seq = write_seq - row->our_fin;
	conn->fin_unsent = row->our_fin && !row->fin_acked && info->tcpi_notsent_bytes > 0;
	conn->unsent = info->tcpi_notsent_bytes - conn->fin_unsent;
	return 0;
}

int hf_tcp_peek(int sock, struct hf_conn *conn, uint32_t silent_ms, struct hf_tcp_pulse *pulse,
	struct hf_rtt *rtt, struct hf_error *err)
{
	const struct hf_tcp_row *row;
	struct tcp_info info;
	int ret = get_info(sock, &info, pulse, err), thawed;

	if (ret < 0)
		return ret;
	*rtt = (struct hf_rtt){info.tcpi_min_rtt, info.tcpi_rtt, info.tcpi_rcv_rtt};
	conn->state = info.tcpi_state;
	if (info.tcpi_last_data_recv > silent_ms)
		return 1;
	hf_tcp_agreed(conn, &info);
	row = hf_tcp_row(conn->state, conn->closed);
	if (!row || !row->stream)
		return 0;
	ret = hf_set_int(sock, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	if (ret < 0)
		return failed(ret, err);
	ret = get_numbers(sock, conn, row, &info);
	thawed = hf_tcp_thaw(sock, conn->reuseaddr, NULL);
	/* Not before: it must not be older than what was sent until now. */
	if (ret == 0 && conn->has_timestamps)
		ret = hf_tcp_get_timestamp(sock, conn);
	ret = ret < 0 ? ret : thawed;
	return ret < 0 ? failed(ret, err) : 0;
}
