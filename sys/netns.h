/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_NETNS_H
#define HF_SYS_NETNS_H

/*
 * Network namespaces, network_namespaces(7). A namespace is an open file descriptor; its identity
 * is the inode of the nsfs file.
 */
#include <stdint.h>
#include <sys/types.h>

#include "lib/error.h"

/* Opens the namespace of a task (0: our own). Returns the fd or a negative errno. */
int hf_netns_open(pid_t pid, struct hf_error *err);

/* Opens the namespace that a file names, as in /run/netns. -EINVAL: it is none. */
int hf_netns_open_path(const char *path, struct hf_error *err);

/* Makes one, which lasts as long as somebody has it open. The calling thread is in its old
 * namespace afterwards. Returns the fd or a negative errno. */
int hf_netns_create(struct hf_error *err);

/* The namespace's inode, into *inode. */
int hf_netns_inode(int netns, uint64_t *inode, struct hf_error *err);

/*
 * Creates a socket inside `netns` and comes back: the calling thread is in its old namespace
 * afterwards. Should coming back fail, the socket is closed and the error returned. Returns the fd
 * or a negative errno.
 */
int hf_netns_socket(int netns, int domain, int type, int protocol, struct hf_error *err);

/*
 * Finds a network namespace other than our own among our open file descriptors: the one a runtime
 * passed to `criu restore` with --inherit-fd. Returns a new fd, -ENOENT if there is none, -ENOTUNIQ
 * if there are several.
 */
int hf_netns_inherited(struct hf_error *err);

#endif
