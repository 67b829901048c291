// SPDX-License-Identifier: GPL-2.0-or-later
/* Data that was under way at the dump, lib/resend.h. */
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "sys/sockopt_int.h"
#include "sys/tcp_steps.h"

/* What the socket may send at first: a route may say so, initcwnd in ip-route(8). */
static struct hf_first_window first_window(struct hf_steps *steps)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	hf_steps_note(steps, "look at the congestion window",
		getsockopt(steps->sock, IPPROTO_TCP, TCP_INFO, &info, &len));
	return (struct hf_first_window){.packets = info.tcpi_snd_cwnd,
		.mss = info.tcpi_snd_mss,
		.paced = info.tcpi_max_pacing_rate != UINT64_MAX};
}

void hf_steps_choose_resend(struct hf_steps *steps)
{
	const struct hf_conn *conn = steps->conn;
	struct hf_first_window first;

	*steps->resend = HF_RESEND_BY_TIMER;
	if (steps->ret < 0 || !hf_resend_wanted(conn))
		return;
	first = first_window(steps);
	*steps->resend = hf_resend_choose(conn, &steps->tools->resend, &first);
	if (*steps->resend != HF_RESEND_HELD)
		return;
	steps->held_len = conn->send.len - conn->unsent;
	steps->held = *conn;
	hf_resend_hold(&steps->held);
	steps->conn = &steps->held;
}

bool hf_tcp_is_sent(int sock, uint32_t unsent)
{
	int left = 0;

	/* A connection that has ended meanwhile has nothing to send. */
	return ioctl(sock, SIOCOUTQNSD, &left) < 0 || (uint32_t)left <= unsent;
}

int hf_tcp_push(int sock)
{
	int nodelay = 0;
	int ret = hf_get_int(sock, IPPROTO_TCP, TCP_NODELAY, &nodelay);

	if (ret == 0)
		ret = hf_set_int(sock, IPPROTO_TCP, TCP_NODELAY, 1);
	if (ret == 0 && !nodelay)
		ret = hf_set_int(sock, IPPROTO_TCP, TCP_NODELAY, 0);
	return ret;
}

/* In repair mode sending is nothing but counting. */
int hf_tcp_count_as_sent(int sock, bool reuseaddr, struct hf_error *err)
{
	int ret = hf_tcp_freeze(sock, err), thawed;

	if (ret < 0)
		return ret;
	ret = hf_set_int(sock, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	if (ret == 0)
		ret = hf_tcp_push(sock);
	thawed = hf_tcp_thaw(sock, reuseaddr, err);
	return ret < 0 ? hf_error_sys(err, ret, "cannot send what was held back") : thawed;
}
