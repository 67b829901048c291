// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/processes.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/proc_text.h"

/* /proc/PID/stat; the name, in parentheses, may hold anything. */
static int read_stat(pid_t pid, struct hf_process *process)
{
	char buf[HF_PROC_TEXT];
	const char *name, *rest;
	unsigned long long start = 0;
	int ret = hf_proc_text(pid, "stat", buf), parent = 0;

	if (ret < 0)
		return ret;
	name = strchr(buf, '(');
	rest = strrchr(buf, ')');
	/* The kernel's own numbers: they fit. */
	if (!name || !rest || rest < name ||
		/* NOLINTNEXTLINE(cert-err34-c) */
		sscanf(rest + 1,
			" %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
			"%*s %llu",
			&process->state, &parent, &start) != 3)
		return -EBADMSG;
	process->pid = pid;
	process->parent = parent;
	process->start = start;
	snprintf(process->name, sizeof(process->name), "%.*s", (int)(rest - name - 1), name + 1);
	return 0;
}

static int read_status(pid_t pid, struct hf_process *process)
{
	char buf[HF_PROC_TEXT], *at, *end;
	int ret = hf_proc_text(pid, "status", buf);

	if (ret < 0)
		return ret;
	at = strstr(buf, "\nTracerPid:");
	if (at)
		process->tracer = (pid_t)strtol(at + strlen("\nTracerPid:"), NULL, 10);
	at = strstr(buf, "\nUid:");
	/* The real one is the first, the effective one the second. */
	if (at) {
		(void)strtoul(at + strlen("\nUid:"), &end, 10);
		process->uid = (uid_t)strtoul(end, NULL, 10);
	}
	at = strstr(buf, "\nNSpid:");
	process->inner_pid = pid;
	/* From the outermost namespace to its own. */
	for (at = at ? at + strlen("\nNSpid:") : NULL; at && *at != '\n'; at = end) {
		long inner = strtol(at, &end, 10);

		if (end == at)
			break;
		process->inner_pid = (pid_t)inner;
	}
	return 0;
}

int hf_process_read(pid_t pid, struct hf_process *process)
{
	int ret = read_stat(pid, process);

	return ret < 0 ? ret : read_status(pid, process);
}

static int read_netns(pid_t pid, struct hf_process *process)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	if (stat(path, &st) < 0)
		return -errno;
	process->netns = st.st_ino;
	return 0;
}

static bool is_denied(int ret)
{
	return ret == -EACCES || ret == -EPERM;
}

static int add(struct hf_processes *list, pid_t pid)
{
	struct hf_process process = {0};
	int ret = read_stat(pid, &process);

	if (ret == 0 && (process.state == 'Z' || process.state == 'X'))
		return 0;
	if (ret == 0)
		ret = read_status(pid, &process);
	if (ret == 0)
		ret = read_netns(pid, &process);
	if (is_denied(ret))
		list->hidden++;
	else if (ret < 0)
		return ret == -ENOENT || ret == -ESRCH ? 0 : ret;
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 256;
		struct hf_process *grown = realloc(list->all, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		list->all = grown;
		list->room = room;
	}
	list->all[list->n++] = process;
	return 0;
}

static int by_pid(const void *left, const void *right)
{
	const struct hf_process *a = left, *b = right;

	return (a->pid > b->pid) - (a->pid < b->pid);
}

int hf_processes_read(struct hf_processes *list, struct hf_error *err)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int ret = 0;

	if (!dir)
		return hf_error_sys(err, -errno, "cannot open /proc");
	while (ret == 0 && (errno = 0, entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]))
			ret = add(list, (pid_t)strtol(entry->d_name, NULL, 10));
	if (ret == 0 && errno)
		ret = -errno;
	closedir(dir);
	if (ret < 0) {
		hf_processes_clear(list);
		return hf_error_sys(err, ret, "cannot list the processes");
	}
	if (list->n)
		qsort(list->all, list->n, sizeof(*list->all), by_pid);
	return 0;
}

void hf_processes_clear(struct hf_processes *list)
{
	free(list->all);
	memset(list, 0, sizeof(*list));
}

const struct hf_process *hf_process_find(const struct hf_processes *list, pid_t pid)
{
	struct hf_process key = {.pid = pid};

	return list->n ? bsearch(&key, list->all, list->n, sizeof(key), by_pid) : NULL;
}

bool hf_process_is_stopped(const struct hf_process *process)
{
	return process->state == 'T' || process->state == 't';
}

bool hf_process_is_criu(const struct hf_process *process)
{
	return strcmp(process->name, "criu") == 0;
}

/* The name is that of plugin/guardian.c; anybody can take it. */
bool hf_process_is_guardian(const struct hf_process *process)
{
	return process->uid == 0 && strcmp(process->name, HF_GUARDIAN_NAME) == 0;
}

int hf_process_maker(pid_t pid, struct hf_process *criu)
{
	struct hf_process process = {0};
	int ret = hf_process_read(pid, &process);
	const pid_t both[] = {process.tracer, process.parent};

	if (ret < 0)
		return ret;
	/* What has ended meanwhile does not make anything. */
	for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
		memset(criu, 0, sizeof(*criu));
		if (both[i] && hf_process_read(both[i], criu) == 0 && hf_process_is_criu(criu))
			return 1;
	}
	return 0;
}

int hf_process_start(pid_t pid, uint64_t *start)
{
	struct hf_process process = {0};
	int ret = read_stat(pid, &process);

	if (ret == 0)
		*start = process.start;
	return ret;
}

bool hf_process_holds(pid_t pid, int netns)
{
	struct stat wanted, found;
	struct dirent *entry;
	bool holds = false;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	if (fstat(netns, &wanted) < 0)
		return false;
	dir = opendir(path);
	if (!dir)
		return errno == EACCES || errno == EPERM;
	while (!holds && (entry = readdir(dir)))
		/* The dirfd() of an open DIR is valid. NOLINTNEXTLINE(clang-analyzer-unix.StdC*) */
		holds = fstatat(dirfd(dir), entry->d_name, &found, 0) == 0 &&
			found.st_ino == wanted.st_ino && found.st_dev == wanted.st_dev;
	closedir(dir);
	return holds;
}
