// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One connection of hf-peer, and the one to hf-server that lwIP makes for it. lwIP's callbacks only
 * note what is there: the rest is done from the loop.
 *
 * Little is held here, so that each end notices when the other does not read: lwIP's window stays
 * closed for what hf-peer has not taken.
 */
#include "lwip.h"

#include "common.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <lwip/pbuf.h>
#include <lwip/tcp.h>

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t error)
{
	struct flow *f = arg;

	(void)pcb;
	(void)error; /* lwIP has no errors to tell here */
	f->connected = true;
	return ERR_OK;
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t error)
{
	struct flow *f = arg;

	(void)pcb;
	(void)error;
	if (!p)
		f->down_end = true;
	else if (f->down)
		pbuf_cat(f->down, p);
	else
		f->down = p;
	if (p && f->marked && !f->arrived)
		f->arrived = wall_ns();
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct flow *f = arg;

	(void)pcb;
	(void)len;
	if (f->marked && !f->moved)
		f->moved = wall_ns();
	return ERR_OK;
}

/* Such a connection is gone already. */
static void on_error(void *arg, err_t error)
{
	struct flow *f = arg;

	f->pcb = NULL;
	f->error = (int)error;
}

/* By a reset on both sides, unless both have come to their ends. */
static void end(struct flow *f, bool reset)
{
	struct linger now = {.l_onoff = 1};

	if (f->pcb) {
		tcp_arg(f->pcb, NULL);
		tcp_recv(f->pcb, NULL);
		tcp_sent(f->pcb, NULL);
		tcp_err(f->pcb, NULL);
		if (reset || tcp_close(f->pcb))
			tcp_abort(f->pcb);
		f->pcb = NULL;
	}
	if (f->down)
		pbuf_free(f->down);
	f->down = NULL;
	if (reset)
		setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(f->fd);
	f->fd = -1;
}

static ip_addr_t lwip_address(const struct sockaddr_storage *addr, u16_t *port)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;
	ip_addr_t out = {0};

	if (addr->ss_family == AF_INET6) {
		IP_SET_TYPE_VAL(out, IPADDR_TYPE_V6);
		memcpy(ip_2_ip6(&out)->addr, &v6->sin6_addr, sizeof(v6->sin6_addr));
		*port = ntohs(v6->sin6_port);
	} else {
		IP_SET_TYPE_VAL(out, IPADDR_TYPE_V4);
		ip_2_ip4(&out)->addr = v4->sin_addr.s_addr;
		*port = ntohs(v4->sin_port);
	}
	return out;
}

void flow_start(struct flow *f, int fd, const struct sockaddr_storage *to)
{
	struct sockaddr_in client = {0};
	socklen_t len = sizeof(client);
	u16_t port;
	ip_addr_t address = lwip_address(to, &port);

	*f = (struct flow){.fd = fd};
	if (!getpeername(fd, (struct sockaddr *)&client, &len))
		f->port = ntohs(client.sin_port);
	set_nodelay(fd);
	f->pcb = tcp_new_ip_type(IP_GET_TYPE(&address));
	if (!f->pcb) {
		end(f, true);
		return;
	}
	tcp_arg(f->pcb, f);
	tcp_recv(f->pcb, on_recv);
	tcp_sent(f->pcb, on_sent);
	tcp_err(f->pcb, on_error);
	tcp_nagle_disable(f->pcb);
	if (tcp_connect(f->pcb, &address, port, on_connected))
		end(f, true);
}

/* How much of hf-peer's lwIP can take. */
static size_t room(const struct flow *f)
{
	bool ready = f->pcb && f->connected && !f->up_len && !f->up_end;
	size_t most = ready ? tcp_sndbuf(f->pcb) : 0;

	return most < sizeof(f->up) ? most : sizeof(f->up);
}

/* What lwIP has no memory for stays for the next turn. False: the connection has gone wrong. */
static bool pass_on(struct flow *f)
{
	err_t error = ERR_OK;

	if (f->up_len)
		error = tcp_write(f->pcb, f->up, (u16_t)f->up_len, TCP_WRITE_FLAG_COPY);
	if (!error)
		f->up_len = 0;
	if (!error && f->up_end && !f->up_shut) {
		error = tcp_shutdown(f->pcb, 0, 1);
		f->up_shut = !error;
	}
	return !error || error == ERR_MEM;
}

static bool carry_up(struct flow *f)
{
	size_t want;
	bool ok = pass_on(f);

	while (ok && (want = room(f))) {
		ssize_t n = recv(f->fd, f->up, want, 0);

		if (n < 0 && errno == EAGAIN)
			break;
		ok = n >= 0;
		f->up_end = n == 0;
		f->up_len = ok ? (size_t)n : 0;
		ok = ok && pass_on(f);
	}
	if (ok)
		tcp_output(f->pcb);
	return ok;
}

static bool carry_down(struct flow *f)
{
	char bytes[sizeof(f->up)];

	while (f->down) {
		u16_t there = pbuf_copy_partial(f->down, bytes, sizeof(bytes), 0);
		ssize_t n = send(f->fd, bytes, there, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN;
		f->down = pbuf_free_header(f->down, (u16_t)n);
		if (f->pcb)
			tcp_recved(f->pcb, (u16_t)n);
	}
	if (f->down_end && !f->down_shut)
		f->down_shut = !shutdown(f->fd, SHUT_WR);
	return true;
}

short flow_events(const struct flow *f)
{
	return (short)((room(f) ? POLLIN : 0) | (f->down ? POLLOUT : 0));
}

void flow_run(struct flow *f, bool readable)
{
	if (f->fd < 0)
		return;
	if (!carry_down(f) || !f->pcb || ((readable || f->up_len || f->up_end) && !carry_up(f)))
		end(f, true);
	else if (f->up_shut && f->down_shut)
		end(f, false);
}

void flow_mark(struct flow *f)
{
	f->marked = true;
	f->arrived = f->moved = 0;
}

/* With what its TCP is about to do: timers count in ticks of half a second. */
void flow_print(const struct flow *f)
{
	const struct tcp_pcb *pcb = f->pcb;

	printf("{\"port\":%u,\"error\":%d,\"arrived\":%" PRIu64 ",\"moved\":%" PRIu64, f->port,
		f->error, f->arrived, f->moved);
	if (pcb)
		printf(",\"window\":%u,\"probes\":%u,\"tries\":%u,\"rto\":%d",
			(unsigned int)pcb->snd_wnd, pcb->persist_probe, pcb->nrtx, pcb->rto);
	printf("}");
}
