// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/netns_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/netns.h"

const struct hf_netns_entry *hf_netns_find(const struct hf_netns_list *list, uint64_t inode)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->all[i].inode == inode)
			return &list->all[i];
	return NULL;
}

/* One that is listed already is left out. */
static int add(struct hf_netns_list *list, const char *path, struct hf_error *err)
{
	hf_autoclose int fd = hf_netns_open_path(path, err);
	struct hf_netns_entry *grown;
	hf_autofree char *copy = NULL;
	uint64_t inode = 0;
	int ret = fd < 0 ? fd : hf_netns_inode(fd, &inode, err);

	if (ret < 0 || hf_netns_find(list, inode))
		return ret < 0 ? ret : 0;
	grown = realloc(list->all, (list->n + 1) * sizeof(*grown));
	if (grown)
		list->all = grown;
	copy = strdup(path);
	if (!grown || !copy)
		return hf_error_sys(err, -ENOMEM, "cannot list the network namespaces");
	list->all[list->n++] = (struct hf_netns_entry){inode, hf_steal_fd(&fd), copy};
	copy = NULL;
	return 0;
}

/* Adds one of many: it may be gone, or a name without a namespace; the first error is kept. */
static int add_one_of_many(
	struct hf_netns_list *list, const char *path, int before, struct hf_error *err)
{
	int ret = add(list, path, before < 0 ? NULL : err);

	if (ret == -ENOENT || ret == -ESRCH || ret == -EINVAL)
		return before;
	return before < 0 ? before : ret;
}

static int add_named(struct hf_netns_list *list, struct hf_error *err)
{
	DIR *dir = opendir(HF_NETNS_DIR);
	struct dirent *entry;
	int ret = 0;

	if (!dir)
		return errno == ENOENT ? 0 : hf_error_sys(err, -errno, "cannot open " HF_NETNS_DIR);
	while ((entry = readdir(dir))) {
		char path[sizeof(HF_NETNS_DIR) + sizeof(entry->d_name)];

		snprintf(path, sizeof(path), HF_NETNS_DIR "/%s", entry->d_name);
		if (entry->d_name[0] != '.')
			ret = add_one_of_many(list, path, ret, err);
	}
	closedir(dir);
	return ret;
}

int hf_netns_list(
	const struct hf_processes *processes, struct hf_netns_list *list, struct hf_error *err)
{
	int ret = add_named(list, err);

	for (size_t i = 0; i < processes->n; i++) {
		const struct hf_process *process = &processes->all[i];
		char path[64];

		if (process->netns && hf_netns_find(list, process->netns))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)process->pid);
		ret = add_one_of_many(list, path, ret, err);
	}
	return ret;
}

int hf_netns_list_one(const char *path, struct hf_netns_list *list, struct hf_error *err)
{
	return add(list, path, err);
}

void hf_netns_list_clear(struct hf_netns_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		close(list->all[i].fd);
		free(list->all[i].path);
	}
	free(list->all);
	memset(list, 0, sizeof(*list));
}

/* A process in it, 0 for none, or -ENOTUNIQ. */
static pid_t find_made(const struct hf_processes *processes, uint64_t own)
{
	const struct hf_process *found = NULL;

	for (size_t i = 0; i < processes->n; i++) {
		const struct hf_process *process = &processes->all[i];

		if ((process->parent != getpid() && process->tracer != getpid()) ||
			process->netns == 0 || process->netns == own)
			continue;
		if (found && found->netns != process->netns)
			return -ENOTUNIQ;
		found = process;
	}
	return found ? found->pid : 0;
}

int hf_netns_made(struct hf_error *err)
{
	hf_autoclose int own = hf_netns_open(0, err);
	struct hf_processes processes = {0};
	uint64_t inode = 0;
	int ret = own < 0 ? own : hf_netns_inode(own, &inode, err);

	if (ret == 0)
		ret = hf_processes_read(&processes, err);
	if (ret == 0)
		ret = (int)find_made(&processes, inode);
	hf_processes_clear(&processes);
	if (ret == -ENOTUNIQ)
		hf_error_set(err, ret, "the tasks have several network namespaces");
	if (ret == 0)
		return -ENOENT;
	return ret < 0 ? ret : hf_netns_open((pid_t)ret, err);
}
