// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/frozen.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/netns.h"
#include "sys/pidfd.h"
#include "sys/sockopt_int.h"
#include "sys/task_fds.h"
#include "sys/tcp_repair.h"

/* A socket that has SO_REUSEADDR on. */
struct reuser {
	uint64_t netns;
	uint16_t port;
};

struct search {
	struct hf_frozen_list *list;
	struct reuser *reusers;
	size_t n_reusers, reusers_room;
};

/* Asks without touching the socket. What does not tell is looked at. */
static bool may_be_tcp(pid_t pid, int fd)
{
	char path[64], name[16];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	len = getxattr(path, "system.sockprotoname", name, sizeof(name) - 1);
	if (len < 0)
		return errno != ENOENT && errno != ESRCH;
	name[len] = '\0';
	return strncmp(name, "TCP", 3) == 0;
}

static uint64_t netns_of(int sock, const struct hf_process *process)
{
	hf_autoclose int netns = ioctl(sock, SIOCGSKNS);
	uint64_t inode = 0;

	return netns >= 0 && hf_netns_inode(netns, &inode, NULL) == 0 ? inode : process->netns;
}

static int add_reuser(struct search *search, const struct hf_process *process, uint16_t port)
{
	if (search->n_reusers == search->reusers_room) {
		size_t room = search->reusers_room ? 2 * search->reusers_room : 64;
		struct reuser *grown = realloc(search->reusers, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		search->reusers = grown;
		search->reusers_room = room;
	}
	search->reusers[search->n_reusers++] = (struct reuser){process->netns, port};
	return 0;
}

static int add_frozen(
	struct hf_frozen_list *list, struct hf_frozen *frozen, const struct hf_conn *conn)
{
	struct hf_frozen *grown;

	for (size_t i = 0; i < list->n; i++)
		if (list->all[i].inode == frozen->inode)
			return 0;
	grown = realloc(list->all, (list->n + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->all = grown;
	hf_conn_format(frozen->text, conn);
	frozen->port = conn->local.port;
	list->all[list->n++] = *frozen;
	frozen->fd = -1;
	return 0;
}

/* Descriptors and processes go away while we look. */
static bool is_gone(int ret)
{
	return ret == -ESRCH || ret == -ENOENT || ret == -EBADF;
}

static int look_at(struct search *search, const struct hf_process *process, int pidfd,
	const struct hf_task_socket *at, struct hf_error *err)
{
	hf_autoclose int sock = hf_pidfd_getfd(pidfd, at->fd, err);
	struct hf_frozen frozen = {.fd = sock, .inode = at->inode, .pid = process->pid};
	struct hf_conn conn = {0};
	int reuse = 0, ret = 0;

	if (sock < 0)
		return is_gone(sock) ? 0 : sock;
	if (hf_tcp_is_frozen(sock)) {
		/* Addresses, as far as it has any. */
		hf_tcp_identify(sock, &conn, NULL);
		frozen.netns = netns_of(sock, process);
		ret = add_frozen(search->list, &frozen, &conn);
		if (frozen.fd < 0)
			(void)hf_steal_fd(&sock); /* the list has it */
	} else if (hf_get_int(sock, SOL_SOCKET, SO_REUSEADDR, &reuse) == 0 && reuse) {
		hf_tcp_identify(sock, &conn, NULL);
		if (conn.local.port)
			ret = add_reuser(search, process, conn.local.port);
	}
	return ret < 0 ? hf_error_sys(err, ret, "cannot look at the sockets") : 0;
}

static int search_process(
	struct search *search, const struct hf_process *process, struct hf_error *err)
{
	struct hf_task task = {.pid = process->pid};
	const struct hf_tree tree = {&task, 1};
	struct hf_task_sockets sockets = {0};
	hf_autoclose int pidfd = -1;
	int ret = hf_task_sockets_read(&tree, &sockets, err);

	if (ret == 0 && sockets.n > 0)
		pidfd = hf_pidfd_open(process->pid, err);
	if (ret == 0 && sockets.n > 0 && pidfd < 0)
		ret = pidfd;
	for (size_t i = 0; ret == 0 && i < sockets.n; i++) {
		/* The same socket under another number. */
		if (i > 0 && sockets.sockets[i].inode == sockets.sockets[i - 1].inode)
			continue;
		if (may_be_tcp(process->pid, sockets.sockets[i].fd))
			ret = look_at(search, process, pidfd, &sockets.sockets[i], err);
	}
	hf_task_sockets_clear(&sockets);
	return is_gone(ret) ? 0 : ret;
}

static void set_reuseaddr(const struct search *search)
{
	for (size_t i = 0; i < search->list->n; i++) {
		struct hf_frozen *frozen = &search->list->all[i];

		for (size_t k = 0; k < search->n_reusers; k++)
			if (search->reusers[k].port == frozen->port &&
				search->reusers[k].netns == frozen->netns)
				frozen->reuseaddr = true;
	}
}

int hf_frozen_find(const struct hf_processes *processes, uint64_t netns,
	struct hf_frozen_list *list, struct hf_error *err)
{
	struct search search = {.list = list};
	int first = 0;

	for (size_t i = 0; i < processes->n; i++) {
		const struct hf_process *process = &processes->all[i];
		int ret;

		if ((netns && process->netns != netns) || hf_process_is_criu(process) ||
			hf_process_is_guardian(process) || process->pid == getpid())
			continue;
		ret = search_process(&search, process, first ? NULL : err);
		first = first ? first : ret;
	}
	set_reuseaddr(&search);
	free(search.reusers);
	return first;
}

void hf_frozen_clear(struct hf_frozen_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		hf_close_fd(&list->all[i].fd);
	free(list->all);
	memset(list, 0, sizeof(*list));
}
