// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hf-chaos ROLE SEED DIRECTORY OWN4 OWN6 OTHER4 OTHER6: one side of the randomised test; see
 * chaos.h. DIRECTORY/ROLE.counters is made by the test, DIRECTORY/ROLE.log says what was wrong.
 */
#include "chaos.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define LOOP_MS  3
#define US       UINT64_C(1000000)
#define MAX_LIVE 64
#define STUCK    (6 * US)
#define PATIENCE (60 * US)

static struct task task;

static void set_time(void)
{
	uint64_t now = now_ns() / 1000;

	if (task.now)
		task.running += now - task.now < 100000 ? now - task.now : 100000;
	task.now = now;
}

static void new_epoll(void)
{
	task.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (task.epoll < 0)
		fail(&task, NULL, "epoll_create1: %s", strerror(errno));
}

static void wait_for_events(void)
{
	struct epoll_event events[64];
	int n = epoll_wait(task.epoll, events, 64, LOOP_MS);

	set_time();
	for (int i = 0; i < n; i++) {
		struct conn *conn = &task.conns[events[i].data.u32];
		uint32_t what = events[i].events;

		if (conn->style == ONE_SHOT)
			conn->armed = 0;
		conn->can_read |= (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
		conn->can_write |= (what & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
		/* It would come again and again. */
		if (conn->style == LEVEL && (what & (EPOLLHUP | EPOLLERR)))
			conn->read_at = conn->write_at = 0;
	}
}

/* Half of what is open, with both directions or with one of them. */
static bool is_chosen(const struct conn *conn)
{
	return conn->used && !conn->parked && conn->connected && conn->known && !conn->closing &&
	       !conn->broken && !conn->read_shut;
}

static bool may_split(const struct conn *conn)
{
	return conn->plan.reset_by == NOBODY && conn->reads && conn->writes && !conn->eof &&
	       !conn->fin && !conn->plan.shut_read[conn->side] &&
	       (conn->confirmed || conn->side == ACCEPTOR);
}

enum share { STAYS, GOES, SPLITS };

static void park(struct conn *conn)
{
	conn->parked = true;
	conn->park_until = task.running + below(&task, 3 * US);
}

/* The parent's part: a connection that goes stays open here for a while, or not. */
static void give(struct conn *conn, enum share share)
{
	if (share == SPLITS) {
		conn->split = true;
		conn->writes = false;
		watch(&task, conn);
		count(&task, N_LIVE, 1);
		count(&task, N_SPLIT, 1);
	} else if (share == GOES) {
		count(&task, N_HANDED, 1);
		conn->stuck = false; /* the child counts it */
		park(conn);
		if (one_in(&task, 2))
			forget(&task, conn);
	}
}

/* The child's part. */
static void take(struct conn *conn, enum share share)
{
	if (share == STAYS) {
		bool keep = !conn->parked && one_in(&task, 4);

		conn->watched = conn->stuck = false;
		park(conn);
		if (!keep)
			forget(&task, conn);
		return;
	}
	if (share == SPLITS) {
		conn->split = true;
		conn->reads = conn->stuck = false;
	}
	watch(&task, conn);
}

static void become_child(unsigned int number)
{
	close(task.epoll);
	new_epoll();
	task.number = number;
	task.random = mix(number, task.random);
	task.children = 0;
	task.leave_at = task.running + below(&task, 6 * US);
}

static void fork_one(void)
{
	static unsigned int number;
	enum share shares[MAX_CONNS];
	pid_t pid;

	for (unsigned int i = 0; i < MAX_CONNS; i++) {
		struct conn *conn = &task.conns[i];

		shares[i] = !is_chosen(conn) || one_in(&task, 2)  ? STAYS
			    : may_split(conn) && one_in(&task, 2) ? SPLITS
								  : GOES;
		if (shares[i] != STAYS)
			unwatch(&task, conn);
	}
	count(&task, N_TASKS, 1);
	count(&task, N_FORKS, 1);
	number++;
	pid = fork();
	if (pid < 0)
		fail(&task, NULL, "fork: %s", strerror(errno));
	if (pid == 0)
		become_child(10 * task.number + number);
	else
		task.children++;
	for (unsigned int i = 0; i < MAX_CONNS; i++)
		if (task.conns[i].used)
			(pid ? give : take)(&task.conns[i], shares[i]);
}

static void reap(void)
{
	int status;

	while (task.children && waitpid(-1, &status, WNOHANG) > 0) {
		task.children--;
		if (status)
			fail(&task, NULL, "a child ended with status %x", (unsigned int)status);
	}
}

static void look_for_progress(struct conn *conn)
{
	uint64_t still = task.running - conn->progress_at;

	if (conn->stuck != (still > STUCK)) {
		conn->stuck = !conn->stuck;
		count(&task, N_STUCK, conn->stuck ? 1 : -1);
	}
	if (still > task.patience)
		fail(&task, conn, "no progress for %llu s",
			(unsigned long long)(task.patience / US));
}

static unsigned int go_through_conns(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < MAX_CONNS; i++) {
		struct conn *conn = &task.conns[i];

		if (conn->used && conn->parked) {
			if (stopping(&task) || task.running > conn->park_until)
				forget(&task, conn);
		} else if (conn->used) {
			step(&task, conn);
			if (conn->used)
				look_for_progress(conn);
		}
		n += conn->used;
	}
	return n;
}

static void run(void)
{
	unsigned int n = 0;

	for (;;) {
		wait_for_events();
		reap();
		n = go_through_conns();
		if (!task.leave_at && n < MAX_CONNS - 10)
			accept_some(&task);
		else if (!stopping(&task) && n < MAX_CONNS / 2)
			accept_some(&task);
		if (stopping(&task)) {
			if (n == 0 && task.children == 0 &&
				(task.leave_at || counted(&task, N_STOP) == 2))
				return;
			continue;
		}
		if (counted(&task, N_LIVE) < task.max_live && one_in(&task, 8))
			open_one(&task);
		if (counted(&task, N_TASKS) < task.max_tasks && one_in(&task, 200))
			fork_one();
	}
}

static void set_address(struct sockaddr_storage *address, const char *text)
{
	char with_port[80];
	socklen_t len;

	snprintf(with_port, sizeof(with_port), strchr(text, ':') ? "[%s]:1" : "%s:1", text);
	if (!parse_address(with_port, address, &len)) {
		fprintf(stderr, "hf-chaos: bad address %s\n", text);
		exit(2);
	}
}

static int open_file(const char *directory, const char *role, const char *suffix, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s.%s", directory, role, suffix);
	fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd < 0) {
		perror(path);
		exit(2);
	}
	return fd;
}

static void map_counters(const char *directory, const char *role)
{
	int fd = open_file(directory, role, "counters", O_RDWR);

	task.counters = mmap(NULL, N_COUNTERS * sizeof(task.counters[0]), PROT_READ | PROT_WRITE,
		MAP_SHARED, fd, 0);
	if (task.counters == MAP_FAILED) {
		perror("hf-chaos: mmap");
		exit(2);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 8) {
		fprintf(stderr,
			"usage: hf-chaos container|peer SEED DIRECTORY OWN4 OWN6 OTHER4 OTHER6\n");
		return 2;
	}
	task.container = strcmp(argv[1], "container") == 0;
	task.seed = strtoull(argv[2], NULL, 10);
	task.random = mix(task.container, 0);
	task.max_tasks = task.container ? MAX_TASKS : 2;
	task.max_live = MAX_LIVE;
	task.patience = PATIENCE;
	map_counters(argv[3], argv[1]);
	task.log = open_file(argv[3], argv[1], "log", O_WRONLY | O_CREAT | O_APPEND);
	for (unsigned int i = 0; i < 2; i++) {
		set_address(&task.own[i], argv[4 + i]);
		set_address(&task.other[i], argv[6 + i]);
	}
	new_epoll();
	set_time();
	open_listeners(&task);
	count(&task, N_TASKS, 1);
	run();
	count(&task, N_TASKS, -1);
	if (!task.leave_at)
		count(&task, N_DONE, 1);
	return 0;
}
