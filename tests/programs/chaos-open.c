// SPDX-License-Identifier: GPL-2.0-or-later
/* How connections come into being, and their options. */
#include "chaos.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#define PORT      7000 /* one address */
#define DUAL_PORT 7001 /* any, IPv4 and IPv6 */
#define ID_MAGIC  UINT64_C(0x4846)

static void set_int(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

static int get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	getsockopt(fd, level, name, &value, &len);
	return value;
}

int tcp_state(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? -1 : info.tcpi_state;
}

static socklen_t set_port(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET) {
		((struct sockaddr_in *)address)->sin_port = htons(port);
		return sizeof(struct sockaddr_in);
	}
	((struct sockaddr_in6 *)address)->sin6_port = htons(port);
	return sizeof(struct sockaddr_in6);
}

static int listen_at(struct task *task, struct sockaddr_storage address, uint16_t port)
{
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = set_port(&address, port);

	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 128) < 0)
		fail(task, NULL, "cannot listen: %s", strerror(errno));
	return fd;
}

void open_listeners(struct task *task)
{
	struct sockaddr_storage any = {.ss_family = AF_INET6};

	task->listeners[0] = listen_at(task, task->own[0], PORT);
	task->listeners[1] = listen_at(task, task->own[1], PORT);
	task->listeners[2] = listen_at(task, any, DUAL_PORT);
}

static struct conn *new_conn(struct task *task, int fd, enum side side)
{
	static const uint64_t paces[] = {0, 2000, 10000, 50000, 200000};

	for (unsigned int i = 0; i < MAX_CONNS; i++) {
		struct conn *conn = &task->conns[i];

		if (conn->used)
			continue;
		memset(conn, 0, sizeof(*conn));
		conn->used = true;
		conn->fd = fd;
		conn->side = side;
		conn->reads = conn->writes = true;
		conn->can_read = conn->can_write = true;
		conn->style = (enum style)below(task, 3);
		conn->read_pace = paces[below(task, 5)];
		conn->write_pace = paces[below(task, 5)];
		conn->progress_at = task->running;
		conn->nodelay = get_int(fd, IPPROTO_TCP, TCP_NODELAY);
		conn->keepalive = get_int(fd, SOL_SOCKET, SO_KEEPALIVE);
		conn->reuse = get_int(fd, SOL_SOCKET, SO_REUSEADDR);
		count(task, N_LIVE, 1);
		return conn;
	}
	return NULL;
}

static void set_keepalive(struct conn *conn)
{
	set_int(conn->fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
	set_int(conn->fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
	set_int(conn->fd, IPPROTO_TCP, TCP_KEEPCNT, 60);
	set_int(conn->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	conn->keepalive = 1;
}

/*
 * The id is known, and with it the plan. A reset that comes while the lock is on is lost, like any
 * packet: the end that waits for one asks now and then whether the other is still there.
 */
void set_known(struct task *task, struct conn *conn, uint64_t id)
{
	if (id >> 48 != ID_MAGIC)
		fail(task, conn, "an id that is none: %llx", (unsigned long long)id);
	conn->known = true;
	conn->id = id;
	make_plan(&conn->plan, task->seed, id);
	conn->key_out = mix(task->seed, 2 * id + conn->side);
	conn->key_in = mix(task->seed, 2 * id + !conn->side);
	if (conn->plan.reset_by == !conn->side)
		set_keepalive(conn);
}

/* Buffers of a few segments make a long stream take for ever. */
static int buffer_size(struct task *task, const struct conn *conn)
{
	uint64_t most = conn->plan.total[0] > conn->plan.total[1] ? conn->plan.total[0]
								  : conn->plan.total[1];

	return (int)((most < 20000 ? 4096 : 65536) + below(task, 400000));
}

void play_with_options(struct task *task, struct conn *conn)
{
	int choice = (int)below(task, 10), value = (int)below(task, 2);

	note(task, conn, "option", choice * 10 + value);
	switch (choice) {
	case 0:
	case 1:
		conn->nodelay = value;
		set_int(conn->fd, IPPROTO_TCP, TCP_NODELAY, value);
		break;
	case 2:
	case 3:
		set_int(conn->fd, IPPROTO_TCP, TCP_CORK, value);
		break;
	case 4:
		set_keepalive(conn);
		break;
	case 5:
		set_int(conn->fd, SOL_SOCKET, SO_SNDBUF, buffer_size(task, conn));
		break;
	case 6:
		if (!conn->plan.shut_read[conn->side])
			set_int(conn->fd, SOL_SOCKET, SO_RCVBUF, buffer_size(task, conn));
		break;
	case 7:
		conn->blocking = value; /* no difference to us, with MSG_DONTWAIT */
		fcntl(conn->fd, F_SETFL, value ? 0 : O_NONBLOCK);
		set_int(conn->fd, IPPROTO_TCP, TCP_QUICKACK, value);
		break;
	case 8:
		conn->mark = (int)below(task, 1000);
		set_int(conn->fd, SOL_SOCKET, SO_MARK, conn->mark);
		break;
	default:
		set_int(conn->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)(1 + below(task, 100000)));
	}
}

static void check_one(struct task *task, const struct conn *conn, const char *name, int level,
	int option, int wanted)
{
	int value = get_int(conn->fd, level, option);

	if (value != wanted)
		fail(task, conn, "%s is %d, not %d", name, value, wanted);
}

/* Those that CRIU carries, or that holdfast itself changes for a while. */
void check_options(struct task *task, const struct conn *conn)
{
	check_one(task, conn, "SO_MARK", SOL_SOCKET, SO_MARK, conn->mark);
	check_one(task, conn, "SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1);
	check_one(task, conn, "SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, conn->reuse);
	check_one(task, conn, "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, conn->keepalive);
	check_one(task, conn, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, conn->nodelay);
	if (!(fcntl(conn->fd, F_GETFL) & O_NONBLOCK) != conn->blocking)
		fail(task, conn, "O_NONBLOCK changed");
}

/* ::ffff:a.b.c.d for an AF_INET6 socket. */
static void map_address(struct sockaddr_storage *address)
{
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6};

	mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&mapped.sin6_addr.s6_addr[12], &((struct sockaddr_in *)address)->sin_addr, 4);
	memset(address, 0, sizeof(*address));
	memcpy(address, &mapped, sizeof(mapped));
}

static void loopback(struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET)
		((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)address)->sin6_addr = in6addr_loopback;
}

/* fe80::77:1 is the container's and fe80::77:2 the peer's, see harness/chaos.py. */
static void link_local(struct sockaddr_storage *address, bool container)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

	memset(v6->sin6_addr.s6_addr, 0, 16);
	v6->sin6_addr.s6_addr[0] = 0xfe;
	v6->sin6_addr.s6_addr[1] = 0x80;
	v6->sin6_addr.s6_addr[13] = 0x77;
	v6->sin6_addr.s6_addr[15] = container ? 1 : 2;
	v6->sin6_scope_id = if_nametoindex("eth0");
}

static socklen_t choose_target(struct task *task, struct sockaddr_storage *address, bool local)
{
	uint16_t port = one_in(task, 2) ? PORT : DUAL_PORT;

	*address = (local ? task->own : task->other)[below(task, 2)];
	if (local && one_in(task, 2)) {
		loopback(address);
		port = DUAL_PORT;
	} else if (address->ss_family == AF_INET6 && one_in(task, 4)) {
		link_local(address, local == task->container);
		port = DUAL_PORT;
	}
	if (address->ss_family == AF_INET && one_in(task, 3))
		map_address(address);
	return set_port(address, port);
}

static void options_before(struct task *task, int fd)
{
	set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	if (one_in(task, 4))
		set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (one_in(task, 8))
		set_int(fd, IPPROTO_TCP, TCP_MAXSEG, (int)(200 + below(task, 1200)));
	if (one_in(task, 4))
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static bool is_global(const struct sockaddr_storage *address)
{
	const struct in6_addr *ip = &((const struct sockaddr_in6 *)address)->sin6_addr;

	return !IN6_IS_ADDR_V4MAPPED(ip) && !IN6_IS_ADDR_LINKLOCAL(ip);
}

/* As clients with an address of their own do it: any port of it. */
static void bind_before(struct task *task, int fd, sa_family_t family)
{
	struct sockaddr_storage address = task->own[family == AF_INET6];

	bind(fd, (struct sockaddr *)&address, set_port(&address, 0));
}

void open_one(struct task *task)
{
	bool local = task->container && one_in(task, 3);
	struct sockaddr_storage address;
	socklen_t len = choose_target(task, &address, local);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	uint64_t id = ID_MAGIC << 48 | (uint64_t)task->container << 40;
	struct conn *conn;
	bool plain = address.ss_family == AF_INET || is_global(&address);
	int ret;

	options_before(task, fd);
	if (!local && plain && one_in(task, 6))
		bind_before(task, fd, address.ss_family);
	conn = new_conn(task, fd, CONNECTOR);
	if (!conn) {
		close(fd);
		return;
	}
	conn->local = local;
	conn->may_pend = local || !task->container;
	set_known(task, conn, id | atomic_fetch_add(&task->counters[N_IDS], 1));
	ret = connect(fd, (struct sockaddr *)&address, len);
	note(task, conn, "connect", ret < 0 ? errno : 0);
	if (ret < 0 && errno != EINPROGRESS)
		fail(task, conn, "cannot connect: %s", strerror(errno));
	count(task, N_OPENED, 1);
	conn->can_read = false;
	watch(task, conn);
}

void accept_some(struct task *task)
{
	unsigned int first = (unsigned int)below(task, 3);

	for (unsigned int i = 0; i < 3; i++) {
		int listener = task->listeners[(first + i) % 3];
		struct conn *conn;
		int fd;

		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		conn = new_conn(task, fd, ACCEPTOR);
		if (!conn)
			fail(task, NULL, "too many connections");
		conn->connected = true;
		note(task, conn, "accepted", fd);
		watch(task, conn);
	}
}
