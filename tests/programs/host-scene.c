// SPDX-License-Identifier: GPL-2.0-or-later
/* An application and its connections, see host.h. */
#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stream.h"

#define SMALL 2000
#define READY 'r'

#define HEAVY_BYTES (4 << 20)
#define HEAVY_TIMES 512
#ifndef TCP_RTO_MIN_US
#define TCP_RTO_MIN_US 45
#endif

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void set(int sock, int level, int option, int value)
{
	if (setsockopt(sock, level, option, &value, sizeof(value)) < 0)
		die("setsockopt");
}

bool scene_is_heavy;

/* ---- addresses */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t loopback(union address *to, int family, int port)
{
	memset(to, 0, sizeof(*to));
	to->any.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		to->v4.sin_addr.s_addr = htonl(APP_IP);
		to->v4.sin_port = htons((uint16_t)port);
		return sizeof(to->v4);
	}
	to->v6.sin6_addr = in6addr_loopback;
	to->v6.sin6_port = htons((uint16_t)port);
	return sizeof(to->v6);
}

static int new_socket(int family)
{
	int sock = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		die("socket");
	return sock;
}

static int port_of(int sock)
{
	union address at;
	socklen_t len = sizeof(at);

	if (getsockname(sock, &at.any, &len) < 0)
		die("getsockname");
	return ntohs(at.any.sa_family == AF_INET ? at.v4.sin_port : at.v6.sin6_port);
}

static int listen_on(int family, int port)
{
	union address at;
	socklen_t len = loopback(&at, family, port);
	int sock = new_socket(family);

	set(sock, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(sock, &at.any, len) < 0)
		die("bind");
	if (listen(sock, 8) == 0)
		return sock;
	/* With SO_REUSEADDR the kernel may choose a port which a listener has. */
	if (port != 0 || errno != EADDRINUSE)
		die("listen");
	close(sock);
	return listen_on(family, port);
}

static void connect_to(int sock, int family, int port)
{
	union address at;
	socklen_t len = loopback(&at, family, port);

	if (connect(sock, &at.any, len) < 0)
		die("connect");
}

/* ---- the connections; each returns the application's end */

static int connection(struct flow *flow, int family, bool app_connects)
{
	int listener = listen_on(family, 0);
	int first = new_socket(family), second;

	if (!app_connects)
		set(first, SOL_SOCKET, SO_RCVBUF, SMALL);
	else
		set(listener, SOL_SOCKET, SO_RCVBUF, SMALL);
	connect_to(first, family, port_of(listener));
	second = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (second < 0)
		die("accept");
	close(listener);
	flow->family = family;
	flow->peer = app_connects ? second : first;
	flow->port = port_of(app_connects ? first : second);
	return app_connects ? first : second;
}

static void put(int sock, uint64_t seed, uint64_t *at, size_t len)
{
	uint8_t data[4096];

	stream_fill(data, len, seed, *at);
	if (send(sock, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send");
	*at += len;
}

static void fill(int sock, uint64_t seed, uint64_t *at)
{
	uint8_t data[1000];
	ssize_t n;

	do {
		stream_fill(data, sizeof(data), seed, *at);
		n = send(sock, data, sizeof(data), MSG_NOSIGNAL | MSG_DONTWAIT);
		*at += n > 0 ? (uint64_t)n : 0;
	} while (n > 0);
}

static void settle(int sock, size_t len)
{
	uint8_t data[8192];

	while (recv(sock, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT) < (ssize_t)len)
		usleep(200);
}

static int make_flow(struct scene *scene, enum flow_kind kind)
{
	struct flow *flow = &scene->flows[kind];
	uint64_t seed = scene->seed + kind;
	int app = kind == FLOW_LISTENER ? listen_on(AF_INET, 0)
					: connection(flow, kind == FLOW_SHARED ? AF_INET6 : AF_INET,
						  kind % 2 == 0);

	switch (kind) {
	case FLOW_IDLE:
		set(app, IPPROTO_TCP, TCP_USER_TIMEOUT, 12345);
		set(app, IPPROTO_TCP, TCP_NODELAY, 1);
		set(app, IPPROTO_IP, IP_TOS, 8);
		set(app, SOL_SOCKET, SO_REUSEADDR, 1);
		break;
	case FLOW_DATA:
		set(app, SOL_SOCKET, SO_SNDBUF, 20000);
		put(flow->peer, seed, &flow->to_app, 3000);
		fill(app, ~seed, &flow->from_app);
		break;
	case FLOW_URGENT:
		set(app, SOL_SOCKET, SO_PEEK_OFF, 3);
		put(flow->peer, seed, &flow->to_app, 100);
		if (send(flow->peer, "!", 1, MSG_OOB | MSG_NOSIGNAL) != 1)
			die("urgent");
		put(flow->peer, seed, &flow->to_app, 50);
		break;
	case FLOW_SHARED:
		set(app, SOL_SOCKET, SO_OOBINLINE, 1);
		put(flow->peer, seed, &flow->to_app, 700);
		break;
	case FLOW_FIN_WAIT:
		put(app, ~seed, &flow->from_app, 300);
		put(flow->peer, seed, &flow->to_app, 200);
		shutdown(app, SHUT_WR);
		break;
	case FLOW_CLOSE_WAIT:
		put(flow->peer, seed, &flow->to_app, 200);
		shutdown(flow->peer, SHUT_WR);
		break;
	case FLOW_LISTENER:
		set(app, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0);
		set(app, SOL_SOCKET, SO_SNDBUF, 30000);
		flow->family = AF_INET;
		flow->port = port_of(app);
		flow->peer = new_socket(AF_INET);
		connect_to(flow->peer, AF_INET, flow->port);
		break;
	default: /* FLOW_RESET */
		put(flow->peer, seed, &flow->to_app, 100);
		settle(app, 100);
		setsockopt(flow->peer, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
			sizeof(struct linger));
		close(flow->peer);
		flow->peer = -1;
	}
	return app;
}

/* All is received and acknowledged. */
static void await_queues(const struct scene *scene, const int *socks)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	settle(socks[FLOW_DATA], 3000);
	settle(socks[FLOW_SHARED], 700);
	settle(socks[FLOW_FIN_WAIT], 200);
	settle(socks[FLOW_CLOSE_WAIT], 200);
	settle(scene->flows[FLOW_FIN_WAIT].peer, 300);
	for (int i = 0; i < FLOWS; i++) {
		set(socks[i], IPPROTO_TCP, TCP_QUICKACK, 1);
		if (scene->flows[i].peer >= 0)
			set(scene->flows[i].peer, IPPROTO_TCP, TCP_QUICKACK, 1);
	}
	while (info.tcpi_state != TCP_FIN_WAIT2) {
		usleep(200);
		getsockopt(scene->flows[FLOW_CLOSE_WAIT].peer, IPPROTO_TCP, TCP_INFO, &info, &len);
	}
}

/* ---- what CRIU leaves */

static int make_closed(const struct flow *flow, enum flow_kind kind)
{
	int sock;

	if (kind == FLOW_LISTENER)
		return listen_on(AF_INET, flow->port);
	sock = new_socket(flow->family);
	shutdown(sock, SHUT_RDWR);
	return sock;
}

/* ---- the tasks */

/* Who holds what, and as which descriptor. */
static const struct {
	enum flow_kind kind;
	int task, fd;
} holders[] = {
	{FLOW_IDLE, 0, APP_FD + FLOW_IDLE},
	{FLOW_DATA, 0, APP_FD + FLOW_DATA},
	{FLOW_URGENT, 1, APP_FD + FLOW_URGENT},
	{FLOW_SHARED, 0, APP_FD + FLOW_SHARED},
	{FLOW_SHARED, 1, SECOND_FD + FLOW_SHARED},
	{FLOW_FIN_WAIT, 0, APP_FD + FLOW_FIN_WAIT},
	{FLOW_CLOSE_WAIT, 1, APP_FD + FLOW_CLOSE_WAIT},
	{FLOW_LISTENER, 2, APP_FD + FLOW_LISTENER},
	{FLOW_RESET, 1, APP_FD + FLOW_RESET},
};
#define N_HOLDERS (sizeof(holders) / sizeof(holders[0]))

/* A descriptor on its way, which holdfast looks into: an unconnected TCP socket. */
static void send_descriptor(void)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec iov = {"x", 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int pair[2], sock = new_socket(AF_INET);

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		_exit(2);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(sock));
	memcpy(CMSG_DATA(cmsg), &sock, sizeof(sock));
	if (sendmsg(pair[0], &msg, 0) != 1)
		_exit(2);
	close(sock);
}

/* The same few pages, often: what takes time is to take them away. */
static void be_heavy(void)
{
	int memory = memfd_create("heavy", 0);

	if (memory < 0 || ftruncate(memory, HEAVY_BYTES) < 0)
		_exit(2);
	for (int i = 0; i < HEAVY_TIMES; i++)
		if (mmap(NULL, HEAVY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			    memory, 0) == MAP_FAILED)
			_exit(2);
	close(memory);
}

/* Only system calls from here on: the first task was not made by fork(). */
static void be_task(int task, const int *socks, int ready)
{
	int top = SECOND_FD + FLOWS;

	dup2(ready, top);
	for (size_t i = 0; i < N_HOLDERS; i++)
		if (holders[i].task == task && dup2(socks[holders[i].kind], holders[i].fd) < 0)
			_exit(2);
	for (int fd = 0; fd < top; fd++) {
		bool kept = false;

		for (size_t i = 0; i < N_HOLDERS; i++)
			kept = kept || (holders[i].task == task && holders[i].fd == fd);
		if (!kept)
			close(fd);
	}
	close_range((unsigned int)top + 1, ~0u, 0);
	if (task == 0)
		send_descriptor();
	if (scene_is_heavy)
		be_heavy();
	if (write(top, &(char){READY}, 1) != 1)
		_exit(2);
	close(top);
	for (;;)
		pause();
}

static pid_t child_of(pid_t pid, int which)
{
	char path[64];
	int found[N_TASKS] = {0};
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%d %d", &found[0], &found[1]) != 2)
		die("children");
	fclose(file);
	return found[which];
}

/* In a pid namespace of their own, so that they have the same pids the next time. */
static void start_tasks(struct scene *scene, const int *socks)
{
	int pair[2];
	pid_t root;
	char byte;

	if (pipe2(pair, O_CLOEXEC) < 0)
		die("pipe");
	root = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (root < 0)
		die("clone");
	if (root == 0) {
		for (int task = 1; task < N_TASKS; task++)
			if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
				be_task(task, socks, pair[1]);
		be_task(0, socks, pair[1]);
	}
	close(pair[1]);
	for (int i = 0; i < N_TASKS; i++)
		if (read(pair[0], &byte, 1) != 1)
			die("tasks");
	close(pair[0]);
	scene->tasks[0] = root;
	for (int i = 1; i < N_TASKS; i++)
		scene->tasks[i] = child_of(root, i - 1);
	for (int i = 0; i < FLOWS; i++)
		close(socks[i]);
}

void scene_make(struct scene *scene)
{
	static uint64_t seed = 1;
	int socks[FLOWS];

	memset(scene, 0, sizeof(*scene));
	scene->seed = seed++ * 1000;
	for (int i = 0; i < FLOWS; i++)
		socks[i] = make_flow(scene, (enum flow_kind)i);
	await_queues(scene, socks);
	start_tasks(scene, socks);
	scene_is_heavy = false;
}

void scene_send_held(struct scene *scene)
{
	struct flow *flow = &scene->flows[FLOW_IDLE];

	/* Fails on kernels before 6.11, which only take longer. */
	setsockopt(flow->peer, IPPROTO_TCP, TCP_RTO_MIN_US, &(int){5000}, sizeof(int));
	put(flow->peer, scene->seed + FLOW_IDLE, &flow->to_app, HELD);
}

void scene_make_closed(struct scene *scene)
{
	int socks[FLOWS];

	for (int i = 0; i < FLOWS; i++)
		socks[i] = make_closed(&scene->flows[i], (enum flow_kind)i);
	start_tasks(scene, socks);
}

bool scene_is_dead(struct scene *scene)
{
	for (int i = 0; scene->tasks[0] && i < 2000; i++) {
		/* The first one takes the others with it: it is their init. */
		if (waitpid(scene->tasks[0], NULL, WNOHANG) == scene->tasks[0])
			memset(scene->tasks, 0, sizeof(scene->tasks));
		else if (kill(scene->tasks[0], 0) == 0)
			usleep(100);
	}
	return scene->tasks[0] == 0;
}

bool scene_kill(struct scene *scene)
{
	if (scene->tasks[0])
		kill(scene->tasks[0], SIGKILL);
	return scene_is_dead(scene);
}

void scene_clear(struct scene *scene)
{
	for (int i = 0; i < FLOWS; i++) {
		int peer = scene->flows[i].peer;

		if (peer < 0)
			continue;
		setsockopt(
			peer, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
		close(peer);
		scene->flows[i].peer = -1;
	}
	scene_kill(scene);
}

int scene_socket(const struct scene *scene, enum flow_kind kind)
{
	int task = 0, pidfd, sock;

	for (size_t i = 0; i < N_HOLDERS; i++)
		if (holders[i].kind == kind && holders[i].fd < SECOND_FD)
			task = holders[i].task;
	pidfd = (int)syscall(SYS_pidfd_open, scene->tasks[task], 0);
	sock = (int)syscall(SYS_pidfd_getfd, pidfd, APP_FD + kind, 0);
	if (pidfd >= 0)
		close(pidfd);
	return sock;
}
