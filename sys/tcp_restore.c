// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/lock_rules.h"
#include "lib/tcp_state.h"
#include "sys/sockopt_int.h"
#include "sys/tcp_steps.h"

static void do_step(struct hf_steps *steps, const struct hf_tcp_row *row, enum hf_step step,
	enum hf_tcp_state state, const uint8_t *recv_data, const uint8_t *send_data)
{
	const struct hf_conn *conn = steps->conn;
	size_t sent = conn->send.len - conn->unsent;

	switch (step) {
	case HF_STEP_CONNECT:
		hf_step_connect(steps, row);
		hf_steps_choose_resend(steps);
		break;
	case HF_STEP_SYN:
		hf_step_syn(steps, row);
		break;
	case HF_STEP_RECEIVED:
		hf_step_received(steps, recv_data);
		break;
	case HF_STEP_SENT:
		hf_steps_fill_sent(steps, send_data, sent);
		break;
	case HF_STEP_UNSENT:
		if (conn->unsent)
			hf_steps_fill_unsent(steps, send_data + sent, conn->unsent);
		break;
	case HF_STEP_OUR_FIN:
		hf_step_our_fin(steps);
		break;
	case HF_STEP_DISCONNECT:
		hf_step_disconnect(steps);
		break;
	case HF_STEP_WINDOW:
		hf_step_window(steps, &conn->window);
		break;
	default:
		hf_step_segment(steps, step, state);
	}
}

/*
 * Some steps make the kernel send: what is unsent, a SYN, answers to the peer's segments. The lock
 * holds that, but not on the loopback device, where it would count as sent and be lost, and not
 * towards a peer that is made up. So the socket gets a mark that the lock drops.
 */
static bool is_loud(const struct hf_steps *steps)
{
	const struct hf_conn *conn = steps->conn;

	return *steps->resend == HF_RESEND_TAIL || conn->state != HF_TCP_ESTABLISHED ||
	       conn->unsent || conn->urgent.present;
}

static void set_mark(struct hf_steps *steps, int mark)
{
	hf_steps_set_int(steps, "set SO_MARK", SOL_SOCKET, SO_MARK, mark);
}

static void do_all(struct hf_steps *steps, const struct hf_tcp_row *row, const uint8_t *recv_data,
	const uint8_t *send_data)
{
	enum hf_tcp_state state = HF_TCP_CLOSE;
	bool muted = false;
	int mark = 0;

	for (const enum hf_step *step = row->steps; *step != HF_STEP_END; step++) {
		enum hf_tcp_state next = hf_tcp_after(state, *step);

		/* Not for connect() in repair mode: routes may depend on the mark. */
		if (!muted && *step != HF_STEP_CONNECT && is_loud(steps)) {
			hf_steps_note(steps, "get SO_MARK",
				hf_get_int(steps->sock, SOL_SOCKET, SO_MARK, &mark));
			set_mark(steps, (int)HF_MARK_MUTE);
			muted = true;
		}
		do_step(steps, row, *step, state, recv_data, send_data);
		if (next != state)
			hf_steps_await_state(steps, next);
		state = next;
	}
	if (muted)
		set_mark(steps, mark);
}

static int not_ours(struct hf_error *err)
{
	return hf_error_set(err, -EBADFD,
		"the socket is not the closed TCP socket that CRIU's tcp-close leaves");
}

static int compare(int sock, const struct hf_conn *conn, struct hf_error *err)
{
	struct hf_conn now = {0};
	int ret = hf_tcp_identify(sock, &now, err);

	if (ret < 0)
		return ret;
	if (ret == HF_TCP_NONE || now.family != conn->family || now.state == HF_TCP_LISTEN)
		return not_ours(err);
	if (now.local.port != conn->local.port || memcmp(now.local.ip, conn->local.ip, 16) != 0 ||
		now.peer.port != conn->peer.port || memcmp(now.peer.ip, conn->peer.ip, 16) != 0)
		return hf_error_set(err, -EBADFD, "the socket is another connection");
	return 1;
}

/* 1 if the socket already is this connection, 0 if it is closed, else a negative errno. */
static int look(int sock, const struct hf_conn *conn, struct hf_error *err)
{
	uint8_t state = 0; /* the first field of struct tcp_info */
	socklen_t len = sizeof(state);
	int domain = 0;

	if (getsockopt(sock, IPPROTO_TCP, TCP_INFO, &state, &len) < 0 ||
		hf_get_int(sock, SOL_SOCKET, SO_DOMAIN, &domain) < 0 ||
		domain != (conn->family == HF_FAMILY_IPV4 ? AF_INET : AF_INET6))
		return not_ours(err);
	return state == HF_TCP_CLOSE ? 0 : compare(sock, conn, err);
}

int hf_tcp_rebuild(int sock, const struct hf_conn *conn, const void *recv_data,
	const void *send_data, const struct hf_tcp_tools *tools, enum hf_resend *resend,
	struct hf_error *err)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);
	struct hf_steps steps = {.sock = sock,
		.conn = conn,
		.resend = resend,
		.peer = conn->peer,
		.tools = tools,
		.err = err};
	struct hf_buffers buffers = {0};
	char text[HF_CONN_TEXT];
	int ret;

	ret = row->steps[0] == HF_STEP_END ? 1 : look(sock, conn, err);
	if (ret == 1)
		hf_steps_write_options(&steps, HF_SOCKOPT_ALL_PHASES);
	if (ret < 0)
		return hf_error_context(err, ret, "connection %s", hf_conn_format(text, conn));
	if (ret == 1)
		return steps.ret < 0 ? steps.ret : 1;
	if (row->faked_peer)
		hf_steps_fake_peer(&steps);
	hf_steps_disconnect(&steps);
	hf_steps_set_int(&steps, "enter repair mode", IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	hf_steps_write_options(&steps, HF_SOCKOPT_BEFORE);
	hf_steps_open_buffers(&steps, &buffers);
	do_all(&steps, row, recv_data, send_data);
	if ((conn->shutdown & HF_SHUTDOWN_RECV) && row->connected && !row->peer_fin &&
		steps.ret == 0)
		hf_steps_note(&steps, "shut down", shutdown(sock, SHUT_RD));
	hf_steps_close_buffers(&steps, &buffers);
	hf_steps_write_options(&steps, HF_SOCKOPT_LAST);
	if (steps.ret < 0 && !steps.what)
		return steps.ret;
	if (steps.ret < 0)
		return hf_error_sys(err, steps.ret, "connection %s: cannot %s",
			hf_conn_format(text, conn), steps.what);
	return 0;
}

int hf_tcp_abandon(int sock, bool reuseaddr, struct hf_error *err)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	int ret = hf_tcp_thaw(sock, reuseaddr, err);

	if (ret == 0 && connect(sock, &none, sizeof(none)) < 0)
		ret = hf_error_sys(err, -errno, "cannot disconnect");
	/* ENOTCONN, and done all the same (inet_shutdown()). */
	if (ret == 0 && shutdown(sock, SHUT_RDWR) < 0 && errno != ENOTCONN)
		ret = hf_error_sys(err, -errno, "cannot shut down");
	return ret;
}

int hf_tcp_resume(int sock, bool reuseaddr, bool probe, struct hf_error *err)
{
	int ret = hf_set_int(
		sock, IPPROTO_TCP, TCP_REPAIR, probe ? TCP_REPAIR_OFF : TCP_REPAIR_OFF_NO_WP);

	if (ret == 0)
		ret = hf_set_int(sock, SOL_SOCKET, SO_REUSEADDR, reuseaddr);
	return ret < 0 ? hf_error_sys(err, ret, "cannot leave repair mode") : 0;
}
