// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/netns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/cleanup.h"

int hf_netns_open(pid_t pid, struct hf_error *err)
{
	char path[64] = "/proc/thread-self/ns/net";
	int fd;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? hf_error_sys(err, -errno, "cannot open %s", path) : fd;
}

int hf_netns_create(struct hf_error *err)
{
	hf_autoclose int own = hf_netns_open(0, err);
	hf_autoclose int fresh = -1;

	if (own < 0)
		return own;
	if (unshare(CLONE_NEWNET) < 0)
		return hf_error_sys(err, -errno, "cannot make a network namespace");
	fresh = hf_netns_open(0, err);
	if (setns(own, CLONE_NEWNET) < 0)
		return hf_error_sys(err, -errno, "cannot come back to our network namespace");
	return hf_steal_fd(&fresh);
}

int hf_netns_inode(int netns, uint64_t *inode, struct hf_error *err)
{
	struct stat st;

	if (fstat(netns, &st) < 0)
		return hf_error_sys(err, -errno, "cannot look at a network namespace");
	*inode = st.st_ino;
	return 0;
}

int hf_netns_socket(int netns, int domain, int type, int protocol, struct hf_error *err)
{
	hf_autoclose int own = hf_netns_open(0, err);
	hf_autoclose int sock = -1;
	uint64_t there = 0, here = 0;
	int ret = own;

	if (ret >= 0)
		ret = hf_netns_inode(own, &here, err);
	if (ret >= 0)
		ret = hf_netns_inode(netns, &there, err);
	if (ret < 0)
		return ret;
	if (here != there && setns(netns, CLONE_NEWNET) < 0)
		return hf_error_sys(err, -errno, "cannot enter the network namespace");
	sock = socket(domain, type | SOCK_CLOEXEC, protocol);
	ret = sock < 0 ? -errno : 0;
	if (here != there && setns(own, CLONE_NEWNET) < 0)
		return hf_error_sys(err, -errno, "cannot come back to our network namespace");
	if (ret < 0)
		return hf_error_sys(err, ret, "cannot create a socket in the network namespace");
	return hf_steal_fd(&sock);
}

/* The name in /proc/self/fd does not tell: a bind-mounted namespace has the mount's path. */
static bool is_netns(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC &&
	       ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

int hf_netns_open_path(const char *path, struct hf_error *err)
{
	hf_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return hf_error_sys(err, -errno, "cannot open %s", path);
	if (!is_netns(fd))
		return hf_error_set(err, -EINVAL, "%s is not a network namespace", path);
	return hf_steal_fd(&fd);
}

int hf_netns_inherited(struct hf_error *err)
{
	hf_autoclose int own = hf_netns_open(0, err);
	hf_autoclose int found = -1;
	uint64_t here = 0, inode = 0, found_inode = 0;
	struct dirent *entry;
	int ret = 0;
	DIR *dir;

	if (own < 0)
		return own;
	ret = hf_netns_inode(own, &here, err);
	if (ret < 0)
		return ret;
	dir = opendir("/proc/self/fd");
	if (!dir)
		return hf_error_sys(err, -errno, "cannot open /proc/self/fd");
	while (ret == 0 && (entry = readdir(dir))) {
		int fd = (int)strtol(entry->d_name, NULL, 10);

		if (entry->d_name[0] == '.' || !is_netns(fd))
			continue;
		ret = hf_netns_inode(fd, &inode, err);
		if (ret < 0 || inode == here || inode == found_inode)
			continue;
		if (found >= 0) {
			ret = hf_error_set(err, -ENOTUNIQ, "several network namespaces are open");
			break;
		}
		found = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		found_inode = inode;
		if (found < 0)
			ret = hf_error_sys(err, -errno, "cannot duplicate a namespace's fd");
	}
	closedir(dir);
	if (ret == 0 && found < 0)
		ret = -ENOENT;
	return ret < 0 ? ret : hf_steal_fd(&found);
}
