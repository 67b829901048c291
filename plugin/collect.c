// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/collect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/tcp_state.h"
#include "sys/in_flight.h"
#include "sys/parallel.h"
#include "sys/pidfd.h"
#include "sys/sock_diag.h"
#include "sys/tcp_repair.h"

/* What the search for sockets needs beside the dump itself. */
struct search {
	struct hf_dump *dump;
	struct hf_task_sockets sockets;
	struct hf_diag diag;
	int *pidfds; /* one a task, opened when needed */
	uint32_t conn_room, pending_room;
};

static int no_memory(struct hf_error *err)
{
	return hf_error_sys(err, -ENOMEM, "cannot collect the connections");
}

static int get_socket(
	struct search *search, const struct hf_task_socket *socket, struct hf_error *err)
{
	int *pidfd = &search->pidfds[socket->task];

	if (*pidfd < 0)
		*pidfd = hf_pidfd_open(search->dump->tree.tasks[socket->task].pid, err);
	return *pidfd < 0 ? *pidfd : hf_pidfd_getfd(*pidfd, socket->fd, err);
}

static int set_holders(struct search *search, struct hf_conn *conn,
	const struct hf_task_socket *first, uint32_t n, struct hf_error *err)
{
	conn->holders = calloc(n, sizeof(*conn->holders));
	if (!conn->holders)
		return no_memory(err);
	conn->n_holders = n;
	conn->inode = first->inode;
	for (uint32_t i = 0; i < n; i++) {
		conn->holders[i] = search->dump->tree.tasks[first[i].task].name;
		conn->holders[i].fd = (uint32_t)first[i].fd;
	}
	return 0;
}

/* Takes the socket over into the dump, which owns sock and the conn's holders from then on. */
static int add_conn(
	struct search *search, int sock, const struct hf_conn *conn, struct hf_error *err)
{
	struct hf_dump *dump = search->dump;

	if (dump->image.n_conns == search->conn_room) {
		uint32_t room = search->conn_room ? 2 * search->conn_room : 64;
		struct hf_conn *conns = realloc(dump->image.conns, room * sizeof(*conns));
		int *socks;

		if (!conns)
			return no_memory(err);
		dump->image.conns = conns;
		socks = realloc(dump->socks, room * sizeof(*socks));
		if (!socks)
			return no_memory(err);
		dump->socks = socks;
		search->conn_room = room;
	}
	dump->socks[dump->image.n_conns] = sock;
	dump->image.conns[dump->image.n_conns++] = *conn;
	return 0;
}

/*
 * What only sock_diag tells: that the owner itself shut down the receiving side (a FIN of the peer
 * does so too, and shows in the state).
 */
static void set_from_diag(struct hf_conn *conn, const struct hf_diag_socket *known)
{
	const struct hf_tcp_row *row = hf_tcp_row(known->state, HF_CLOSED_UNCONNECTED);

	if (conn->state == HF_TCP_LISTEN)
		conn->v6only = known->v6only;
	else if (row && !row->peer_fin)
		conn->shutdown = known->shutdown & HF_SHUTDOWN_RECV;
}

static int refuse_in_flight(int sock, void *context, struct hf_error *err)
{
	struct hf_conn conn = {0};
	char text[HF_CONN_TEXT];
	int ret = hf_tcp_identify(sock, &conn, err);

	(void)context;
	if (ret != HF_TCP_SOCKET)
		return ret < 0 ? ret : 0;
	if (conn.state == HF_TCP_LISTEN || conn.state == HF_TCP_CLOSE)
		return 0;
	return hf_error_set(err, -EOPNOTSUPP,
		"connection %s is in flight: it was sent through a unix socket (SCM_RIGHTS) and "
		"not "
		"received yet, which holdfast cannot save: let the program receive it and try "
		"again",
		hf_conn_format(text, &conn));
}

/* One socket, with all file descriptors that refer to it. */
static int take_socket(
	struct search *search, const struct hf_task_socket *first, uint32_t n, struct hf_error *err)
{
	const struct hf_diag_socket *known = hf_diag_find(&search->diag, first->inode);
	hf_autoclose int sock = get_socket(search, first, err);
	struct hf_conn conn = {0};
	char text[HF_CONN_TEXT];
	int ret;

	if (sock < 0)
		return sock;
	ret = known && known->state != HF_TCP_CLOSE && !known->ulp
		      ? hf_tcp_identify_known(sock, known, &conn, err)
		      : hf_tcp_identify(sock, &conn, err);
	if (ret == HF_TCP_NONE)
		return hf_in_flight(sock, refuse_in_flight, NULL, err);
	if (ret < 0)
		return ret;
	if (known)
		set_from_diag(&conn, known);
	else if (conn.state == HF_TCP_LISTEN)
		return 0; /* of another network namespace: CRIU opens it again, without a lock */
	else if (conn.state != HF_TCP_CLOSE)
		return hf_error_set(err, -EOPNOTSUPP,
			"connection %s belongs to another network namespace than the root task's, "
			"which holdfast cannot save: close it",
			hf_conn_format(text, &conn));
	if (known && known->md5)
		return hf_error_set(err, -EOPNOTSUPP,
			"connection %s has keys of TCP-MD5 (RFC 2385), which holdfast cannot save: "
			"close it, or remove the keys",
			hf_conn_format(text, &conn));
	ret = set_holders(search, &conn, first, n, err);
	if (ret == 0)
		ret = add_conn(search, sock, &conn, err);
	if (ret == 0)
		hf_steal_fd(&sock);
	else
		hf_conn_clear(&conn);
	return ret;
}

static int take_sockets(struct search *search, struct hf_error *err)
{
	size_t n = search->sockets.n;
	int ret = 0;

	for (size_t i = 0, next; i < n && ret == 0; i = next) {
		const struct hf_task_socket *first = &search->sockets.sockets[i];

		for (next = i + 1; next < n && search->sockets.sockets[next].inode == first->inode;
			next++)
			;
		ret = take_socket(search, first, (uint32_t)(next - i), err);
	}
	return ret;
}

static int add_pending(
	struct search *search, const struct hf_diag_socket *from, struct hf_error *err)
{
	struct hf_image *image = &search->dump->image;

	if (image->n_pending == search->pending_room) {
		uint32_t room = search->pending_room ? 2 * search->pending_room : 16;
		struct hf_pending *grown = realloc(image->pending, room * sizeof(*grown));

		if (!grown)
			return no_memory(err);
		image->pending = grown;
		search->pending_room = room;
	}
	image->pending[image->n_pending++] =
		(struct hf_pending){from->family, from->state, from->local, from->peer};
	return 0;
}

/* A socket without a file, in a state in which it has not been closed: nobody accepted it yet. */
static bool is_pending(const struct hf_diag_socket *sock)
{
	return sock->inode == 0 &&
	       (sock->state == HF_TCP_ESTABLISHED || sock->state == HF_TCP_CLOSE_WAIT ||
		       sock->state == HF_TCP_SYN_RECV || sock->state == HF_TCP_NEW_SYN_RECV);
}

static bool takes(const struct hf_conn *listener, const struct hf_diag_socket *sock)
{
	static const uint8_t any[16];

	return listener->local.port == sock->local.port &&
	       (memcmp(listener->local.ip, any, sizeof(any)) == 0 ||
		       memcmp(listener->local.ip, sock->local.ip, sizeof(any)) == 0);
}

static bool is_ours(const struct hf_image *image, const uint32_t *listeners, uint32_t n,
	const struct hf_diag_socket *sock)
{
	for (uint32_t i = 0; i < n; i++)
		if (takes(&image->conns[listeners[i]], sock))
			return true;
	return false;
}

static int take_pending(struct search *search, struct hf_error *err)
{
	const struct hf_image *image = &search->dump->image;
	hf_autofree uint32_t *listeners = malloc((image->n_conns + 1) * sizeof(*listeners));
	uint32_t n = 0;
	int ret = 0;

	if (!listeners)
		return no_memory(err);
	for (uint32_t i = 0; i < image->n_conns; i++)
		if (image->conns[i].state == HF_TCP_LISTEN)
			listeners[n++] = i;
	for (size_t i = 0; i < search->diag.n && ret == 0; i++) {
		const struct hf_diag_socket *sock = &search->diag.sockets[i];

		if (is_pending(sock) && is_ours(image, listeners, n, sock))
			ret = add_pending(search, sock, err);
	}
	return ret;
}

static int list_sockets(void *context, struct hf_error *err)
{
	struct search *search = context;

	return hf_sock_diag(search->dump->netns, &search->diag, err);
}

/* What the tasks have open, and beside it what the kernel knows of all sockets. */
static int list_all(struct search *search, struct hf_error *err)
{
	struct hf_background diag;
	int ret, listed;

	hf_background_start(&diag, list_sockets, search);
	ret = hf_task_sockets_read(&search->dump->tree, &search->sockets, err);
	listed = hf_background_end(&diag, ret < 0 ? NULL : err);
	return ret < 0 ? ret : listed;
}

int hf_collect(struct hf_dump *dump, struct hf_error *err)
{
	struct search search = {.dump = dump};
	int ret = list_all(&search, err);

	search.pidfds = malloc(dump->tree.n * sizeof(*search.pidfds));
	if (!search.pidfds && ret == 0)
		ret = no_memory(err);
	for (size_t i = 0; search.pidfds && i < dump->tree.n; i++)
		search.pidfds[i] = -1;
	if (ret == 0)
		ret = take_sockets(&search, err);
	if (ret == 0)
		ret = take_pending(&search, err);
	for (size_t i = 0; i < search.diag.n && !dump->has_orphans; i++)
		dump->has_orphans = hf_is_orphan(&search.diag.sockets[i]);
	for (size_t i = 0; search.pidfds && i < dump->tree.n; i++)
		hf_close_fd(&search.pidfds[i]);
	free(search.pidfds);
	hf_diag_clear(&search.diag);
	hf_task_sockets_clear(&search.sockets);
	return ret;
}
