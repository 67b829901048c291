// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs a command on a kernel that lacks something: hf-deny WHAT COMMAND..., by a seccomp filter
 * that answers the system call as such a kernel does.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ANY (~0u)

/* Up to two arguments that the call must have; ANY where it does not matter. */
static const struct denial {
	const char *what;
	unsigned int call;
	unsigned int index[2], value[2];
	unsigned int error;
} denials[] = {
	{"pidfd_getfd", SYS_pidfd_getfd, {0, 0}, {ANY, ANY}, ENOSYS},
	{"membarrier", SYS_membarrier, {0, 0}, {ANY, ANY}, EINVAL}, /* as with nohz_full */
	{"if_flags", SYS_ioctl, {1, 0}, {SIOCSIFFLAGS, ANY}, EPERM},
	{"nftables", SYS_socket, {0, 2}, {AF_NETLINK, NETLINK_NETFILTER}, EPROTONOSUPPORT},
	{"sock_diag", SYS_socket, {0, 2}, {AF_NETLINK, NETLINK_SOCK_DIAG}, EPROTONOSUPPORT},
	{"packet", SYS_socket, {0, 0}, {AF_PACKET, ANY}, EAFNOSUPPORT},
	{"tcp_repair", SYS_setsockopt, {1, 2}, {IPPROTO_TCP, TCP_REPAIR}, ENOPROTOOPT},
	{"congestion", SYS_setsockopt, {1, 2}, {IPPROTO_TCP, TCP_CONGESTION}, ENOENT},
	{"user_timeout", SYS_setsockopt, {1, 2}, {IPPROTO_TCP, TCP_USER_TIMEOUT}, ENOPROTOOPT},
	{"ip_options", SYS_setsockopt, {1, 2}, {IPPROTO_IP, IP_OPTIONS}, ENOPROTOOPT},
};

static int deny(const struct denial *denial)
{
	struct sock_filter code[10];
	unsigned short n = 0;
	struct sock_fprog program = {.filter = code};
	unsigned int tests = 1 + (denial->value[0] != ANY) + (denial->value[1] != ANY);

	/* Each test that fails jumps over the rest, and over the denial, to the last instruction.
	 */
	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	code[n++] = (struct sock_filter)BPF_JUMP(
		BPF_JMP | BPF_JEQ | BPF_K, denial->call, 0, (unsigned char)(2 * (tests - 1) + 1));
	for (unsigned int i = 0; i + 1 < tests; i++) {
		code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			(unsigned int)offsetof(struct seccomp_data, args) + 8 * denial->index[i]);
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
			denial->value[i], 0, (unsigned char)(2 * (tests - 2 - i) + 1));
	}
	code[n++] =
		(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | denial->error);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 2 && i < sizeof(denials) / sizeof(denials[0]); i++) {
		if (strcmp(argv[1], denials[i].what) != 0)
			continue;
		if (deny(&denials[i]) == 0)
			execvp(argv[2], argv + 2);
		perror("hf-deny");
		return 126;
	}
	fprintf(stderr, "usage: hf-deny WHAT COMMAND...\n");
	for (size_t i = 0; i < sizeof(denials) / sizeof(denials[0]); i++)
		fprintf(stderr, "  %s\n", denials[i].what);
	return 2;
}
