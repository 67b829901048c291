/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_NETNS_LIST_H
#define HF_SYS_NETNS_LIST_H

/* The network namespaces that are in use: those of the processes, and those with a name. */
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "sys/processes.h"

#define HF_NETNS_DIR "/run/netns"

struct hf_netns_entry {
	uint64_t inode;
	int fd;     /* owned */
	char *path; /* owned; in HF_NETNS_DIR, else below /proc */
};

struct hf_netns_list {
	struct hf_netns_entry *all; /* owned */
	size_t n;
};

/*
 * Lists into *list, zeroed before. What has gone meanwhile is left out; the first that cannot be
 * opened for any other reason is in *err, and the others are listed all the same: returns its
 * negative errno, or 0. The caller clears *list in any case.
 */
int hf_netns_list(
	const struct hf_processes *processes, struct hf_netns_list *list, struct hf_error *err);

/* The list of one, by its path. */
int hf_netns_list_one(const char *path, struct hf_netns_list *list, struct hf_error *err);

/*
 * The namespace, other than our own, of the processes that we are making: our children and those
 * that we trace. Returns a new fd, -ENOENT if there is none, -ENOTUNIQ if there are several, or
 * another negative errno.
 */
int hf_netns_made(struct hf_error *err);

/* The namespace with this inode, or NULL. */
const struct hf_netns_entry *hf_netns_find(const struct hf_netns_list *list, uint64_t inode);

void hf_netns_list_clear(struct hf_netns_list *list);

#endif
