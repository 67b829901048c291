// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/kernel_check.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/netlink.h"
#include "sys/netns.h"
#include "sys/sock_diag.h"
#include "sys/pidfd.h"

int hf_kernel_check_repair(struct hf_error *err)
{
	hf_autoclose int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	int on = TCP_REPAIR_ON;

	if (sock < 0)
		return hf_error_sys(err, -errno, "cannot create a TCP socket");
	if (setsockopt(sock, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) == 0)
		return 0;
	return errno == EPERM
		       ? hf_error_set(err, -EPERM,
				 "no permission for TCP_REPAIR: run as root with CAP_NET_ADMIN")
		       : hf_error_sys(err, -errno,
				 "this kernel has no TCP_REPAIR: it needs "
				 "CONFIG_CHECKPOINT_RESTORE");
}

int hf_kernel_check_pidfd(struct hf_error *err)
{
	hf_autoclose int pidfd = hf_pidfd_open(getpid(), err);
	hf_autoclose int dup = -1;

	if (pidfd < 0)
		return hf_error_context(err, pidfd, "holdfast needs pidfds (Linux 5.6 or later)");
	dup = hf_pidfd_getfd(pidfd, pidfd, err);
	return dup < 0 ? hf_error_context(err, dup,
				 "holdfast needs pidfd_getfd (Linux 5.6 or later, CAP_SYS_PTRACE)")
		       : 0;
}

static int ignore(const struct nlmsghdr *header, void *context)
{
	(void)header;
	(void)context;
	return MNL_CB_OK;
}

static void nothing(void *context)
{
	(void)context;
}

/* Lists the tables: answers even where there are none, and needs what the lock needs. */
static int check_nftables(int netns, struct hf_error *err)
{
	char buf[NLMSG_SPACE(sizeof(struct nfgenmsg))] __attribute__((aligned(4))) = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	int ret = sock;

	mnl_nlmsg_put_extra_header(header, sizeof(struct nfgenmsg));
	header->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = 1;
	if (ret >= 0)
		ret = hf_netlink_dump(sock, header, ignore, nothing, NULL, err);
	return ret < 0 ? hf_error_context(err, ret,
				 "holdfast needs nftables (kernel CONFIG_NF_TABLES_INET, "
				 "CAP_NET_ADMIN)")
		       : 0;
}

int hf_kernel_check_sock_diag(int netns, struct hf_error *err)
{
	struct hf_diag diag = {0};
	int ret = hf_sock_diag(netns, &diag, err);

	hf_diag_clear(&diag);
	return ret < 0 ? hf_error_context(
				 err, ret, "holdfast needs sock_diag (kernel CONFIG_INET_TCP_DIAG)")
		       : 0;
}

int hf_kernel_check(struct hf_error *err)
{
	hf_autoclose int netns = hf_netns_open(0, err);
	int ret = netns;

	if (ret >= 0)
		ret = hf_kernel_check_repair(err);
	if (ret == 0)
		ret = hf_kernel_check_pidfd(err);
	if (ret == 0)
		ret = check_nftables(netns, err);
	if (ret == 0)
		ret = hf_kernel_check_sock_diag(netns, err);
	return ret;
}
