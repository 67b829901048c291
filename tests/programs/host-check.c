// SPDX-License-Identifier: GPL-2.0-or-later
/* What holds after a dump or a restore, see host.h. */
#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stream.h"
#include "sys/net_lock.h"
#include "sys/netlink.h"
#include "sys/netns.h"

#define PIECE   1500 /* that each end sends */
#define WAIT_MS 5000

int n_wrong;
char what_now[160];

void wrong(const char *format, ...)
{
	va_list args;

	n_wrong++;
	printf("wrong: %s: ", what_now);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

const char *flow_name(enum flow_kind kind)
{
	static const char *const names[] = {
		"idle", "data", "urgent", "shared", "FIN-WAIT", "CLOSE-WAIT", "listener", "reset"};

	return names[kind];
}

/* ---- options */

static const struct {
	int level, option;
	const char *name;
} options[N_OPTIONS] = {
	{IPPROTO_TCP, TCP_REPAIR, "TCP_REPAIR"},
	{SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"},
	{SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE"},
	{SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF"},
	{SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"},
	{SOL_SOCKET, SO_MARK, "SO_MARK"},
	{IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"},
	{IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"},
	{IPPROTO_TCP, TCP_NOTSENT_LOWAT, "TCP_NOTSENT_LOWAT"},
};

static void read_options(int sock, int values[N_OPTIONS])
{
	for (int i = 0; i < N_OPTIONS; i++) {
		socklen_t len = sizeof(int);

		values[i] = -1;
		getsockopt(sock, options[i].level, options[i].option, &values[i], &len);
	}
}

void note_options(struct scene *scene)
{
	for (int kind = 0; kind < FLOWS; kind++) {
		int sock = scene_socket(scene, (enum flow_kind)kind);

		read_options(sock, scene->flows[kind].options);
		close(sock);
	}
}

/*
 * Of those, a restore is about the first two only: CRIU carries the others, or nobody. An error
 * that was logged may be about SO_REUSEADDR, which alone nobody tries to set again.
 */
void check_options(const struct scene *scene, bool restored, bool complained)
{
	for (int kind = 0; kind < FLOWS; kind++) {
		const struct flow *flow = &scene->flows[kind];
		int sock = scene_socket(scene, (enum flow_kind)kind);
		int now[N_OPTIONS];

		if (sock < 0) {
			wrong("%s: the application has no socket", flow_name((enum flow_kind)kind));
			continue;
		}
		read_options(sock, now);
		close(sock);
		for (int i = 0; i < (restored ? 2 : N_OPTIONS); i++)
			if (now[i] != flow->options[i] &&
				!(complained && options[i].option == SO_REUSEADDR))
				wrong("%s: %s is %d, was %d", flow_name((enum flow_kind)kind),
					options[i].name, now[i], flow->options[i]);
	}
}

/* ---- data */

static bool pull(int sock, uint64_t seed, uint64_t *at, bool *ended)
{
	uint8_t data[4096];
	ssize_t n = recv(sock, data, sizeof(data), MSG_DONTWAIT);
	ssize_t bad = n > 0 ? stream_check(data, (size_t)n, seed, *at) : -1;

	if (bad >= 0) {
		wrong("byte %llu is not what was sent", (unsigned long long)*at + (size_t)bad);
		return false;
	}
	if (n == 0)
		*ended = true;
	if (n < 0 && errno != EAGAIN) {
		wrong("recv: %s", strerror(errno));
		return false;
	}
	*at += n > 0 ? (uint64_t)n : 0;
	return true;
}

static bool push(int sock, uint64_t seed, uint64_t *at, uint64_t end)
{
	uint8_t data[1000];
	size_t len = end - *at < sizeof(data) ? (size_t)(end - *at) : sizeof(data);
	ssize_t n;

	if (len == 0)
		return true;
	stream_fill(data, len, seed, *at);
	n = send(sock, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN) {
		wrong("send: %s", strerror(errno));
		return false;
	}
	*at += n > 0 ? (uint64_t)n : 0;
	return true;
}

static void exchange(struct flow *flow, enum flow_kind kind, uint64_t seed, int app)
{
	bool app_ends = kind == FLOW_FIN_WAIT, peer_ends = kind == FLOW_CLOSE_WAIT;
	uint64_t to_app = flow->to_app + (peer_ends ? 0 : PIECE);
	uint64_t from_app = flow->from_app + (app_ends ? 0 : PIECE);
	bool app_ended = false, peer_ended = false, done = false;
	int ms;

	for (ms = 0; ms < WAIT_MS && !done; ms++) {
		if (!push(app, ~seed, &flow->from_app, from_app) ||
			!push(flow->peer, seed, &flow->to_app, to_app) ||
			!pull(app, seed, &flow->app_read, &app_ended) ||
			!pull(flow->peer, ~seed, &flow->peer_read, &peer_ended)) {
			wrong("%s: after %llu of %llu and %llu of %llu bytes", flow_name(kind),
				(unsigned long long)flow->app_read, (unsigned long long)to_app,
				(unsigned long long)flow->peer_read, (unsigned long long)from_app);
			return;
		}
		done = flow->app_read == to_app && flow->peer_read == from_app &&
		       app_ended == peer_ends && peer_ended == app_ends;
		if (!done)
			usleep(ms < 20 ? 50 : 1000);
	}
	if (!done)
		wrong("%s: stands still at %llu of %llu and %llu of %llu bytes", flow_name(kind),
			(unsigned long long)flow->app_read, (unsigned long long)to_app,
			(unsigned long long)flow->peer_read, (unsigned long long)from_app);
	if (app_ended != peer_ends || peer_ended != app_ends)
		wrong("%s: end of file is wrong", flow_name(kind));
}

static void check_urgent(int app)
{
	char byte = 0;

	if (recv(app, &byte, 1, MSG_OOB | MSG_DONTWAIT) != 1 || byte != '!')
		wrong("the urgent byte is %d", byte);
}

static void check_reset(struct flow *flow, uint64_t seed, int app)
{
	bool ended = false;
	char byte;

	while (flow->app_read < flow->to_app && pull(app, seed, &flow->app_read, &ended))
		if (ended)
			break;
	if (flow->app_read != flow->to_app)
		wrong("reset: %llu of %llu bytes", (unsigned long long)flow->app_read,
			(unsigned long long)flow->to_app);
	if (recv(app, &byte, 1, MSG_DONTWAIT) != -1 || errno != ECONNRESET)
		wrong("reset: the error is lost");
	if (recv(app, &byte, 1, MSG_DONTWAIT) != 0)
		wrong("reset: no end of file");
}

/* The client that was waiting is taken; after a restore, a new one. */
static void check_listener(struct flow *flow, int app, bool restored)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)flow->port),
		.sin_addr.s_addr = htonl(APP_IP)};
	struct pollfd ready = {app, POLLIN, 0};
	int sock;

	if (restored) {
		close(flow->peer);
		flow->peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(flow->peer, (struct sockaddr *)&at, sizeof(at)) < 0 &&
			errno != EINPROGRESS)
			wrong("listener: connect: %s", strerror(errno));
	}
	sock = poll(&ready, 1, WAIT_MS) == 1 ? accept4(app, NULL, NULL, SOCK_CLOEXEC) : -1;
	if (sock < 0)
		wrong("listener: there is nobody to accept");
	else
		close(sock);
}

void check_data(struct scene *scene, bool restored)
{
	for (int i = 0; i < FLOWS; i++) {
		enum flow_kind kind = (enum flow_kind)i;
		struct flow *flow = &scene->flows[i];
		int app = scene_socket(scene, kind);

		if (app < 0) {
			wrong("%s: the application has no socket", flow_name(kind));
			continue;
		}
		if (kind == FLOW_URGENT)
			check_urgent(app);
		if (kind == FLOW_RESET)
			check_reset(flow, scene->seed + kind, app);
		else if (kind == FLOW_LISTENER)
			check_listener(flow, app, restored);
		else
			exchange(flow, kind, scene->seed + kind, app);
		close(app);
	}
}

/* ---- the other ends */

static void peer_info(int sock, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	getsockopt(sock, IPPROTO_TCP, TCP_INFO, info, &len);
}

/* The client of the listener is left out: it is not saved. */
void note_peers(struct scene *scene)
{
	for (int kind = 0; kind < FLOWS; kind++) {
		struct flow *flow = &scene->flows[kind];
		struct tcp_info info;

		if (flow->peer < 0)
			continue;
		peer_info(flow->peer, &info);
		flow->state = info.tcpi_state;
		flow->segments = info.tcpi_segs_in;
		ioctl(flow->peer, SIOCOUTQ, &flow->unacked);
	}
}

void check_peers(const struct scene *scene, bool and_segments)
{
	for (int kind = 0; kind < FLOWS; kind++) {
		const struct flow *flow = &scene->flows[kind];
		struct tcp_info info;
		int unacked = 0;

		if (flow->peer < 0 || kind == FLOW_LISTENER)
			continue;
		peer_info(flow->peer, &info);
		if (info.tcpi_state != flow->state)
			wrong("%s: the peer is in state %d, was in %d",
				flow_name((enum flow_kind)kind), info.tcpi_state, flow->state);
		ioctl(flow->peer, SIOCOUTQ, &unacked);
		if (unacked != flow->unacked)
			wrong("%s: the peer waits for the acknowledgement of %d bytes, not %d",
				flow_name((enum flow_kind)kind), unacked, flow->unacked);
		/* On the loopback device nothing holds the acknowledgement of the FIN that was sent
		 * once more in the peer's name, nor data that a restored socket sends again soon.
		 */
		if (and_segments && info.tcpi_segs_in != flow->segments &&
			kind != FLOW_CLOSE_WAIT && kind != FLOW_DATA)
			wrong("%s: the peer received %u segments", flow_name((enum flow_kind)kind),
				info.tcpi_segs_in - flow->segments);
	}
}

/* ---- the lock */

struct tables {
	int n;
	uint8_t id[HF_ID_SIZE];
};

static int take_table(const struct nlmsghdr *header, void *context)
{
	struct tables *tables = context;
	const struct nlattr *attr;

	mnl_attr_for_each (attr, header, sizeof(struct nfgenmsg)) {
		const char *name = mnl_attr_get_payload(attr);

		if (mnl_attr_get_type(attr) != NFTA_TABLE_NAME ||
			strncmp(name, HF_TABLE_PREFIX, strlen(HF_TABLE_PREFIX)) != 0)
			continue;
		tables->n++;
		for (int i = 0; i < HF_ID_SIZE; i++)
			sscanf(name + strlen(HF_TABLE_PREFIX) + 2 * i, "%2hhx", &tables->id[i]);
	}
	return MNL_CB_OK;
}

static void forget_tables(void *context)
{
	memset(context, 0, sizeof(struct tables));
}

static void list_tables(int netns, struct tables *tables)
{
	char buf[NLMSG_SPACE(sizeof(struct nfgenmsg))] __attribute__((aligned(4))) = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct hf_error err = HF_ERROR_INIT;
	int own = hf_netns_open(0, &err);
	int sock = hf_netlink_open(netns < 0 ? own : netns, NETLINK_NETFILTER, &err);

	mnl_nlmsg_put_extra_header(header, sizeof(struct nfgenmsg));
	header->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = 1;
	if (hf_netlink_dump(sock, header, take_table, forget_tables, tables, &err) < 0)
		wrong("tables: %s", err.text);
	close(sock);
	close(own);
}

int count_tables(int netns)
{
	struct tables tables = {0};

	list_tables(netns, &tables);
	return tables.n;
}

void remove_tables(int netns)
{
	struct hf_error err = HF_ERROR_INIT;
	struct tables tables = {0};
	int own = hf_netns_open(0, &err);

	for (list_tables(netns, &tables); tables.n > 0; list_tables(netns, &tables))
		if (hf_net_unlock_host(netns < 0 ? own : netns, tables.id, &err) < 0) {
			wrong("unlock: %s", err.text);
			break;
		}
	close(own);
}

/* The guardian becomes our child when its parent has ended. The first task is waited for elsewhere.
 */
static int reap_children(const struct scene *scene)
{
	FILE *file = fopen("/proc/thread-self/children", "re");
	int pid, n = 0;

	while (file && fscanf(file, "%d", &pid) == 1)
		if (pid != scene->tasks[0] && waitpid(pid, NULL, WNOHANG) != pid)
			n++;
	if (file)
		fclose(file);
	return n;
}

bool await_children(const struct scene *scene)
{
	for (int tries = 0; tries < 30000; tries++) {
		if (reap_children(scene) == 0)
			return true;
		usleep(100);
	}
	return false;
}
