// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/net_lock.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/netlink.h"

#define ATTEMPTS 4

/*
 * Applies a batch. Where the kernel's answer was lost (ENOBUFS) the batch is sent again: a table is
 * made exclusively and removed by name, so `already`, the error of the second time, tells that the
 * first was applied. Once an answer was lost, no other error tells anything.
 */
static int apply(int netns, const struct hf_batch *batch, int already, struct hf_error *err)
{
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	bool lost = false;
	int ret = sock;

	for (int attempt = 0; sock >= 0 && attempt < ATTEMPTS; attempt++) {
		ret = hf_netlink_batch(sock, batch);
		if (ret == already)
			return lost ? 0 : 1;
		lost = lost || ret == -ENOBUFS;
		if (ret == 0 || !lost)
			break;
		usleep(1000u << attempt);
	}
	if (ret >= 0 || sock < 0)
		return ret;
	return lost ? hf_error_set(err, -ENOBUFS,
			      "nftables' answers got lost, its rules may be there or not")
		    : hf_error_sys(err, ret, "nftables refused the lock's rules");
}

int hf_net_lock(int netns, const struct hf_lock *lock, struct hf_error *err)
{
	struct hf_batch batch = {0};
	int ret = hf_lock_rules_add(&batch, lock, err);

	if (ret == 0)
		ret = apply(netns, &batch, -EEXIST, err);
	hf_batch_clear(&batch);
	return ret < 0 ? hf_error_context(err, ret, "cannot take the lock") : ret;
}

int hf_net_unlock(int netns, const uint8_t id[HF_ID_SIZE], struct hf_error *err)
{
	struct hf_batch batch = {0};
	int ret = hf_lock_rules_remove(&batch, id, err);

	if (ret == 0)
		ret = apply(netns, &batch, -ENOENT, err);
	hf_batch_clear(&batch);
	return ret < 0 ? hf_error_context(err, ret, "cannot remove the lock") : 0;
}

/* packet_release() waits for a grace period of RCU, as membarrier() does, and the hooks run under
 * RCU. */
static int packet_barrier(struct hf_error *err)
{
	int sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return hf_error_sys(err, -errno,
			"the kernel has neither membarrier(MEMBARRIER_CMD_GLOBAL) nor packet "
			"sockets, one of which is needed to wait for packets under way");
	close(sock);
	return 0;
}

int hf_net_lock_barrier(struct hf_error *err)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return 0;
	return packet_barrier(err);
}
