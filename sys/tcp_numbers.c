// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/tcp_numbers.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "sys/sockopt_int.h"

int hf_tcp_get_info(int sock, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return getsockopt(sock, IPPROTO_TCP, TCP_INFO, info, &len) < 0 ? -errno : 0;
}

void hf_tcp_agreed(struct hf_conn *conn, const struct tcp_info *info)
{
	conn->has_timestamps = info->tcpi_options & TCPI_OPT_TIMESTAMPS;
	conn->has_sack = info->tcpi_options & TCPI_OPT_SACK;
	conn->has_wscale = info->tcpi_options & TCPI_OPT_WSCALE;
	conn->snd_wscale = conn->has_wscale ? info->tcpi_snd_wscale : 0;
	conn->rcv_wscale = conn->has_wscale ? info->tcpi_rcv_wscale : 0;
}

int hf_tcp_get_timestamp(int sock, struct hf_conn *conn)
{
	int timestamp = 0;
	int ret = hf_get_int(sock, IPPROTO_TCP, TCP_TIMESTAMP, &timestamp);

	conn->timestamp = (uint32_t)timestamp;
	return ret;
}

int hf_tcp_get_window(int sock, struct hf_window *window)
{
	struct tcp_repair_window now;
	socklen_t len = sizeof(now);

	if (getsockopt(sock, IPPROTO_TCP, TCP_REPAIR_WINDOW, &now, &len) < 0)
		return -errno;
	*window = (struct hf_window){
		now.snd_wl1, now.snd_wnd, now.max_window, now.rcv_wnd, now.rcv_wup};
	return 0;
}
