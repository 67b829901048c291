// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/grace_period.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/netlink.h"
#include "sys/netns.h"

#define LOOPBACK              1 /* its index, in every network namespace */
#define RELEASE(major, minor) ((major) << 16 | (minor))

/* The kernels whose dev_deactivate_many() has been read. What later ones do nobody knows. */
#define FIRST_KNOWN RELEASE(5ul, 6ul)
#define LAST_KNOWN  RELEASE(7ul, 2ul)

/* A socket in our namespace, and whether the loopback device is up there. One a process: who waits
 * may be a thread that gets nothing handed over. */
static struct {
	int sock;
	bool is_up;
} ours = {.sock = -1};

static bool is_known_kernel(void)
{
	struct utsname name;
	unsigned long major, minor;
	char *end;

	if (uname(&name) < 0)
		return false;
	major = strtoul(name.release, &end, 10);
	if (*end != '.' || major > 255)
		return false;
	minor = strtoul(end + 1, NULL, 10);
	return RELEASE(major, minor) >= FIRST_KNOWN && RELEASE(major, minor) <= LAST_KNOWN;
}

/* Every kernel that has queues at all has this one. */
static int add_queue(int netns)
{
	char buf[MNL_NLMSG_HDRLEN + 128] __attribute__((aligned(4))) = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct tcmsg *message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_ROUTE, NULL);
	struct hf_batch batch = {.data = (uint8_t *)buf, .first_seq = 1, .last_seq = 1};

	header->nlmsg_type = RTM_NEWQDISC;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	header->nlmsg_seq = batch.last_seq;
	message->tcm_ifindex = LOOPBACK;
	message->tcm_parent = TC_H_ROOT;
	mnl_attr_put_strz(header, TCA_KIND, "pfifo");
	batch.len = header->nlmsg_len;
	return sock < 0 ? sock : hf_netlink_batch(sock, &batch);
}

static bool set_loopback(int sock, bool up)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = up ? IFF_UP : 0};

	return ioctl(sock, SIOCSIFFLAGS, &request) == 0;
}

static void make_namespace(void)
{
	hf_autoclose int netns = hf_netns_create(NULL);
	hf_autoclose int sock = -1;

	if (netns >= 0 && add_queue(netns) == 0)
		sock = hf_netns_socket(netns, AF_INET, SOCK_DGRAM, 0, NULL);
	if (sock < 0 || !set_loopback(sock, true))
		return;
	ours.sock = hf_steal_fd(&sock);
	ours.is_up = true;
}

static int where_we_are(uint64_t *inode, struct hf_error *err)
{
	hf_autoclose int own = hf_netns_open(0, err);

	return own < 0 ? own : hf_netns_inode(own, inode, err);
}

int hf_grace_period_prepare(struct hf_error *err)
{
	uint64_t before = 0, after = 0;
	int ret = where_we_are(&before, err);

	hf_grace_period_release();
	if (ret == 0 && is_known_kernel())
		make_namespace();
	if (ret == 0)
		ret = where_we_are(&after, err);
	if (ret == 0 && before != after)
		ret = hf_error_set(err, -ENOTRECOVERABLE,
			"cannot come back to our network namespace from one that was made to wait "
			"in");
	return ret < 0 ? ret : ours.is_up;
}

void hf_grace_period_release(void)
{
	hf_close_fd(&ours.sock);
	ours.sock = -1;
	ours.is_up = false;
}

static bool wait_quickly(void)
{
	bool was_up = ours.is_up;

	ours.is_up = false;
	return was_up && set_loopback(ours.sock, false);
}

static int wait_for_packet_socket(struct hf_error *err)
{
	int sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return hf_error_sys(err, -errno,
			"the kernel has neither membarrier(MEMBARRIER_CMD_GLOBAL) nor packet "
			"sockets, one of which is needed to wait for packets under way");
	close(sock);
	return 0;
}

int hf_grace_period_wait(struct hf_error *err)
{
	if (wait_quickly() || syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return 0;
	return wait_for_packet_socket(err);
}
