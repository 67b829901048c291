// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/net_lock.h"
#include "sys/task_fds.h"
#include "sys/tcp_repair.h"

enum word { READY = 'R', COMMIT = 'C', DISMISS = 'D' };

/* CRIU waits for killed tasks before it ends; if it was killed itself, they may need a moment to
 * die. */
#define DYING_MS 20

static int compare_int(const void *left, const void *right)
{
	return *(const int *)left - *(const int *)right;
}

/* Closes every fd but those in keep[], which gets sorted. */
static void close_others(int *keep, size_t n)
{
	int next = 0;

	qsort(keep, n, sizeof(*keep), compare_int);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] > next)
			close_range((unsigned int)next, (unsigned int)keep[i] - 1, 0);
		next = keep[i] + 1;
	}
	close_range((unsigned int)next, ~0u, 0);
}

/* The standard descriptors are open to nowhere, so that no socket ever gets their numbers. */
static void become_quiet(const struct hf_guarded *guarded, int control, int pidfd)
{
	size_t n = 0;
	int *keep = malloc((guarded->n + 3) * sizeof(*keep));
	sigset_t all;

	prctl(PR_SET_NAME, "holdfast-guard");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (chdir("/") < 0 || !keep)
		_exit(1);
	keep[n++] = control;
	keep[n++] = pidfd;
	keep[n++] = guarded->netns;
	for (uint32_t i = 0; i < guarded->n; i++)
		keep[n++] = guarded->socks[i].fd;
	close_others(keep, n);
	free(keep);
	for (int fd = open("/dev/null", O_RDWR); fd >= 0 && fd < 2; fd = open("/dev/null", O_RDWR))
		;
}

static void thaw_all(const struct hf_guarded *guarded)
{
	for (uint32_t i = 0; i < guarded->n; i++)
		hf_tcp_thaw(guarded->socks[i].fd, guarded->socks[i].reuseaddr, NULL);
}

static void silence_all(const struct hf_guarded *guarded)
{
	for (uint32_t i = 0; i < guarded->n; i++) {
		hf_tcp_freeze(guarded->socks[i].fd, NULL);
		close(guarded->socks[i].fd);
	}
}

static bool is_dead(int pidfd, int timeout_ms)
{
	struct pollfd dead = {pidfd, POLLIN, 0};

	return poll(&dead, 1, timeout_ms) > 0;
}

/* Waits for the next word of the plugin; 0 when CRIU has ended. Returns early, with -1, when the
 * root task dies. */
static int next_word(int control, int pidfd, bool mind_death)
{
	struct pollfd fds[2] = {{control, POLLIN, 0}, {pidfd, POLLIN, 0}};
	char word = 0;

	for (;;) {
		if (poll(fds, mind_death ? 2 : 1, -1) < 0)
			continue;
		if (mind_death && fds[1].revents)
			return -1;
		if (fds[0].revents)
			return read(control, &word, 1) == 1 ? word : 0;
	}
}

static void guard(const struct hf_guarded *guarded, int control, int pidfd)
{
	int word = next_word(control, pidfd, false);

	if (word == DISMISS)
		return;
	if (word != COMMIT) {
		thaw_all(guarded);
		hf_net_unlock(guarded->netns, guarded->id, NULL);
		return;
	}
	next_word(control, pidfd, true);
	if (is_dead(pidfd, DYING_MS))
		silence_all(guarded);
	else
		hf_net_unlock(guarded->netns, guarded->id, NULL);
}

static int say(int control, char word)
{
	ssize_t n;

	do {
		n = send(control, &word, 1, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* The middle process ends at once, so that the guardian is nobody's child in CRIU. */
static void fork_again(const struct hf_guarded *guarded, int control, int pidfd)
{
	pid_t pid;

	setsid();
	pid = fork();
	if (pid != 0)
		_exit(pid < 0);
	become_quiet(guarded, control, pidfd);
	if (say(control, READY) < 0)
		_exit(1);
	guard(guarded, control, pidfd);
	_exit(0);
}

int hf_guardian_start(const struct hf_guarded *guarded, struct hf_error *err)
{
	hf_autoclose int pidfd = hf_pidfd_open(guarded->root, err);
	hf_autoclose int ours = -1;
	hf_autoclose int theirs = -1;
	int pair[2], status = 0;
	pid_t pid;

	if (pidfd < 0)
		return pidfd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return hf_error_sys(err, -errno, "cannot start the guardian");
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return hf_error_sys(err, -errno, "cannot start the guardian");
	if (pid == 0) {
		close(ours);
		fork_again(guarded, theirs, pidfd);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return hf_error_sys(err, -errno, "cannot start the guardian");
	/* Its own end would keep the guardian from seeing ours closed, and us from seeing it die.
	 */
	close(hf_steal_fd(&theirs));
	if (status != 0 || next_word(ours, pidfd, false) != READY)
		return hf_error_set(
			err, -EAGAIN, "cannot start the guardian: no process to be had");
	return hf_steal_fd(&ours);
}

int hf_guardian_commit(int control, struct hf_error *err)
{
	int ret = say(control, COMMIT);

	return ret < 0 ? hf_error_sys(err, ret, "the guardian is gone") : 0;
}

void hf_guardian_dismiss(int control)
{
	say(control, DISMISS);
	close(control);
}
