// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/task_fds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/parallel.h"
#include "sys/proc_text.h"

#define SHARE 512 /* descriptors, at least, for a thread of its own */

/* Reads /proc/PID/status and returns where the line starts whose name is given, after the colon. */
static char *status_line(pid_t pid, const char *name, char buf[HF_PROC_TEXT])
{
	char *at;

	if (hf_proc_text(pid, "status", buf) < 0)
		return NULL;
	at = strstr(buf, name);
	return at ? at + strlen(name) : NULL;
}

static bool is_zombie(pid_t pid)
{
	char buf[HF_PROC_TEXT];
	const char *at = status_line(pid, "\nState:\t", buf);

	return !at || *at == 'Z' || *at == 'X';
}

/* All pids of a task, from the outermost namespace that we see. Returns how many, or a negative
 * errno. */
static int all_pids(pid_t pid, uint32_t pids[HF_MAX_PID_LEVELS])
{
	char buf[HF_PROC_TEXT];
	char *at = status_line(pid, "\nNSpid:", buf);
	int n = 0;

	if (!at)
		return -ESRCH;
	while (n < HF_MAX_PID_LEVELS && *at != '\n' && *at != '\0') {
		char *end;

		pids[n] = (uint32_t)strtoul(at, &end, 10);
		if (end == at)
			break;
		n++;
		at = end;
	}
	return n ? n : -ESRCH;
}

/* `outside` is the number of pid namespaces outside the root task's own. */
static int add_task(struct hf_tree *tree, pid_t pid, int *outside, struct hf_error *err)
{
	uint32_t pids[HF_MAX_PID_LEVELS];
	struct hf_task *grown, *task;
	int n = all_pids(pid, pids);

	if (n < 0)
		return hf_error_sys(err, n, "cannot read the pids of task %d", (int)pid);
	if (*outside < 0)
		*outside = n - 1;
	if (n <= *outside)
		return hf_error_set(err, -EINVAL,
			"task %d is outside the pid namespace of the root task", (int)pid);
	grown = realloc(tree->tasks, (tree->n + 1) * sizeof(*grown));
	if (!grown)
		return hf_error_sys(err, -ENOMEM, "cannot list the tasks");
	tree->tasks = grown;
	task = &tree->tasks[tree->n++];
	memset(task, 0, sizeof(*task));
	task->pid = pid;
	task->name.levels = (uint32_t)(n - *outside);
	memcpy(task->name.pid, pids + *outside, task->name.levels * sizeof(pids[0]));
	return 0;
}

/* Adds the children that one thread made. */
static int add_children(struct hf_tree *tree, const char *path, int *outside, struct hf_error *err)
{
	FILE *file = fopen(path, "re");
	int child, ret = 0;

	if (!file)
		return errno == ENOENT ? 0 : hf_error_sys(err, -errno, "cannot open %s", path);
	/* The kernel's own numbers: they fit. */
	while (ret == 0 && fscanf(file, "%d", &child) == 1) /* NOLINT(cert-err34-c) */
		if (!is_zombie(child))
			ret = add_task(tree, child, outside, err);
	if (ret == 0 && ferror(file))
		ret = hf_error_sys(err, -EIO, "cannot read %s", path);
	fclose(file);
	return ret;
}

static int add_descendants(struct hf_tree *tree, pid_t pid, int *outside, struct hf_error *err)
{
	char path[352];
	struct dirent *entry;
	int ret = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return hf_error_sys(err, -errno, "cannot open %s", path);
	while (ret == 0 && (errno = 0, entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/children", (int)pid, entry->d_name);
		ret = add_children(tree, path, outside, err);
	}
	if (ret == 0 && errno)
		ret = hf_error_sys(err, -errno, "cannot list the threads of task %d", (int)pid);
	closedir(dir);
	return ret;
}

int hf_tree_read(pid_t root, struct hf_tree *tree, struct hf_error *err)
{
	int outside = -1;
	int ret = add_task(tree, root, &outside, err);

	/* The array grows while it is walked: breadth first. */
	for (size_t i = 0; i < tree->n && ret == 0; i++)
		ret = add_descendants(tree, tree->tasks[i].pid, &outside, err);
	if (ret < 0)
		hf_tree_clear(tree);
	return ret;
}

void hf_tree_clear(struct hf_tree *tree)
{
	free(tree->tasks);
	memset(tree, 0, sizeof(*tree));
}

const struct hf_task *hf_tree_find(const struct hf_tree *tree, const struct hf_holder *name)
{
	for (size_t i = 0; i < tree->n; i++) {
		const struct hf_holder *other = &tree->tasks[i].name;

		if (other->levels == name->levels &&
			memcmp(other->pid, name->pid, name->levels * sizeof(name->pid[0])) == 0)
			return &tree->tasks[i];
	}
	return NULL;
}

static int add_socket(struct hf_task_sockets *sockets, size_t *room, struct hf_task_socket socket,
	struct hf_error *err)
{
	if (sockets->n == *room) {
		size_t more = *room ? 2 * *room : 256;
		struct hf_task_socket *grown = realloc(sockets->sockets, more * sizeof(*grown));

		if (!grown)
			return hf_error_sys(err, -ENOMEM, "cannot list the sockets");
		sockets->sockets = grown;
		*room = more;
	}
	sockets->sockets[sockets->n++] = socket;
	return 0;
}

/* Descriptors of a task, and what they are. */
struct listing {
	int dir; /* /proc/PID/fd */
	int *fds;
	uint64_t *inodes; /* of sockets; 0: something else */
	uint32_t n;
};

/* Descriptors that we may not look at could be sockets. */
static int look_at(const struct listing *listing, uint32_t i)
{
	static const char prefix[] = "socket:[";
	char name[16], target[64];
	ssize_t len;

	snprintf(name, sizeof(name), "%d", listing->fds[i]);
	len = readlinkat(listing->dir, name, target, sizeof(target) - 1);
	if (len < 0)
		return errno == ENOENT ? 0 : -errno;
	target[len] = '\0';
	if (strncmp(target, prefix, strlen(prefix)) == 0)
		listing->inodes[i] = strtoull(target + strlen(prefix), NULL, 10);
	return 0;
}

static int look_at_some(void *context, uint32_t from, uint32_t to, struct hf_error *err)
{
	const struct listing *listing = context;
	int ret = 0;

	for (uint32_t i = from; i < to && ret == 0; i++) {
		ret = look_at(listing, i);
		if (ret < 0)
			hf_error_sys(err, ret, "cannot look at fd %d", listing->fds[i]);
	}
	return ret;
}

static int make_room(struct listing *listing, uint32_t room)
{
	int *fds = realloc(listing->fds, ((size_t)room + 1) * sizeof(*fds));

	if (!fds)
		return -ENOMEM;
	listing->fds = fds;
	return 0;
}

static int list_entries(struct listing *listing)
{
	struct dirent *entry;
	uint32_t room = 0;
	int ret = 0, own = fcntl(listing->dir, F_DUPFD_CLOEXEC, 0);
	DIR *dir = own < 0 ? NULL : fdopendir(own);

	if (!dir) {
		ret = -errno;
		hf_close_fd(&own);
		return ret;
	}
	while (ret == 0 && (errno = 0, entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (listing->n == room) {
			room = room ? 2 * room : 64;
			ret = make_room(listing, room);
		}
		if (ret == 0)
			listing->fds[listing->n++] = (int)strtol(entry->d_name, NULL, 10);
	}
	if (ret == 0)
		ret = -errno;
	closedir(dir);
	return ret;
}

/* How many descriptors the task has room for; 0 if that cannot be told. */
static uint32_t table_size(pid_t pid)
{
	char buf[HF_PROC_TEXT];
	const char *at = status_line(pid, "\nFDSize:", buf);

	return at ? (uint32_t)strtoul(at, NULL, 10) : 0;
}

/*
 * The numbers that may be descriptors. The kernel makes something of every entry that it lists, so
 * where most of the table is in use (Linux 6.2 tells how much is) all of it is tried instead.
 */
static int list_numbers(struct listing *listing, pid_t pid)
{
	struct stat dir;
	uint32_t size = table_size(pid);
	int ret;

	if (fstat(listing->dir, &dir) < 0)
		return -errno;
	if (size == 0 || dir.st_size < size / 2)
		return list_entries(listing);
	ret = make_room(listing, size);
	while (ret == 0 && listing->n < size) {
		listing->fds[listing->n] = (int)listing->n;
		listing->n++;
	}
	return ret;
}

static int read_listing(struct listing *listing, pid_t pid, struct hf_error *err)
{
	int ret = list_numbers(listing, pid);

	if (ret == 0) {
		listing->inodes = calloc((size_t)listing->n + 1, sizeof(*listing->inodes));
		ret = listing->inodes ? 0 : -ENOMEM;
	}
	if (ret < 0)
		return hf_error_sys(err, ret, "cannot list the files");
	return hf_parallel(listing->n, SHARE, look_at_some, listing, err);
}

static int add_task_sockets(const struct hf_tree *tree, size_t task,
	struct hf_task_sockets *sockets, size_t *room, struct hf_error *err)
{
	pid_t pid = tree->tasks[task].pid;
	struct listing listing = {0};
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	listing.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (listing.dir < 0)
		return hf_error_sys(err, -errno, "cannot open %s", path);
	ret = read_listing(&listing, pid, err);
	if (ret < 0)
		hf_error_context(err, ret, "%s", path);
	for (uint32_t i = 0; i < listing.n && ret == 0; i++)
		if (listing.inodes[i])
			ret = add_socket(sockets, room,
				(struct hf_task_socket){listing.inodes[i], task, listing.fds[i]},
				err);
	close(listing.dir);
	free(listing.fds);
	free(listing.inodes);
	return ret;
}

static int by_inode(const void *left, const void *right)
{
	const struct hf_task_socket *a = left, *b = right;

	if (a->inode != b->inode)
		return a->inode > b->inode ? 1 : -1;
	if (a->task != b->task)
		return a->task > b->task ? 1 : -1;
	return (a->fd > b->fd) - (a->fd < b->fd);
}

int hf_task_sockets_read(
	const struct hf_tree *tree, struct hf_task_sockets *sockets, struct hf_error *err)
{
	size_t room = 0;
	int ret = 0;

	for (size_t i = 0; i < tree->n && ret == 0; i++)
		ret = add_task_sockets(tree, i, sockets, &room, err);
	if (ret < 0)
		hf_task_sockets_clear(sockets);
	else if (sockets->n)
		qsort(sockets->sockets, sockets->n, sizeof(*sockets->sockets), by_inode);
	return ret;
}

void hf_task_sockets_clear(struct hf_task_sockets *sockets)
{
	free(sockets->sockets);
	memset(sockets, 0, sizeof(*sockets));
}
