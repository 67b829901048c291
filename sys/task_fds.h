/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_TASK_FDS_H
#define HF_SYS_TASK_FDS_H

/* The tasks of a process tree and the sockets they hold, from /proc. The tree must stand still. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/conn.h"
#include "lib/error.h"

struct hf_task {
	pid_t pid; /* as seen here */
	struct hf_holder
		name; /* its pids from the root task's pid namespace inwards; fd is not used */
};

struct hf_tree {
	struct hf_task *tasks; /* owned; the root first */
	size_t n;
};

/* One file descriptor that is a socket. */
struct hf_task_socket {
	uint64_t inode;
	size_t task; /* index into the tree */
	int fd;
};

struct hf_task_sockets {
	struct hf_task_socket *sockets; /* owned; sorted by inode, then task, then fd */
	size_t n;
};

/* Finds `root` and its descendants. Zombies are left out. */
int hf_tree_read(pid_t root, struct hf_tree *tree, struct hf_error *err);
void hf_tree_clear(struct hf_tree *tree);

/* The task with this name, or NULL. */
const struct hf_task *hf_tree_find(const struct hf_tree *tree, const struct hf_holder *name);

/* Lists every socket that a task of the tree holds. */
int hf_task_sockets_read(
	const struct hf_tree *tree, struct hf_task_sockets *sockets, struct hf_error *err);
void hf_task_sockets_clear(struct hf_task_sockets *sockets);

#endif
