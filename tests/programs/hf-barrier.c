// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whether a connection still changes when the lock is there and its barrier is over, in a network
 * namespace of our own.
 *
 *   hf-barrier none|slow|quick RUNS
 *
 * The barrier is left out, is hf_net_lock_barrier(), or the same after hf_grace_period_prepare().
 * Rules behind the lock's take some 10 ms for each segment with data. While one is in them, past
 * the lock's, the lock is taken. Says in how many of the runs that was so, and in how many of those
 * the connection changed afterwards; for "quick" also whether it was.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/clock.h"
#include "sys/grace_period.h"
#include "sys/net_lock.h"
#include "sys/netns.h"

#define PORT     5000
#define LEAF     100 /* rules */
#define JUMPS    100 /* to it */
#define TWIGS    20  /* times that many */
#define ENTER_US 300
#define LEAVE_US 40000

static struct hf_error err = HF_ERROR_INIT;
static int netns, client, server;
static cpu_set_t processor[2];
static _Atomic int state; /* of the segment */
enum { IDLE, ASKED, SENDING, DELIVERED, ENDED };

static void die(const char *what)
{
	printf("hf-barrier: %s: %s\n", what, err.code ? err.text : strerror(errno));
	exit(1);
}

static void choose_processors(void)
{
	cpu_set_t all;
	int n = 0;

	CPU_ZERO(&all);
	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		die("sched_getaffinity");
	for (size_t i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &processor[n++]);
	if (n < 2) {
		printf("hf-barrier: needs two processors\n");
		exit(1);
	}
}

/* The kernel delivers a segment over the loopback device before send() returns. */
static void *sender(void *context)
{
	if (sched_setaffinity(0, sizeof(processor[1]), &processor[1]) < 0)
		die("sched_setaffinity");
	while (state != ENDED) {
		if (state == ASKED) {
			state = SENDING;
			if (send(client, "0123456789", 10, 0) < 0)
				die("send");
			state = DELIVERED;
		}
		usleep(50);
	}
	return context;
}

static void make_slow_rules(void)
{
	FILE *nft = popen("nft -f -", "w");

	if (!nft)
		die("nft");
	fprintf(nft, "table ip slow {\nchain leaf {\n");
	for (int i = 0; i < LEAF; i++)
		fprintf(nft, "numgen random mod 2000000000 1999999999 counter\n");
	fprintf(nft, "}\nchain twig {\n");
	for (int i = 0; i < JUMPS; i++)
		fprintf(nft, "jump leaf\n");
	fprintf(nft,
		"}\nchain input {\ntype filter hook input priority 100\n"
		"tcp dport != %d accept\ntcp flags & psh == 0 accept\n",
		PORT);
	for (int i = 0; i < TWIGS; i++)
		fprintf(nft, "jump twig\n");
	fprintf(nft, "}\n}\n");
	if (pclose(nft) != 0)
		die("nft");
}

static void start_network(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int sock;

	if (unshare(CLONE_NEWNET) < 0)
		die("unshare");
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	netns = hf_netns_open(0, &err);
	if (netns < 0 || sock < 0 || ioctl(sock, SIOCSIFFLAGS, &request) < 0)
		die("network namespace");
	close(sock);
}

static void start_connection(struct hf_conn *conn)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT)}, peer;
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	socklen_t len = sizeof(peer);

	client = socket(AF_INET, SOCK_STREAM, 0);
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(listener, 1) < 0 ||
		connect(client, (struct sockaddr *)&here, sizeof(here)) < 0)
		die("connect");
	server = accept(listener, (struct sockaddr *)&peer, &len);
	if (server < 0 || setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		die("accept");
	close(listener);
	*conn = (struct hf_conn){.family = HF_FAMILY_IPV4,
		.state = HF_TCP_ESTABLISHED,
		.local = {.ip = {127, 0, 0, 1}, .port = PORT},
		.peer = {.ip = {127, 0, 0, 1}, .port = ntohs(peer.sin_port)}};
}

static unsigned long long received(void)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (getsockopt(server, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		die("TCP_INFO");
	return info.tcpi_bytes_received;
}

/* Returns whether it changed; -1: the segment was there before the lock. */
static int run(const struct hf_image *image, bool barrier)
{
	unsigned long long before;
	bool in_time;

	state = ASKED;
	while (state == ASKED)
		usleep(50);
	usleep(ENTER_US);
	if (hf_net_lock_image(netns, image, "hf-barrier", &err) < 0)
		die("lock");
	in_time = state == SENDING;
	if (barrier && hf_net_lock_barrier(&err) < 0)
		die("barrier");
	before = received();
	usleep(LEAVE_US);
	while (state == SENDING)
		usleep(50);
	if (!in_time)
		return -1;
	return received() != before;
}

int main(int argc, char **argv)
{
	struct hf_conn conn;
	const struct hf_image image = {.id = {0xba, 0x44}, .conns = &conn, .n_conns = 1};
	int runs = argc == 3 ? atoi(argv[2]) : 0, in_time = 0, changed = 0, quick = 0;
	pthread_t thread;

	if (!runs)
		return 2;
	choose_processors();
	start_network();
	start_connection(&conn);
	make_slow_rules();
	if (pthread_create(&thread, NULL, sender, NULL) != 0 ||
		sched_setaffinity(0, sizeof(processor[0]), &processor[0]) < 0)
		die("threads");
	for (int i = 0; i < runs; i++) {
		int ret;

		if (strcmp(argv[1], "quick") == 0)
			quick += hf_grace_period_prepare(&err);
		ret = run(&image, strcmp(argv[1], "none") != 0);
		in_time += ret >= 0;
		changed += ret > 0;
		if (hf_net_unlock(netns, image.id, &err) < 0)
			die("unlock");
	}
	state = ENDED;
	pthread_join(thread, NULL);
	hf_grace_period_release();
	printf("in time %d changed %d quick %d\n", in_time, changed, quick);
	return 0;
}
