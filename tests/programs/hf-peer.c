// SPDX-License-Identifier: GPL-2.0-or-later
/* hf-peer: many connections to hf-server, each checked byte by byte. See peer.h. */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MAX_EVENTS 256

static void usage(void)
{
	fputs("usage: hf-peer --connect [LABEL=]ADDR:PORT ... --conn SPEC ... [options]\n"
	      "  SPEC: ROLE[,param=value...][*COUNT]; ROLE: idle echo source sink duplex wake "
	      "hold\n"
	      "    to=LABEL          this target (default: all in turn)\n"
	      "    rate=N            what senders send at most, bytes/s (0: no limit;\n"
	      "                      default 256k for source, sink and duplex)\n"
	      "    chunk=N           they send so many bytes at a time, at least\n"
	      "    reading=N         what receivers read at most, bytes/s (0: no limit)\n"
	      "    full              no limit for senders, slow readers: all queues fill\n"
	      "    size=N, gap=MS    echo: bytes of a request (512), time between two (20)\n"
	      "    in=N, out=N       hold: bytes which the server, and we, leave unread\n"
	      "    hold_ms=N         hold: the server reads after this time in any case (must be\n"
	      "                      given if IN exceeds its receive buffer: the FIN stays out)\n"
	      "    out=N             wake: bytes which the server sends when it finds that it was "
	      "stopped\n"
	      "    nagle=1           both ends leave TCP_NODELAY off\n"
	      "    sndbuf=N rcvbuf=N our socket buffers\n"
	      "    flip_up=P flip_down=P  send the byte at position P wrong\n"
	      "  --patience SECONDS  for progress and for the end (30)\n"
	      "  --seed N, --mptcp\n"
	      "commands on stdin: stats, mark, ask, progress, finish\n",
		stderr);
	exit(2);
}

static void parse_options(int argc, char **argv, struct peer *p, uint64_t *seed)
{
	static const struct option longs[] = {
		{"connect", required_argument, NULL, 'c'},
		{"conn", required_argument, NULL, 'n'},
		{"patience", required_argument, NULL, 'p'},
		{"seed", required_argument, NULL, 's'},
		{"mptcp", no_argument, NULL, 'm'},
		{0},
	};
	int opt;

	p->patience = 30000;
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		bool ok = true;

		if (opt == 'c' && p->n_targets < MAX_TARGETS)
			ok = parse_target(optarg, &p->targets[p->n_targets++]);
		else if (opt == 'n' && p->n_specs < MAX_SPECS)
			ok = parse_spec(optarg, p->targets, p->n_targets, &p->specs[p->n_specs++]);
		else if (opt == 'p')
			p->patience = (uint64_t)(atof(optarg) * 1000);
		else if (opt == 's')
			*seed = strtoull(optarg, NULL, 0);
		else if (opt == 'm')
			p->mptcp = true;
		else
			usage();
		if (!ok)
			exit(2);
	}
	if (optind < argc || !p->n_targets || !p->n_specs)
		usage();
}

static bool make_conns(struct peer *p, uint64_t seed)
{
	unsigned int id = 0;

	for (int s = 0; s < p->n_specs; s++)
		p->n_conns += p->specs[s].count;
	p->conns = calloc(p->n_conns, sizeof(*p->conns));
	if (!p->conns)
		return false;
	for (int s = 0; s < p->n_specs; s++) {
		for (unsigned int i = 0; i < p->specs[s].count; i++, id++) {
			struct pconn *c = &p->conns[id];
			int target = p->specs[s].target;

			if (target < 0)
				target = (int)(i % (unsigned int)p->n_targets);
			c->peer = p;
			c->id = id;
			c->spec = &p->specs[s];
			c->target = &p->targets[target];
			c->seed = seed + id * UINT64_C(0x2545f4914f6cdd1d);
			pconn_start(c);
		}
	}
	return true;
}

static void loop(struct peer *p)
{
	struct epoll_event events[MAX_EVENTS];
	uint64_t next_tick = 0;

	while (!p->done) {
		int n = epoll_wait(p->epoll, events, MAX_EVENTS, TICK_MS);
		uint64_t now;

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				pconn_event(events[i].data.ptr, events[i].events);
			else
				commands_read(p);
		}
		now = now_ns();
		if (now >= next_tick) {
			for (unsigned int i = 0; i < p->n_conns; i++)
				pconn_tick(&p->conns[i], now);
			next_tick = now + TICK_MS * MS_NS;
		}
		commands_tick(p, now);
	}
}

int main(int argc, char **argv)
{
	static struct peer p;
	struct epoll_event commands = {.events = EPOLLIN};
	uint64_t seed = now_ns() * (uint64_t)getpid();

	parse_options(argc, argv, &p, &seed);
	raise_nofile();
	signal(SIGPIPE, SIG_IGN);
	p.started = now_ns();
	p.epoll = epoll_create1(EPOLL_CLOEXEC);
	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	if (p.epoll < 0 || epoll_ctl(p.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &commands)) {
		fprintf(stderr, "hf-peer: epoll: %s (stdin must be a pipe)\n", strerror(errno));
		return 2;
	}
	if (!make_conns(&p, seed)) {
		fputs("hf-peer: out of memory\n", stderr);
		return 2;
	}
	loop(&p);
	return commands_report(&p);
}
