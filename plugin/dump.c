// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/dump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "lib/cleanup.h"
#include "plugin/guardian.h"
#include "sys/clock.h"
#include "sys/image_file.h"
#include "sys/net_lock.h"
#include "sys/netns.h"
#include "sys/sock_diag.h"
#include "sys/tcp_repair.h"

/* What the search for connections needs beside the dump itself. */
struct search {
	struct hf_dump *dump;
	struct hf_task_sockets sockets;
	struct hf_diag diag;
	int *pidfds; /* one a task, opened when needed */
	uint32_t conn_room;
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

/* A listener is not read, only named: its socket stays where it is. */
static int take_listener(struct search *search, const struct hf_diag_socket *known,
	const struct hf_task_socket *first, uint32_t n, struct hf_error *err)
{
	struct hf_conn conn = {.family = known->family,
		.state = known->state,
		.v6only = known->family == HF_FAMILY_IPV6 && known->v6only,
		.local = known->local};
	int ret = set_holders(search, &conn, first, n, err);

	if (ret == 0)
		ret = add_conn(search, -1, &conn, err);
	if (ret < 0)
		hf_conn_clear(&conn);
	return ret;
}

/* One socket, with all file descriptors that refer to it. */
static int take_socket(
	struct search *search, const struct hf_task_socket *first, uint32_t n, struct hf_error *err)
{
	const struct hf_diag_socket *known = hf_diag_find(&search->diag, first->inode);
	struct hf_conn conn = {0};
	hf_autoclose int sock = -1;
	char text[HF_CONN_TEXT];
	int ret;

	if (known && known->state == HF_TCP_LISTEN)
		return take_listener(search, known, first, n, err);
	sock = get_socket(search, first, err);
	if (sock < 0)
		return sock;
	ret = hf_tcp_identify(sock, &conn, err);
	if (ret != HF_TCP_CONNECTION)
		return ret < 0 ? ret : 0;
	if (!known)
		return hf_error_set(err, -EOPNOTSUPP,
			"connection %s belongs to another network namespace than the root task's, "
			"which holdfast cannot save: close it",
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

/* Finds everything and changes nothing. */
static int collect(struct hf_dump *dump, struct hf_error *err)
{
	struct search search = {.dump = dump};
	int ret = hf_task_sockets_read(&dump->tree, &search.sockets, err);

	search.pidfds = malloc(dump->tree.n * sizeof(*search.pidfds));
	if (!search.pidfds && ret == 0)
		ret = no_memory(err);
	for (size_t i = 0; search.pidfds && i < dump->tree.n; i++)
		search.pidfds[i] = -1;
	if (ret == 0)
		ret = hf_sock_diag(dump->netns, &search.diag, err);
	if (ret == 0)
		ret = take_sockets(&search, err);
	for (size_t i = 0; search.pidfds && i < dump->tree.n; i++)
		hf_close_fd(&search.pidfds[i]);
	free(search.pidfds);
	hf_diag_clear(&search.diag);
	hf_task_sockets_clear(&search.sockets);
	return ret;
}

static int set_header(struct hf_dump *dump, struct hf_error *err)
{
	hf_autoclose int own = hf_netns_open(0, err);
	uint64_t here = 0, there = 0;
	int ret = own < 0 ? own : hf_netns_inode(own, &here, err);

	if (ret == 0)
		ret = hf_netns_inode(dump->netns, &there, err);
	if (ret < 0)
		return ret;
	dump->image.netns_shared = here == there;
	dump->image.created = (uint64_t)time(NULL);
	snprintf(dump->image.writer, sizeof(dump->image.writer), "%s", PACKAGE_STRING);
	if (getrandom(dump->image.id, HF_ID_SIZE, 0) != HF_ID_SIZE)
		return hf_error_sys(err, -errno, "cannot make a checkpoint id");
	return 0;
}

static int lock(struct hf_dump *dump, struct hf_error *err)
{
	char comment[96];
	struct hf_lock rules = {
		.comment = comment, .conns = dump->image.conns, .n_conns = dump->image.n_conns};
	uint64_t start = hf_now_us();
	int ret;

	memcpy(rules.id, dump->image.id, HF_ID_SIZE);
	snprintf(comment, sizeof(comment), "holdfast: checkpoint, pid %d, %llu", (int)getpid(),
		(unsigned long long)dump->image.created);
	ret = hf_net_lock(dump->netns, &rules, err);
	if (ret < 0)
		return ret;
	dump->locked = true;
	/* Without the barrier the kernel would still be taking in packets; those it refuses are
	 * rare kernels. */
	ret = hf_net_lock_barrier(err);
	if (ret == -EAGAIN)
		usleep(20000);
	dump->lock_us = hf_now_us() - start;
	return ret < 0 && ret != -EAGAIN ? ret : 0;
}

static int write_conns(struct hf_dump *dump, struct hf_image_writer *writer, struct hf_error *err)
{
	struct hf_queues queues = {0};
	int ret = 0;

	for (uint32_t i = 0; i < dump->image.n_conns && ret == 0; i++) {
		struct hf_conn *conn = &dump->image.conns[i];

		if (dump->socks[i] >= 0)
			ret = hf_tcp_read(dump->socks[i], conn, &queues, err);
		if (ret == 0)
			ret = hf_image_write_conn(writer, conn, queues.recv, queues.send, err);
		if (ret < 0) {
			char text[HF_CONN_TEXT];

			ret = hf_error_context(err, ret, "%s", hf_conn_format(text, conn));
		}
	}
	dump->image.queue_bytes = writer->queue_bytes;
	hf_queues_clear(&queues);
	return ret;
}

static int write_image(struct hf_dump *dump, struct hf_error *err)
{
	hf_autofree struct hf_image_file *file = malloc(sizeof(*file));
	struct hf_image_writer writer;
	struct hf_output out;
	int ret, finished;

	if (!file)
		return no_memory(err);
	ret = hf_image_file_create(file, dump->image_dir, err);
	if (ret < 0)
		return ret;
	dump->has_image = true;
	out = hf_image_file_output(file);
	ret = hf_image_write_header(&writer, &out, &dump->image, err);
	if (ret == 0)
		ret = write_conns(dump, &writer, err);
	if (ret == 0)
		ret = hf_image_check_unique(&dump->image, err);
	if (ret == 0)
		ret = hf_image_write_end(&writer, err);
	finished = hf_image_file_finish(file, ret == 0 ? err : NULL);
	return ret < 0 ? ret : finished;
}

static int freeze_all(struct hf_dump *dump, struct hf_error *err)
{
	int ret = 0;

	while (dump->n_frozen < dump->image.n_conns && ret == 0) {
		if (dump->socks[dump->n_frozen] >= 0)
			ret = hf_tcp_freeze(dump->socks[dump->n_frozen], err);
		if (ret == 0)
			dump->n_frozen++;
	}
	return ret;
}

static int start_guardian(struct hf_dump *dump, pid_t root, struct hf_error *err)
{
	struct hf_guarded guarded = {.root = root,
		.netns = dump->netns,
		.socks = dump->socks,
		.conns = dump->image.conns,
		.n = dump->image.n_conns};

	memcpy(guarded.id, dump->image.id, HF_ID_SIZE);
	dump->guardian = hf_guardian_start(&guarded, err);
	return dump->guardian < 0 ? dump->guardian : 0;
}

static int thaw_all(struct hf_dump *dump, struct hf_error *err)
{
	int first = 0;

	for (uint32_t i = 0; i < dump->n_frozen; i++) {
		int ret = 0;

		if (dump->socks[i] >= 0)
			ret = hf_tcp_thaw(
				dump->socks[i], dump->image.conns[i].reuseaddr, first ? NULL : err);
		if (ret < 0 && !first)
			first = ret;
	}
	dump->n_frozen = 0;
	return first;
}

/*
 * Repair mode lasts no longer than the reading: should CRIU die later, the kernel lets the tasks
 * run before anybody can act, and their calls on a socket in repair mode would fail with EINVAL.
 * The lock alone keeps the state as it was read.
 */
static int save(struct hf_dump *dump, struct hf_error *err)
{
	uint64_t start = hf_now_us();
	int ret = freeze_all(dump, err);

	if (ret == 0)
		ret = write_image(dump, err);
	if (ret == 0)
		ret = thaw_all(dump, err);
	dump->read_us = hf_now_us() - start;
	return ret;
}

int hf_dump(struct hf_dump *dump, pid_t root, int image_dir, struct hf_error *err)
{
	uint64_t start = hf_now_us();
	bool anything;
	int ret;

	memset(dump, 0, sizeof(*dump));
	dump->guardian = -1;
	dump->image_dir = image_dir;
	dump->netns = hf_netns_open(root, err);
	ret = dump->netns < 0 ? dump->netns : hf_tree_read(root, &dump->tree, err);
	if (ret == 0)
		ret = collect(dump, err);
	if (ret == 0)
		ret = set_header(dump, err);
	anything = dump->image.n_conns > 0;
	if (ret == 0 && anything)
		ret = start_guardian(dump, root, err);
	if (ret == 0 && anything)
		ret = lock(dump, err);
	if (ret == 0)
		ret = save(dump, err);
	dump->frozen_us = hf_now_us() - start;
	if (ret < 0)
		hf_dump_rollback(dump, NULL);
	return ret;
}

bool hf_dump_has_task(const struct hf_dump *dump, pid_t pid)
{
	for (size_t i = 0; i < dump->tree.n; i++)
		if (dump->tree.tasks[i].pid == pid)
			return true;
	return false;
}

static void free_all(struct hf_dump *dump)
{
	for (uint32_t i = 0; i < dump->image.n_conns; i++)
		hf_close_fd(&dump->socks[i]);
	free(dump->socks);
	dump->socks = NULL;
	hf_close_fd(&dump->netns);
	dump->netns = -1;
	hf_image_clear(&dump->image);
	hf_tree_clear(&dump->tree);
}

int hf_dump_commit(struct hf_dump *dump, struct hf_error *err)
{
	int ret = dump->guardian >= 0 ? hf_guardian_commit(dump->guardian, err) : 0;

	free_all(dump);
	return ret;
}

int hf_dump_rollback(struct hf_dump *dump, struct hf_error *err)
{
	int ret = thaw_all(dump, err), removed;

	if (dump->locked) {
		removed = hf_net_unlock(dump->netns, dump->image.id, ret ? NULL : err);
		ret = ret ? ret : removed;
	}
	if (dump->has_image) {
		removed = hf_image_file_remove(dump->image_dir, ret ? NULL : err);
		ret = ret ? ret : removed;
	}
	if (dump->guardian >= 0)
		hf_guardian_dismiss(dump->guardian);
	dump->guardian = -1;
	free_all(dump);
	return ret;
}
