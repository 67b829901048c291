// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hf-server: the server that the tests checkpoint. It listens, and serves each connection as the
 * header of its peer says (wire.h). It is made to be dumped easily: static, no file open but its
 * sockets, fit to be pid 1.
 */
#include "common.h"
#include "server-conn.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LISTENERS 32
#define MAX_PROCESSES 256
#define MAX_EVENTS    256

struct options {
	const char *listen[MAX_LISTENERS];
	int listens;
	int processes;
	enum share share;
	bool mptcp;
	uint64_t sndbuf, rcvbuf;
	const char *pidfile, *ready_file;
};

/* Listeners are told from connections by their place in this array (epoll's data.ptr). */
static int listeners[MAX_LISTENERS];
static volatile sig_atomic_t stopped;

static void on_stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void fail(const char *what, const char *which)
{
	fprintf(stderr, "hf-server: %s %s: %s\n", what, which, strerror(errno));
	exit(2);
}

static void usage(void)
{
	fputs("usage: hf-server --listen ADDR:PORT [--listen ...] [options]\n"
	      "  --listen ADDR:PORT   numeric; [::]:PORT takes IPv4 as well (v4-mapped)\n"
	      "  --processes N        N processes accept from the same listeners\n"
	      "  --share dup|fork     each connection is held twice: by a second descriptor, or "
	      "by\n"
	      "                       a child too\n"
	      "  --mptcp              listen for MPTCP\n"
	      "  --sndbuf, --rcvbuf N socket buffers, with k or M\n"
	      "  --pidfile FILE       write the process id\n"
	      "  --ready-file FILE    make this file once all listeners are there\n",
		stderr);
	exit(2);
}

static void parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"listen", required_argument, NULL, 'l'},
		{"processes", required_argument, NULL, 'p'},
		{"share", required_argument, NULL, 's'},
		{"mptcp", no_argument, NULL, 'm'},
		{"sndbuf", required_argument, NULL, 'S'},
		{"rcvbuf", required_argument, NULL, 'R'},
		{"pidfile", required_argument, NULL, 'P'},
		{"ready-file", required_argument, NULL, 'r'},
		{0},
	};
	int opt;

	o->processes = 1;
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		bool ok = true;

		if (opt == 'l' && o->listens < MAX_LISTENERS)
			o->listen[o->listens++] = optarg;
		else if (opt == 'p')
			o->processes = atoi(optarg);
		else if (opt == 's' && !strcmp(optarg, "dup"))
			o->share = SHARE_DUP;
		else if (opt == 's' && !strcmp(optarg, "fork"))
			o->share = SHARE_FORK;
		else if (opt == 'm')
			o->mptcp = true;
		else if (opt == 'S' || opt == 'R')
			ok = parse_size(optarg, opt == 'S' ? &o->sndbuf : &o->rcvbuf);
		else if (opt == 'P')
			o->pidfile = optarg;
		else if (opt == 'r')
			o->ready_file = optarg;
		else
			ok = false;
		if (!ok)
			usage();
	}
	if (optind < argc || !o->listens || o->processes < 1 || o->processes > MAX_PROCESSES)
		usage();
}

static int make_listener(const struct options *o, const char *where)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int one = 1, off = 0, fd;

	if (!parse_address(where, &addr, &len)) {
		errno = EINVAL;
		fail("address", where);
	}
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		o->mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);
	if (fd < 0)
		fail("socket", where);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (addr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	/* Accepted sockets inherit these; for the window scale they must be set before listen. */
	set_buffers(fd, o->sndbuf, o->rcvbuf);
	if (bind(fd, (struct sockaddr *)&addr, len))
		fail("bind", where);
	if (listen(fd, 4096))
		fail("listen", where);
	return fd;
}

static void write_file(const char *path, int number)
{
	FILE *f = fopen(path, "we");

	if (!f || fprintf(f, "%d\n", number) < 0 || fclose(f))
		fail("write", path);
}

static void accept_all(struct server *server, int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			conn_accepted(server, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN) {
			fprintf(stderr, "hf-server: accept: %s\n", strerror(errno));
			server->errors++;
			/* Do not spin when descriptors have run out. */
			usleep(10000);
		}
		return;
	}
}

static void setup_epoll(struct server *server, int count)
{
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (server->epoll < 0)
		fail("epoll", "create");
	for (int i = 0; i < count; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners[i]};

		if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, listeners[i], &event))
			fail("epoll", "listener");
	}
}

static int serve(struct server *server, int count, const sigset_t *unblocked)
{
	struct epoll_event events[MAX_EVENTS];
	uint64_t next_tick = 0;

	setup_epoll(server, count);
	while (!stopped) {
		int n = epoll_pwait(server->epoll, events, MAX_EVENTS,
			server->waiting ? TICK_MS : HEARTBEAT_MS, unblocked);

		conn_turn(server);
		for (int i = 0; i < n; i++) {
			int *listener = events[i].data.ptr;

			if (listener >= listeners && listener < listeners + count)
				accept_all(server, *listener);
			else
				conn_event(server, events[i].data.ptr, events[i].events);
		}
		if (server->waiting && now_ns() >= next_tick) {
			conn_tick(server);
			next_tick = now_ns() + TICK_MS * MS_NS;
		}
	}
	fprintf(stderr, "hf-server: %lu connections, %lu errors\n", server->connections,
		server->errors);
	return server->errors ? 1 : 0;
}

static void setup_signals(sigset_t *unblocked)
{
	struct sigaction stop = {.sa_handler = on_stop};
	sigset_t blocked;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	/* The kernel reaps for us: holders, and orphans when we are pid 1. */
	signal(SIGCHLD, SIG_IGN);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, unblocked);
	sigdelset(unblocked, SIGTERM);
	sigdelset(unblocked, SIGINT);
}

int main(int argc, char **argv)
{
	static struct server server;
	struct options o = {0};
	pid_t children[MAX_PROCESSES];
	sigset_t unblocked;
	int forked, rc;

	parse_options(argc, argv, &o);
	server.share = o.share;
	closefrom(3);
	raise_nofile();
	setup_signals(&unblocked);
	for (int i = 0; i < o.listens; i++)
		listeners[i] = make_listener(&o, o.listen[i]);
	if (o.pidfile)
		write_file(o.pidfile, getpid());
	for (forked = 0; forked < o.processes - 1; forked++) {
		children[forked] = fork();
		if (children[forked] < 0)
			fail("fork", "worker");
		if (!children[forked])
			return serve(&server, o.listens, &unblocked);
	}
	if (o.ready_file)
		write_file(o.ready_file, getpid());
	rc = serve(&server, o.listens, &unblocked);
	for (int i = 0; i < forked; i++)
		kill(children[i], SIGTERM);
	for (int i = 0; i < forked; i++)
		waitpid(children[i], NULL, 0);
	return rc;
}
