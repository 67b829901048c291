// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the lock and the listing of sockets do when a system call goes wrong, with the real kernel
 * in a network namespace of our own.
 *
 *   hf-fault lock|relock|unlock|list FUNCTION WHAT   each call of FUNCTION once, see fault.h
 *   hf-fault overrun|changing|unknown|barrier        cases where the kernel itself goes wrong
 *
 * Exit status: 0 all is as sys/net_lock.h and sys/netlink.h promise, 1 not: said on stdout.
 */
#include <errno.h>
#include <netinet/in.h>
#include <linux/inet_diag.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libnftnl/common.h>

#include "fault.h"
#include "sys/clock.h"
#include "sys/net_lock.h"
#include "sys/netlink.h"
#include "sys/netns.h"
#include "sys/sock_diag.h"

#define N_CONNS    40
#define N_SOCKETS  500 /* their listing takes several messages */
#define MAX_CALLS  100
#define N_REFUSALS 200

static int failures, netns = -1;
static struct hf_conn conns[N_CONNS];
static const struct hf_image the_image = {.id = {0xfa, 0x17}, .conns = conns, .n_conns = N_CONNS};
static const struct hf_lock the_lock = {.image = &the_image, .comment = "hf-fault"};
static char whole[64]; /* the lock as it should be */

#define WRONG(...)                                                                                 \
	do {                                                                                       \
		failures++;                                                                        \
		printf("wrong: " __VA_ARGS__);                                                     \
		printf("\n");                                                                      \
	} while (0)

static void die(const char *what, const struct hf_error *err)
{
	printf("hf-fault: %s: %s\n", what, err ? err->text : strerror(errno));
	exit(1);
}

static void fill_conns(void)
{
	for (uint8_t i = 0; i < N_CONNS; i++)
		conns[i] = (struct hf_conn){.family = HF_FAMILY_IPV4,
			.state = HF_TCP_ESTABLISHED,
			.local = {.ip = {192, 0, 2, 1}, .port = 80},
			.peer = {.ip = {192, 0, 2, 2}, .port = (uint16_t)(40000 + i)}};
}

/* A sum of all rules, by nft's eyes: the order of a set's elements does not count. */
static void look(char sum[64])
{
	FILE *pipe = popen("nft list ruleset | tr -s ', \\t' '\\n' | sort | cksum", "r");

	if (!pipe || !fgets(sum, 64, pipe) || pclose(pipe) != 0)
		die("nft", NULL);
}

static bool is_whole(void)
{
	char now[64];

	look(now);
	return strcmp(now, whole) == 0;
}

static bool is_none(void)
{
	static char none[64];
	char now[64];

	if (!none[0]) {
		FILE *pipe = popen("printf '' | tr -s ', \\t' '\\n' | sort | cksum", "r");

		if (!pipe || !fgets(none, 64, pipe) || pclose(pipe) != 0)
			die("cksum", NULL);
	}
	look(now);
	return strcmp(now, none) == 0;
}

static void lock_without_fault(void)
{
	struct hf_error err = HF_ERROR_INIT;

	hf_fault_set(NULL);
	if (hf_net_lock(netns, &the_lock, &err) < 0)
		die("lock", &err);
}

static void unlock_without_fault(void)
{
	struct hf_error err = HF_ERROR_INIT;

	hf_fault_set(NULL);
	if (hf_net_unlock(netns, the_image.id, &err) < 0)
		die("unlock", &err);
	if (!is_none())
		die("the unlock left something", NULL);
}

/* One fault in one operation; `before` and `after` a success say whether the lock is there. */
static bool try_lock_operation(const char *spec, bool removes, bool before, bool after)
{
	struct hf_error err = HF_ERROR_INIT;
	bool fired, there;
	int ret;

	if (before)
		lock_without_fault();
	hf_fault_set(spec);
	ret = removes ? hf_net_unlock(netns, the_image.id, &err)
		      : hf_net_lock(netns, &the_lock, &err);
	fired = hf_fault_fired();
	hf_fault_set(NULL);
	there = is_whole();
	printf("%s: %d, %s%s%s\n", spec, ret, there ? "there" : "not there", ret < 0 ? ": " : "",
		ret < 0 ? err.text : "");
	if (!there && !is_none())
		WRONG("a part of the lock is there");
	/* Of all errors this one alone leaves open what was done. */
	if (ret != -ENOBUFS && there != (ret < 0 ? before : after))
		WRONG("returned %d", ret);
	if (ret < 0 && (err.code != ret || !err.text[0]))
		WRONG("no error text, or another error");
	if (ret == -ENOBUFS && !strchr(spec, '+'))
		WRONG("gave up after one fault");
	unlock_without_fault();
	return fired;
}

static int on_locks(const char *operation, const char *function, const char *what)
{
	bool removes = strcmp(operation, "unlock") == 0;
	bool before = strcmp(operation, "lock") != 0;
	bool fired = true;
	char spec[80];
	int n = 0;

	lock_without_fault();
	look(whole);
	unlock_without_fault();
	while (fired && ++n < MAX_CALLS) {
		snprintf(spec, sizeof(spec), "%s:%d:%s", function, n, what);
		fired = try_lock_operation(spec, removes, before, !removes);
		snprintf(spec, sizeof(spec), "%s:%d+:%s", function, n, what);
		/* A signal that comes at every call stops everything for good. */
		if (fired && strcmp(what, "EINTR") != 0)
			try_lock_operation(spec, removes, before, !removes);
	}
	if (n < 2 || n == MAX_CALLS)
		WRONG("%s was called %d times", function, n - 1);
	return n;
}

static void open_sockets(void)
{
	for (int i = 0; i < N_SOCKETS; i++) {
		struct sockaddr_in6 any = {
			.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)(1000 + i))};
		int sock = socket(AF_INET6, SOCK_STREAM, 0);

		if (sock < 0 || bind(sock, (struct sockaddr *)&any, sizeof(any)) < 0 ||
			listen(sock, 1) < 0)
			die("listen", NULL);
	}
}

static bool list_is_right(const struct hf_diag *diag)
{
	bool seen[N_SOCKETS] = {false};

	for (size_t i = 0; i < diag->n; i++) {
		int at = diag->sockets[i].local.port - 1000;

		if (at < 0 || at >= N_SOCKETS || seen[at])
			return false;
		seen[at] = true;
	}
	return diag->n == N_SOCKETS;
}

static void on_list(const char *function, const char *what)
{
	bool fired = true;
	char spec[80];
	int n = 0;

	open_sockets();
	while (fired && ++n < MAX_CALLS) {
		struct hf_error err = HF_ERROR_INIT;
		struct hf_diag diag = {0};
		int ret;

		snprintf(spec, sizeof(spec), "%s:%d:%s", function, n, what);
		hf_fault_set(spec);
		ret = hf_sock_diag(netns, &diag, &err);
		fired = hf_fault_fired();
		hf_fault_set(NULL);
		printf("%s: %d, %zu sockets %s\n", spec, ret, diag.n, err.text);
		if (ret < 0 ? diag.n != 0 || err.code != ret : !list_is_right(&diag))
			WRONG("returned %d", ret);
		/* What passes by itself is tried again. */
		if (ret < 0 && (strcmp(what, "interrupted") == 0 || strcmp(what, "lost") == 0 ||
				       (strcmp(function, "recvmsg") == 0 &&
					       (ret == -ENOBUFS || ret == -EINTR))))
			WRONG("gave up after one fault");
		hf_diag_clear(&diag);
	}
	if (n < 2 || n == MAX_CALLS)
		WRONG("%s was called %d times", function, n - 1);
}

/* More errors than the receive queue holds: the kernel drops answers, netlink_overrun(). */
static void on_overrun(void)
{
	struct hf_error err = HF_ERROR_INIT;
	struct hf_batch batch = {.first_seq = 1};
	int sock = hf_netlink_open(netns, NETLINK_NETFILTER, &err);
	int size = 1, ret;
	char *at;

	if (sock < 0)
		die("netlink", &err);
	setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	batch.data = calloc(N_REFUSALS + 2, 128);
	if (!batch.data)
		die("calloc", NULL);
	at = (char *)batch.data;
	at += NLMSG_ALIGN(nftnl_batch_begin(at, 1)->nlmsg_len);
	for (uint32_t seq = 2; seq < N_REFUSALS + 2; seq++) {
		struct nlmsghdr *header =
			nftnl_nlmsg_build_hdr(at, NFT_MSG_DELTABLE, NFPROTO_INET, NLM_F_ACK, seq);

		mnl_attr_put_strz(header, NFTA_TABLE_NAME, "none");
		at += NLMSG_ALIGN(header->nlmsg_len);
		batch.last_seq = seq;
	}
	at += NLMSG_ALIGN(nftnl_batch_end(at, batch.last_seq + 1)->nlmsg_len);
	batch.len = (size_t)(at - (char *)batch.data);
	ret = hf_netlink_batch(sock, &batch);
	printf("overrun: %d\n", ret);
	if (ret != -ENOBUFS)
		WRONG("the kernel dropped nothing, or it was not seen");
	/* Nothing of it may be taken for an answer to what comes next. */
	hf_batch_clear(&batch);
	if (hf_lock_rules_add(&batch, &the_lock, &err) < 0)
		die("rules", &err);
	ret = hf_netlink_batch(sock, &batch);
	if (ret != 0)
		WRONG("the next batch returned %d", ret);
	hf_batch_clear(&batch);
	close(sock);
	unlock_without_fault();
}

struct tables {
	int n, restarts;
};

static int count_table(const struct nlmsghdr *header, void *context)
{
	struct tables *tables = context;

	(void)header;
	tables->n++;
	return MNL_CB_OK;
}

static void count_anew(void *context)
{
	struct tables *tables = context;

	tables->n = 0;
	tables->restarts++;
}

static void add_table(void)
{
	hf_fault_set(NULL);
	if (system("nft add table inet late") != 0)
		die("nft", NULL);
}

/* The tables change between two messages of their listing: the kernel says NLM_F_DUMP_INTR. */
static void on_changing(void)
{
	char buf[NLMSG_SPACE(sizeof(struct nfgenmsg))] __attribute__((aligned(4))) = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct hf_error err = HF_ERROR_INIT;
	struct tables tables = {0};
	int sock = hf_netlink_open(netns, NETLINK_NETFILTER, &err);

	if (system("for i in $(seq 2000); do echo add table inet t$i; done | nft -f -") != 0)
		die("nft", NULL);
	mnl_nlmsg_put_extra_header(header, sizeof(struct nfgenmsg));
	header->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = 1;
	hf_fault_hook = add_table;
	hf_fault_set("recvmsg:2:hook");
	if (hf_netlink_dump(sock, header, count_table, count_anew, &tables, &err) < 0)
		WRONG("%s", err.text);
	printf("changing: %d tables, %d tries\n", tables.n, tables.restarts);
	if (tables.n != 2001 || tables.restarts < 2)
		WRONG("not 2001 tables at the second try");
	close(sock);
}

/* A dump that fails says so in its last message alone. */
static void on_unknown(void)
{
	char buf[NLMSG_SPACE(sizeof(struct inet_diag_req_v2))] __attribute__((aligned(4))) = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(header, sizeof(*request));
	struct hf_error err = HF_ERROR_INIT;
	struct tables tables = {0};
	int sock = hf_netlink_open(netns, NETLINK_SOCK_DIAG, &err), ret;

	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = 1;
	request->sdiag_family = AF_INET;
	request->sdiag_protocol = 253; /* for experiments, RFC 3692 */
	ret = hf_netlink_dump(sock, header, count_table, count_anew, &tables, &err);
	printf("unknown: %d %s\n", ret, err.text);
	if (ret != -ENOENT && ret != -EINVAL)
		WRONG("a dump that failed looks like an empty one");
	close(sock);
}

static void on_barrier(void)
{
	uint64_t start = hf_now_us();
	int ret = hf_net_lock_barrier(NULL);

	printf("barrier: %d, %llu us\n", ret, (unsigned long long)(hf_now_us() - start));
}

int main(int argc, char **argv)
{
	struct hf_error err = HF_ERROR_INIT;
	const char *operation = argc > 1 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (unshare(CLONE_NEWNET) < 0)
		die("unshare", NULL);
	netns = hf_netns_open(0, &err);
	if (netns < 0)
		die("netns", &err);
	fill_conns();
	if (argc == 4 && strcmp(operation, "list") == 0)
		on_list(argv[2], argv[3]);
	else if (argc == 4)
		on_locks(operation, argv[2], argv[3]);
	else if (strcmp(operation, "overrun") == 0)
		on_overrun();
	else if (strcmp(operation, "changing") == 0)
		on_changing();
	else if (strcmp(operation, "unknown") == 0)
		on_unknown();
	else if (strcmp(operation, "barrier") == 0)
		on_barrier();
	else
		return 2;
	return failures ? 1 : 0;
}
