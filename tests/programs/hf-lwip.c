// SPDX-License-Identifier: GPL-2.0-or-later
/* hf-lwip: lets hf-peer's connections go by lwIP. See lwip.h. */
#include "lwip.h"

#include "common.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TARGETS 8
#define MAX_FLOWS   256
#define BUFFER      UINT64_C(16384)

/* Who connects to the port of ours is connected to the address. */
struct target {
	struct sockaddr_storage addr;
	int listener;
	unsigned int port;
};

static struct target targets[MAX_TARGETS];
static struct flow flows[MAX_FLOWS];
static size_t n_targets, n_flows;

static void usage(void)
{
	fputs("usage: hf-lwip --tap NAME --v4 ADDR --v6 ADDR --to ADDR:PORT ...\n"
	      "  --tap NAME       the TAP device\n"
	      "  --v4, --v6 ADDR  lwIP's own addresses, in networks of 24 and 64 bits\n"
	      "  --to ADDR:PORT   have a port on 127.0.0.1 (see \"ready\") that leads there\n"
	      "commands on stdin: stats, mark\n",
		stderr);
	exit(2);
}

/*
 * Small, so that each end soon notices when the other does not read; and with segments that fit
 * into such buffers, which those of the loopback device do not.
 */
static void set_small(int fd)
{
	int segment = 1024;

	set_buffers(fd, BUFFER, BUFFER);
	setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
}

static bool add_target(const char *to)
{
	struct target *t = &targets[n_targets++];
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr), to_len;

	if (n_targets > MAX_TARGETS || !parse_address(to, &t->addr, &to_len))
		return false;
	t->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	set_small(t->listener); /* what it accepts is the same */
	if (t->listener < 0 || bind(t->listener, (struct sockaddr *)&addr, len) ||
		listen(t->listener, SOMAXCONN) ||
		getsockname(t->listener, (struct sockaddr *)&addr, &len))
		return false;
	t->port = ntohs(addr.sin_port);
	return true;
}

static void accept_all(const struct target *t)
{
	int fd;

	while (n_flows < MAX_FLOWS &&
		(fd = accept4(t->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		flow_start(&flows[n_flows++], fd, &t->addr);
}

static void print_ready(void)
{
	printf("{\"event\":\"ready\",\"ports\":[");
	for (size_t i = 0; i < n_targets; i++)
		printf("%s%u", i ? "," : "", targets[i].port);
	printf("]}\n");
	fflush(stdout);
}

static void command(const char *line)
{
	bool stats = !strcmp(line, "stats\n"), mark = !strcmp(line, "mark\n");

	printf("{\"event\":\"%s\",\"flows\":[", stats ? "stats" : mark ? "mark" : "error");
	for (size_t i = 0; i < n_flows; i++) {
		if (mark)
			flow_mark(&flows[i]);
		printf("%s", i ? "," : "");
		flow_print(&flows[i]);
	}
	printf("]}\n");
	fflush(stdout);
}

/* One command at a time is on its way. False: whoever commands us is gone. */
static bool read_command(void)
{
	char line[32];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (n <= 0)
		return false;
	line[n] = 0;
	command(line);
	return true;
}

static void loop(int tap)
{
	struct pollfd fds[2 + MAX_TARGETS + MAX_FLOWS];
	bool more = true;

	while (more) {
		struct pollfd *listeners = fds + 2, *ends = listeners + n_targets;
		size_t n = n_flows;

		fds[0] = (struct pollfd){.fd = tap, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
		for (size_t i = 0; i < n_targets; i++)
			listeners[i] = (struct pollfd){.fd = targets[i].listener, .events = POLLIN};
		for (size_t i = 0; i < n; i++)
			ends[i] = (struct pollfd){
				.fd = flows[i].fd, .events = flow_events(&flows[i])};
		if (poll(fds, (nfds_t)(2 + n_targets + n), TICK_MS) < 0)
			continue;
		tap_run();
		for (size_t i = 0; i < n; i++)
			flow_run(&flows[i], ends[i].revents & ~POLLOUT);
		for (size_t i = 0; i < n_targets; i++)
			if (listeners[i].revents)
				accept_all(&targets[i]);
		if (fds[1].revents)
			more = read_command();
	}
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"tap", required_argument, NULL, 't'},
		{"v4", required_argument, NULL, '4'},
		{"v6", required_argument, NULL, '6'},
		{"to", required_argument, NULL, 'o'},
		{0},
	};
	const char *device = NULL, *v4 = NULL, *v6 = NULL;
	int opt, tap;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 't')
			device = optarg;
		else if (opt == '4')
			v4 = optarg;
		else if (opt == '6')
			v6 = optarg;
		else if (opt != 'o' || !add_target(optarg))
			usage();
	}
	if (optind < argc || !device || !v4 || !v6 || !n_targets)
		usage();
	srand((unsigned int)wall_ns()); /* lwIP's ports and sequence numbers */
	tap = tap_open(device, v4, v6);
	if (tap < 0) {
		fprintf(stderr, "hf-lwip: %s: %s\n", device, strerror(errno));
		return 2;
	}
	print_ready();
	loop(tap);
	return 0;
}
