// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast check: the kernel, what we may do, and our own configuration. */
#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/check.h"
#include "lib/cleanup.h"
#include "sys/config_file.h"
#include "sys/kernel_check.h"
#include "sys/net_lock.h"
#include "sys/netns.h"
#include "sys/text_file.h"

#define SCRATCH_TIMEOUT_S 60

/* Found what its error says, or that it works. */
static void set(struct hf_finding *finding, int ret, const struct hf_error *err, const char *right)
{
	if (ret < 0)
		hf_found(finding, HF_CHECK_FAIL, "%s", err->text);
	else
		hf_found(finding, HF_CHECK_PASS, "%s", right);
}

/* CAP_CHECKPOINT_RESTORE is a part of CAP_SYS_ADMIN. */
static const struct {
	unsigned int number;
	const char *name;
} capabilities[] = {
	{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
	{CAP_NET_RAW, "CAP_NET_RAW"},
	{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
	{CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
	{CAP_KILL, "CAP_KILL"},
};

/* The names of those that are missing, with blanks before; "" if none is. */
static void list_missing(char *missing, size_t size)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};
	size_t len = 0;

	missing[0] = '\0';
	syscall(SYS_capget, &header, data);
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		unsigned int number = capabilities[i].number;

		if (!(data[number / 32].effective & 1u << number % 32) && len < size)
			len += (size_t)snprintf(
				missing + len, size - len, " %s", capabilities[i].name);
	}
}

/* Whether our root is that of the machine: the map is one line `0 0 4294967295`. */
static bool is_first_user_namespace(void)
{
	hf_autofree char *text = NULL;
	unsigned long long fields[3] = {0};
	size_t len;
	char *at;

	if (hf_text_file_read("/proc/self/uid_map", &text, &len, NULL) < 0)
		return true;
	at = text;
	for (size_t i = 0; i < 3; i++)
		fields[i] = strtoull(at, &at, 10);
	return fields[0] == 0 && fields[1] == 0 && fields[2] == UINT32_MAX;
}

HF_CHECK_FUNCTION(hf_check_permissions)
{
	char missing[128];

	(void)context;
	(void)check;
	list_missing(missing, sizeof(missing));
	if (geteuid() != 0)
		hf_found(finding, HF_CHECK_FAIL, "checkpoints need root: run this as root");
	else if (*missing)
		hf_found(finding, HF_CHECK_FAIL, "missing capabilities:%s", missing);
	else if (!is_first_user_namespace())
		hf_found(finding, HF_CHECK_FAIL,
			"this is a user namespace (a rootless container?): run this as the "
			"machine's own root");
	else
		hf_found(finding, HF_CHECK_PASS, "root, with all capabilities that are needed");
}

HF_CHECK_FUNCTION(hf_check_kernel)
{
	struct hf_version version = {0};
	struct utsname name;

	(void)context;
	(void)check;
	uname(&name);
	if (!hf_version_parse(&version, name.release) || hf_version_before(&version, 5, 6))
		hf_found(finding, HF_CHECK_FAIL, "Linux %s: holdfast needs 5.6 or later",
			name.release);
	else
		hf_found(finding, HF_CHECK_PASS, "Linux %s", name.release);
}

HF_CHECK_FUNCTION(hf_check_repair)
{
	struct hf_error err = HF_ERROR_INIT;
	int ret = hf_kernel_check_repair(&err);

	(void)context;
	(void)check;
	set(finding, ret, &err, "TCP_REPAIR works");
}

HF_CHECK_FUNCTION(hf_check_pidfd)
{
	struct hf_error err = HF_ERROR_INIT;
	int ret = hf_kernel_check_pidfd(&err);

	(void)context;
	(void)check;
	set(finding, ret, &err, "pidfd_getfd works");
}

HF_CHECK_FUNCTION(hf_check_sock_diag)
{
	struct hf_error err = HF_ERROR_INIT;
	hf_autoclose int netns = hf_netns_open(0, &err);
	int ret = netns < 0 ? netns : hf_kernel_check_sock_diag(netns, &err);

	(void)context;
	(void)check;
	set(finding, ret, &err, "sock_diag lists TCP sockets");
}

/* A lock for addresses that are nobody's (RFC 5737, RFC 3849), taken and removed. *tables says
 * which tables it had. */
static int try_lock_in(int netns, unsigned int *tables, struct hf_error *err)
{
	struct hf_conn conns[] = {
		{.family = HF_FAMILY_IPV4,
			.state = HF_TCP_ESTABLISHED,
			.local = {.ip = {192, 0, 2, 1}, .port = 1},
			.peer = {.ip = {192, 0, 2, 2}, .port = 1}},
		{.family = HF_FAMILY_IPV6,
			.state = HF_TCP_ESTABLISHED,
			.local = {.ip = {0x20, 1, 0xd, 0xb8, [15] = 1}, .port = 1},
			.peer = {.ip = {0x20, 1, 0xd, 0xb8, [15] = 2}, .port = 1}},
	};
	const struct hf_image image = {.conns = conns, .n_conns = 2};
	struct hf_lock_list list = {0};
	int ret = hf_net_lock_host(netns, &image, "check", SCRATCH_TIMEOUT_S, err);

	if (ret >= 0)
		ret = hf_net_lock_tables(netns, &list, err);
	*tables = list.n ? list.locks[0].tables : 0;
	hf_lock_list_clear(&list);
	return ret < 0 ? ret : hf_net_unlock_host(netns, image.id, err);
}

static int try_lock(unsigned int *tables, struct hf_error *err)
{
	hf_autoclose int netns = hf_netns_create(err);

	*tables = 0;
	return netns < 0 ? netns : try_lock_in(netns, tables, err);
}

HF_CHECK_FUNCTION(hf_check_nftables)
{
	struct hf_error err = HF_ERROR_INIT;
	unsigned int tables;
	int ret = try_lock(&tables, &err);

	(void)context;
	(void)check;
	set(finding, ret, &err,
		"a lock can be taken and removed (tried in a network namespace of its own)");
}

/* With it the packets of bridges pass through the chains of the IP families. */
static bool has_br_netfilter(void)
{
	hf_autofree char *text = NULL;
	size_t len;

	return hf_text_file_read(
		       "/proc/sys/net/bridge/bridge-nf-call-iptables", &text, &len, NULL) == 0 &&
	       text[0] == '1';
}

HF_CHECK_FUNCTION(hf_check_bridge)
{
	unsigned int tables;

	(void)context;
	(void)check;
	if (try_lock(&tables, NULL) < 0)
		hf_found(finding, HF_CHECK_SKIP, "there is no lock at all");
	else if (tables & 1u << HF_LOCK_BRIDGE)
		hf_found(finding, HF_CHECK_PASS, "a lock holds the packets of bridges, too");
	else if (has_br_netfilter())
		hf_found(finding, HF_CHECK_PASS,
			"a lock sees the packets of bridges by br_netfilter");
	else
		hf_found(finding, HF_CHECK_WARN,
			"nftables has no bridge family: peers on one bridge with a container are "
			"not held on the host; a kernel with CONFIG_NF_TABLES_BRIDGE, or the "
			"module br_netfilter, would help");
}

HF_CHECK_FUNCTION(hf_check_barrier)
{
	struct hf_error err = HF_ERROR_INIT;
	int ret = hf_net_lock_barrier(&err);

	(void)context;
	(void)check;
	set(finding, ret, &err, "packets under way can be waited for");
}

HF_CHECK_FUNCTION(hf_check_configuration)
{
	struct hf_error err = HF_ERROR_INIT;
	struct hf_config config;

	(void)context;
	(void)check;
	if (hf_config_load(&config, &err) < 0)
		hf_found(finding, HF_CHECK_FAIL, "%s", err.text);
	else if (!config.on)
		hf_found(finding, HF_CHECK_WARN,
			"holdfast is switched off (mode = off, or HOLDFAST=off in the "
			"environment): CRIU closes all connections");
	else
		hf_found(finding, HF_CHECK_PASS, "valid");
}
