// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/at_exit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/net_lock.h"
#include "sys/pidfd.h"

struct left_task {
	int pidfd;
	pid_t pid;
};

/* What atexit(3) calls has no argument. */
static struct {
	pid_t criu;      /* 0: nothing is to be done */
	int netns, host; /* host: -1 without a lock on it */
	uint8_t id[HF_ID_SIZE];
	struct hf_guardian *guardian;
	struct left_task *tasks;
	size_t n;
} left;

/*
 * CRIU ends when it has waited for all that it kills, and has let go all else. What it still traces
 * may be about to die, which is for the guardian to see.
 */
static bool goes_on(const struct left_task *task)
{
	struct pollfd ended = {task->pidfd, POLLIN, 0};
	int n = poll(&ended, 1, 0);

	if (n == 0)
		return !hf_pidfd_is_held(task->pidfd);
	return n == 1 && !hf_pidfd_was_killed(task->pidfd, task->pid);
}

static void at_exit(void)
{
	/* CRIU's children inherit this. */
	if (left.criu != getpid())
		return;
	for (size_t i = 0; i < left.n; i++)
		if (!goes_on(&left.tasks[i]))
			return;
	if (hf_net_unlock_both(left.netns, left.host, left.id, NULL) == 0)
		hf_guardian_dismiss(left.guardian);
}

static void forget(void)
{
	for (size_t i = 0; left.tasks && i < left.n; i++)
		close(left.tasks[i].pidfd);
	free(left.tasks);
	hf_close_fd(&left.netns);
	hf_close_fd(&left.host);
	memset(&left, 0, sizeof(left));
}

void hf_at_exit_unlock(const struct hf_tree *tree, int netns, int host,
	const uint8_t id[HF_ID_SIZE], struct hf_guardian *guardian)
{
	left.netns = fcntl(netns, F_DUPFD_CLOEXEC, 0);
	left.host = host < 0 ? -1 : fcntl(host, F_DUPFD_CLOEXEC, 0);
	left.tasks = calloc(tree->n, sizeof(*left.tasks));
	left.guardian = guardian;
	memcpy(left.id, id, HF_ID_SIZE);
	while (left.tasks && left.n < tree->n) {
		struct left_task task = {-1, tree->tasks[left.n].pid};

		task.pidfd = hf_pidfd_open(task.pid, NULL);
		if (task.pidfd < 0)
			break;
		left.tasks[left.n++] = task;
	}
	left.criu = getpid();
	if (left.netns < 0 || (left.host < 0) != (host < 0) || !left.tasks || left.n < tree->n ||
		atexit(at_exit) != 0)
		forget();
}
