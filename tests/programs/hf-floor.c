// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hf-floor: the system calls that nobody can do without who dumps and restores connections, done
 * for so many real ones on the loopback device and timed. A peer process has one end; a holder
 * process has the other, which is taken from it, read, closed silently, and built again on plain
 * sockets of a second holder, as CRIU leaves them. In the end every connection must carry a byte.
 */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sockios.h>
#include <linux/tcp.h>

#include "lib/sockopt.h"

#define MAX_CONNS 60000
#define BATCH     10000
#define FIRST_FD  10 /* of a holder's sockets */

/* Of RFC 9293, 7323 and 2018; linux/tcp.h has no names for them. */
enum { OPTION_MSS = 2, OPTION_SCALE = 3, OPTION_SACK = 4, OPTION_TIMESTAMP = 8 };

struct saved {
	struct sockaddr_in local, peer;
	uint32_t seq[2]; /* receive, send */
	int mss, timestamp;
	uint8_t send_scale, recv_scale;
	struct tcp_repair_window window;
};

static struct saved saved[MAX_CONNS];
static int socks[MAX_CONNS];
static int n_conns;

static void fail(const char *what)
{
	fprintf(stderr, "hf-floor: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* For calls that must work; their answers are checked by what becomes of the connections. */
static int must(int ret, const char *what)
{
	if (ret < 0)
		fail(what);
	return ret;
}

static void set(int fd, int option, int value)
{
	must(setsockopt(fd, IPPROTO_TCP, option, &value, sizeof(value)), "setsockopt");
}

static void get(int fd, int option, void *value, socklen_t len)
{
	must(getsockopt(fd, IPPROTO_TCP, option, value, &len), "getsockopt");
}

/* ---- the processes beside us; each says one byte when it is ready, and ends with us */

static pid_t begin(int say[2], int hear[2])
{
	pid_t pid;

	must(pipe(say), "pipe");
	must(pipe(hear), "pipe");
	pid = must(fork(), "fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void await(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		fail("another process ended");
}

static void tell(int fd)
{
	if (write(fd, "x", 1) != 1)
		fail("write");
}

static int held(int fd, int number)
{
	must(dup2(fd, FIRST_FD + number), "dup2");
	close(fd);
	return FIRST_FD + number;
}

static _Noreturn void hold(int ready)
{
	tell(ready);
	for (;;)
		pause();
}

static _Noreturn void accept_all(int listener, int ready)
{
	/* Out of the way of the numbers that the others get. */
	listener = must(dup2(listener, 3), "dup2");
	ready = must(dup2(ready, 4), "dup2");
	closefrom(5);
	for (int i = 0; i < n_conns; i++)
		held(must(accept(listener, NULL, NULL), "accept"), i);
	close(listener);
	hold(ready);
}

static _Noreturn void make_plain(int ready)
{
	ready = must(dup2(ready, 4), "dup2");
	closefrom(5);
	for (int i = 0; i < n_conns; i++) {
		int fd = held(must(socket(AF_INET, SOCK_STREAM, 0), "socket"), i);

		/* CRIU's tcp-close; it fails, and has its effect. */
		shutdown(fd, SHUT_RDWR);
	}
	hold(ready);
}

/* The kernel's search for a free port gets slow where many are in use at one address. */
static void bind_source(int fd, int number)
{
	struct sockaddr_in source = {.sin_family = AF_INET};
	int on = 1;

	source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (in_addr_t)number / BATCH);
	must(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)), "setsockopt");
	must(bind(fd, (struct sockaddr *)&source, sizeof(source)), "bind");
}

static _Noreturn void be_peer(const struct sockaddr_in *to, int ready, int go)
{
	for (int i = 0; i < n_conns; i++) {
		socks[i] = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
		bind_source(socks[i], i);
		must(connect(socks[i], (const struct sockaddr *)to, sizeof(*to)), "connect");
	}
	tell(ready);
	await(go);
	for (int i = 0; i < n_conns; i++) {
		char byte = (char)i;

		if (send(socks[i], &byte, 1, MSG_NOSIGNAL) != 1)
			fail("peer's send");
	}
	hold(ready);
}

/* ---- what is timed */

/*
 * Beside the floor: all options that holdfast carries, which whoever does with fewer need not read.
 * Those that this kernel does not know are asked for all the same, by the first socket only.
 */
static void read_options(int fd, struct hf_sockopt_set *unknown)
{
	uint8_t value[HF_OPTION_SIZE];

	for (unsigned int i = 0; i < hf_n_sockopts; i++) {
		const struct hf_sockopt *row = &hf_sockopts[i];
		socklen_t len = hf_sockopt_max_len(row);

		if (hf_sockopt_set_has(unknown, i) ||
			!hf_sockopt_applies(row, HF_SOCKOPT_ON_CONNECTION, HF_FAMILY_IPV4))
			continue;
		if (getsockopt(fd, row->level, row->number, value, &len) < 0)
			hf_sockopt_set_add(unknown, i);
	}
}

static void take(int pidfd)
{
	for (int i = 0; i < n_conns; i++)
		socks[i] =
			must((int)syscall(SYS_pidfd_getfd, pidfd, FIRST_FD + i, 0), "pidfd_getfd");
}

static void read_one(int fd, struct saved *s)
{
	struct tcp_info info;
	int bytes;

	set(fd, TCP_REPAIR, TCP_REPAIR_ON);
	get(fd, TCP_INFO, &info, sizeof(info));
	s->send_scale = info.tcpi_snd_wscale;
	s->recv_scale = info.tcpi_rcv_wscale;
	must(ioctl(fd, SIOCINQ, &bytes), "SIOCINQ");
	must(ioctl(fd, SIOCOUTQ, &bytes), "SIOCOUTQ");
	must(ioctl(fd, SIOCOUTQNSD, &bytes), "SIOCOUTQNSD");
	for (int queue = TCP_RECV_QUEUE; queue <= TCP_SEND_QUEUE; queue++) {
		set(fd, TCP_REPAIR_QUEUE, queue);
		get(fd, TCP_QUEUE_SEQ, &s->seq[queue - TCP_RECV_QUEUE], sizeof(s->seq[0]));
	}
	get(fd, TCP_MAXSEG, &s->mss, sizeof(s->mss));
	get(fd, TCP_TIMESTAMP, &s->timestamp, sizeof(s->timestamp));
	get(fd, TCP_REPAIR_WINDOW, &s->window, sizeof(s->window));
	set(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
}

static void build_one(int fd, const struct saved *s)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	const struct tcp_repair_opt options[] = {
		{OPTION_MSS, (uint32_t)s->mss},
		{OPTION_SCALE, (uint32_t)s->send_scale | (uint32_t)s->recv_scale << 16},
		{OPTION_SACK, 0},
		{OPTION_TIMESTAMP, 0},
	};

	must(connect(fd, &none, sizeof(none)), "disconnect");
	set(fd, TCP_REPAIR, TCP_REPAIR_ON);
	must(bind(fd, (const struct sockaddr *)&s->local, sizeof(s->local)), "bind");
	for (int queue = TCP_RECV_QUEUE; queue <= TCP_SEND_QUEUE; queue++) {
		set(fd, TCP_REPAIR_QUEUE, queue);
		set(fd, TCP_QUEUE_SEQ, (int)s->seq[queue - TCP_RECV_QUEUE]);
	}
	must(connect(fd, (const struct sockaddr *)&s->peer, sizeof(s->peer)), "connect");
	must(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, sizeof(options)),
		"TCP_REPAIR_OPTIONS");
	/* Bit 0 asks for another unit. */
	set(fd, TCP_TIMESTAMP, s->timestamp & ~1);
	must(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &s->window, sizeof(s->window)),
		"TCP_REPAIR_WINDOW");
}

static double since(uint64_t start)
{
	return (double)(now_ns() - start) / 1000 / n_conns;
}

/* One netlink dump gives the addresses of all of them; here they are not timed. */
static void note_addresses(void)
{
	for (int i = 0; i < n_conns; i++) {
		socklen_t len = sizeof(saved[i].local);

		must(getsockname(socks[i], (struct sockaddr *)&saved[i].local, &len),
			"getsockname");
		len = sizeof(saved[i].peer);
		must(getpeername(socks[i], (struct sockaddr *)&saved[i].peer, &len), "getpeername");
	}
}

/* A socket that is closed in repair mode says nothing. */
static void close_silently(pid_t holder)
{
	for (int i = 0; i < n_conns; i++)
		set(socks[i], TCP_REPAIR, TCP_REPAIR_ON);
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	for (int i = 0; i < n_conns; i++)
		close(socks[i]);
}

static void check_all(void)
{
	for (int i = 0; i < n_conns; i++) {
		char byte;

		if (recv(socks[i], &byte, 1, 0) != 1 || byte != (char)i)
			fail("a connection does not work after it was built again");
	}
}

static void run(int listener, const struct sockaddr_in *addr)
{
	int from_holder[2], from_peer[2], from_plain[2], to_peer[2], unused[2];
	double taken, dumped, options, taken_again, built;
	struct hf_sockopt_set unknown = {0};
	pid_t holder, peer, plain;
	uint64_t start;
	int pidfd;

	holder = begin(from_holder, unused);
	if (holder == 0)
		accept_all(listener, from_holder[1]);
	close(listener);
	peer = begin(from_peer, to_peer);
	if (peer == 0)
		be_peer(addr, from_peer[1], to_peer[0]);
	await(from_peer[0]);
	await(from_holder[0]);

	pidfd = must((int)syscall(SYS_pidfd_open, holder, 0), "pidfd_open");
	start = now_ns();
	take(pidfd);
	taken = since(start);
	start = now_ns();
	for (int i = 0; i < n_conns; i++)
		read_one(socks[i], &saved[i]);
	dumped = since(start);
	start = now_ns();
	for (int i = 0; i < n_conns; i++)
		read_options(socks[i], &unknown);
	options = since(start);
	note_addresses();
	close_silently(holder);

	plain = begin(from_plain, unused);
	if (plain == 0)
		make_plain(from_plain[1]);
	await(from_plain[0]);
	pidfd = must((int)syscall(SYS_pidfd_open, plain, 0), "pidfd_open");
	start = now_ns();
	take(pidfd);
	taken_again = since(start);
	start = now_ns();
	for (int i = 0; i < n_conns; i++)
		build_one(socks[i], &saved[i]);
	for (int i = 0; i < n_conns; i++)
		set(socks[i], TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	built = since(start);

	tell(to_peer[1]);
	check_all();
	printf("{\"connections\":%d,\"dump_us\":%.2f,\"options_us\":%.2f,\"restore_us\":%.2f,"
	       "\"of_that_getfd_us\":[%.2f,%.2f]}\n",
		n_conns, taken + dumped, options, taken_again + built, taken, taken_again);
	kill(peer, SIGKILL);
	kill(plain, SIGKILL);
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	int listener;

	n_conns = argc == 2 ? atoi(argv[1]) : 0;
	if (n_conns < 1 || n_conns > MAX_CONNS) {
		fputs("usage: hf-floor CONNECTIONS\n", stderr);
		return 2;
	}
	raise_nofile();
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), "bind");
	must(listen(listener, 4096), "listen");
	must(getsockname(listener, (struct sockaddr *)&addr, &len), "getsockname");
	run(listener, &addr);
	return 0;
}
