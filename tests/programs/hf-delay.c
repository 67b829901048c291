// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hf-delay: a slow cable between two network namespaces. It makes a TUN device in either of them
 * and holds every packet that it takes from one for a given time before the other gets it, in the
 * same order. The devices are there from "ready" on, until our stdin ends.
 *
 * The kernel's large packets pass whole, as they do through a veth: a device without offloads would
 * cost a system call for each segment.
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#define MAX_PACKET (sizeof(struct virtio_net_hdr) + 65536 + 64)
#define MAX_HELD   (UINT64_C(256) << 20) /* bytes that one direction holds */
#define QUANTUM    64                    /* packets before the other direction gets a turn */

struct packet {
	struct packet *next;
	uint64_t due;
	size_t len;
	char data[];
};

/* One direction. */
struct way {
	int from, to, timer;
	struct packet *first, *last;
	uint64_t held, packets, dropped, latest;
};

static uint64_t delay_ns;
static char scratch[MAX_PACKET];

static void fail(const char *what, const char *which)
{
	fprintf(stderr, "hf-delay: %s %s: %s\n", what, which, strerror(errno));
	exit(2);
}

/* A device belongs to the namespace in which the file was opened. */
static int make_device(const char *netns, const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
	int ns = open(netns, O_RDONLY | O_CLOEXEC), fd;

	if (ns < 0 || setns(ns, CLONE_NEWNET))
		fail("network namespace", netns);
	close(ns);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fail("open", "/dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request))
		fail("device", name);
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6))
		fail("offloads of", name);
	return fd;
}

static void arm(const struct way *way)
{
	struct itimerspec when = {0};

	when.it_value.tv_sec = (time_t)(way->first->due / SEC_NS);
	when.it_value.tv_nsec = (long)(way->first->due % SEC_NS);
	timerfd_settime(way->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void hold(struct way *way, size_t len, uint64_t now)
{
	struct packet *packet = NULL;

	if (way->held + len <= MAX_HELD)
		packet = malloc(sizeof(*packet) + len);
	if (!packet) {
		way->dropped++;
		return;
	}
	packet->next = NULL;
	packet->due = now + delay_ns;
	packet->len = len;
	memcpy(packet->data, scratch, len);
	way->held += len;
	if (way->first) {
		way->last->next = packet;
		way->last = packet;
	} else {
		way->first = way->last = packet;
		arm(way);
	}
}

static void take(struct way *way)
{
	for (int i = 0; i < QUANTUM; i++) {
		ssize_t n = read(way->from, scratch, sizeof(scratch));

		if (n <= 0)
			return;
		hold(way, (size_t)n, now_ns());
	}
}

static void give(struct way *way)
{
	uint64_t expired, now = now_ns();
	struct packet *packet;

	if (read(way->timer, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
		fail("read", "timer");
	while ((packet = way->first) && packet->due <= now) {
		if (now - packet->due > way->latest)
			way->latest = now - packet->due;
		/* A device that is down is none of ours. */
		if (write(way->to, packet->data, packet->len) < 0 && errno != EIO)
			way->dropped++;
		way->packets++;
		way->held -= packet->len;
		way->first = packet->next;
		free(packet);
		now = now_ns();
	}
	if (way->first)
		arm(way);
}

static void add(int epoll, int fd, uint64_t key)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = key};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		fail("epoll", "add");
}

/* Keys: 0 stdin, then the device and the timer of each way. */
static void loop(struct way *ways)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0)
		fail("epoll", "create");
	add(epoll, STDIN_FILENO, 0);
	for (uint64_t i = 0; i < 2; i++) {
		add(epoll, ways[i].from, 1 + i);
		add(epoll, ways[i].timer, 3 + i);
	}
	for (;;) {
		struct epoll_event events[5];
		int n = epoll_wait(epoll, events, 5, -1);

		for (int i = 0; i < n; i++) {
			uint64_t key = events[i].data.u64;

			if (key == 0)
				return;
			if (key < 3)
				take(&ways[key - 1]);
			else
				give(&ways[key - 3]);
		}
	}
}

int main(int argc, char **argv)
{
	static struct way ways[2];
	char *end = NULL;
	double ms = argc == 6 ? strtod(argv[1], &end) : -1;

	if (ms < 0 || ms > 10000 || *end) {
		fputs("usage: hf-delay MS NETNS DEVICE NETNS DEVICE\n"
		      "  MS: each way; NETNS: a file as in /run/netns. Ends when stdin does.\n",
			stderr);
		return 2;
	}
	delay_ns = (uint64_t)(ms * (double)MS_NS);
	/* Where others work, too, packets are not to wait for them. */
	setpriority(PRIO_PROCESS, 0, -10);
	ways[0].from = ways[1].to = make_device(argv[2], argv[3]);
	ways[1].from = ways[0].to = make_device(argv[4], argv[5]);
	for (int i = 0; i < 2; i++) {
		ways[i].timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (ways[i].timer < 0)
			fail("create", "timer");
	}
	puts("ready");
	fflush(stdout);
	loop(ways);
	printf("{\"packets\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"late_us\":%" PRIu64 "}\n",
		ways[0].packets + ways[1].packets, ways[0].dropped + ways[1].dropped,
		(ways[0].latest > ways[1].latest ? ways[0].latest : ways[1].latest) / 1000);
	return 0;
}
