// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/guard.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "plugin/kick.h"
#include "plugin/quiet.h"
#include "sys/net_lock.h"
#include "sys/pidfd.h"
#include "sys/processes.h"
#include "sys/sockopt_int.h"
#include "sys/tcp_peek.h"

/* CRIU waits for killed tasks before it ends; if it was killed itself, they may need a moment to
 * die. */
#define DYING_MS        20
#define SOCK_ATTEMPTS   3
#define HEAR_ATTEMPTS   100
#define UNLOCK_ATTEMPTS 4
#define CLOCK_S         3    /* that clocks of two hosts may differ */
#define DEATH_MS        5000 /* SIGKILL takes that long at most, unless the kernel itself is stuck */

static size_t n_tasks(const struct hf_guard *guard)
{
	return guard->guarded->tree->n;
}

static void report(const struct hf_guard *guard, const char *what)
{
	char id[HF_ID_TEXT];

	syslog(LOG_NOTICE, "checkpoint %s, %u connections: %s",
		hf_id_format(id, guard->guarded->image->id), guard->n, what);
}

/* CRIU may have been killed when repair mode was off, and the option not yet back. */
static bool is_as_before(const struct hf_guarded_sock *sock)
{
	int reuseaddr = 0;

	return !hf_tcp_is_frozen(sock->fd) &&
	       hf_get_int(sock->fd, SOL_SOCKET, SO_REUSEADDR, &reuseaddr) == 0 &&
	       (reuseaddr != 0) == sock->reuseaddr;
}

/* What a reading that was broken off had changed; sockets that were not being read are left alone.
 */
static void thaw_all(const struct hf_guard *guard)
{
	hf_tcp_give_back(&guard->guarded->page->borrowed);
	for (uint32_t i = 0; i < guard->n; i++)
		for (int k = 0; k < SOCK_ATTEMPTS && !is_as_before(&guard->socks[i]); k++)
			hf_tcp_thaw(guard->socks[i].fd, guard->socks[i].reuseaddr, NULL);
}

static void silence_all(const struct hf_guard *guard)
{
	for (uint32_t i = 0; i < guard->n; i++) {
		int ret = hf_tcp_freeze(guard->socks[i].fd, NULL);

		for (int k = 1; ret < 0 && k < SOCK_ATTEMPTS; k++)
			ret = hf_tcp_freeze(guard->socks[i].fd, NULL);
		close(guard->socks[i].fd);
	}
}

static int try_unlock(const struct hf_guarded *guarded)
{
	return hf_net_unlock_both(guarded->netns, guarded->host, guarded->image->id, NULL);
}

/* Nobody else will. */
static void unlock(const struct hf_guard *guard)
{
	int ret = try_unlock(guard->guarded);

	for (int i = 0; ret < 0 && i < UNLOCK_ATTEMPTS; i++) {
		usleep(1000u << i);
		ret = try_unlock(guard->guarded);
	}
	if (ret < 0)
		report(guard, "the lock could not be removed: run holdfast recover");
}

static uint64_t outage_s(const struct hf_image *image)
{
	uint64_t now = (uint64_t)time(NULL);

	/* The other host's clock may have been ahead. */
	return now < image->created ? UINT32_MAX : now - image->created + CLOCK_S;
}

/*
 * The lock is gone. It takes a moment to reach many peers, in which nobody waits for us: the
 * sockets are the application's alone, others may run, and whoever dumps them next meets nobody who
 * is busy with a lock.
 */
static void wake_peers(const struct hf_guard *guard)
{
	const struct hf_guarded *guarded = guard->guarded;

	const struct hf_wake wake = {.netns = guarded->netns,
		.conns = guarded->peers,
		.n = guarded->image->n_conns,
		.paused = guarded->page->paused,
		.opened = guarded->page->opened,
		.rebuilt = guarded->job == HF_GUARDIAN_RESTORE,
		.kick = guarded->kick,
		.outage_s = outage_s(guarded->image),
		.task = guard->tasks[0].fd};

	if (!wake.conns || (!wake.paused && !wake.kick))
		return;
	for (uint32_t i = 0; i < guard->n; i++) {
		/* After a dump the tasks may have run before the lock was removed. */
		if (guarded->job == HF_GUARDIAN_DUMP)
			hf_tcp_flush(guard->socks[i].fd);
		close(guard->socks[i].fd);
	}
	sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
	prctl(PR_SET_NAME, HF_WAKER_NAME);
	hf_wake_peers(&wake);
}

static void kill_all(const struct hf_guard *guard)
{
	for (size_t i = 0; i < n_tasks(guard); i++)
		if (guard->tasks[i].fd >= 0)
			hf_pidfd_kill(guard->tasks[i].fd);
	for (size_t i = 0; i < n_tasks(guard); i++)
		if (guard->tasks[i].fd >= 0)
			poll(&guard->tasks[i], 1, DEATH_MS);
}

static bool has_hung_up(int control)
{
	struct pollfd end = {control, 0, 0};

	return poll(&end, 1, 0) == 1 && (end.revents & POLLHUP);
}

/*
 * The next word of the plugin; HF_ENDED when CRIU is gone. While it is there an error is none of
 * its own, and what it has said last may still be there when it is gone. The brakes that come with
 * a word are left open until we end.
 */
static enum hf_word next_word(int control)
{
	char word, buf[HF_BRAKES_SPACE] __attribute__((aligned(8)));
	struct iovec iov = {&word, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = buf,
		.msg_controllen = sizeof(buf)};
	int attempts = 0;
	ssize_t n;

	do {
		n = recvmsg(control, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && (errno == EINTR || (usleep(1000) == 0 && !has_hung_up(control)) ||
				  attempts++ < HEAR_ATTEMPTS));
	return n == 1 ? (enum hf_word)word : HF_ENDED;
}

/*
 * Looks at the tasks that have ended. True if one of them was killed, which is what CRIU does after
 * a dump. One that ended otherwise belongs to an application that goes on.
 */
static bool was_killed(const struct hf_guard *guard)
{
	for (size_t i = 0; i < n_tasks(guard); i++) {
		struct pollfd *task = &guard->tasks[i];

		if (task->fd < 0 || !task->revents)
			continue;
		if (hf_pidfd_was_killed(task->fd, guard->guarded->tree->tasks[i].pid))
			return true;
		close(task->fd);
		task->fd = -1;
	}
	return false;
}

/* CRIU may have been killed while it waited for a task with much memory to end. */
static bool is_being_killed(const struct hf_guard *guard)
{
	for (size_t i = 0; i < n_tasks(guard); i++)
		if (guard->tasks[i].fd >= 0 &&
			hf_task_is_being_killed(guard->guarded->tree->tasks[i].pid))
			return true;
	return false;
}

enum fate { FATE_KILLED, FATE_GOES_ON, FATE_UNLOCKED };

/* What becomes of the tasks after a dump. Until CRIU has ended, and a moment longer; or until it
 * says that they go on, and that the lock is gone. */
static enum fate await_fate(const struct hf_guard *guard)
{
	struct pollfd *control = &guard->tasks[n_tasks(guard)];

	*control = (struct pollfd){guard->control, POLLIN, 0};
	for (;;) {
		int n = poll(guard->tasks, n_tasks(guard) + 1, control->fd < 0 ? DYING_MS : -1);

		if (n == 0)
			return is_being_killed(guard) ? FATE_KILLED : FATE_GOES_ON;
		if (n < 0)
			continue;
		if (was_killed(guard))
			return FATE_KILLED;
		if (!control->revents)
			continue;
		if (next_word(guard->control) == HF_DISMISS)
			return FATE_UNLOCKED;
		control->fd = -1;
		control->revents = 0;
	}
}

static void guard_begun_dump(const struct hf_guard *guard)
{
	thaw_all(guard);
	unlock(guard);
	report(guard, "CRIU ended during the dump; the application goes on");
	wake_peers(guard);
}

static void guard_complete_dump(const struct hf_guard *guard, enum fate fate)
{
	if (fate == FATE_KILLED) {
		kill_all(guard);
		silence_all(guard);
		report(guard, "dumped; the lock stays until the restore");
		return;
	}
	if (fate == FATE_GOES_ON)
		unlock(guard);
	report(guard, "dumped; the application goes on");
	wake_peers(guard);
}

static void guard_dump(const struct hf_guard *guard)
{
	bool is_dismissed = next_word(guard->control) == HF_DISMISS;

	if (guard->guarded->page->complete)
		guard_complete_dump(guard, is_dismissed ? FATE_UNLOCKED : await_fate(guard));
	else if (is_dismissed)
		wake_peers(guard);
	else
		guard_begun_dump(guard);
}

/* What was held back in the rebuilt queues, and would go out with the last step of the restore. */
static void send_held(const struct hf_guard *guard)
{
	for (uint32_t i = 0; i < guard->n; i++) {
		const struct hf_guarded_sock *sock = &guard->socks[i];

		if (hf_tcp_is_sent(sock->fd, sock->unsent))
			continue;
		hf_tcp_push(sock->fd);
		if (!hf_tcp_is_sent(sock->fd, sock->unsent))
			hf_tcp_count_as_sent(sock->fd, sock->reuseaddr, NULL);
	}
}

static void guard_restore(const struct hf_guard *guard)
{
	bool is_dismissed = next_word(guard->control) == HF_DISMISS;

	if (!guard->guarded->page->complete) {
		kill_all(guard);
		/* One may be out of repair mode, while what is unsent is queued. */
		silence_all(guard);
		if (!is_dismissed)
			report(guard,
				"CRIU ended during the restore; the lock stays, restore it again");
		return;
	}
	if (!is_dismissed) {
		/* The tasks run as soon as CRIU is gone, so the sockets come first. */
		thaw_all(guard);
		unlock(guard);
		send_held(guard);
		report(guard, "CRIU ended during the restore, which was complete");
	}
	wake_peers(guard);
}

void hf_guard_run(const struct hf_guard *guard)
{
	const struct hf_guarded *guarded = guard->guarded;
	size_t n = 0, room = n_tasks(guard) + guard->n + 3;
	int *keep = malloc(room * sizeof(*keep));
	const char word = HF_READY;

	if (!keep)
		_exit(1);
	keep[n++] = guard->control;
	keep[n++] = guarded->netns;
	if (guarded->host >= 0)
		keep[n++] = guarded->host;
	for (size_t i = 0; i < n_tasks(guard); i++)
		keep[n++] = guard->tasks[i].fd;
	for (uint32_t i = 0; i < guard->n; i++)
		keep[n++] = guard->socks[i].fd;
	if (hf_become_quiet(HF_GUARDIAN_NAME, keep, n) < 0)
		_exit(1);
	free(keep);
	/* When CRIU dies, every moment counts. */
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &(struct sched_param){1});
	openlog("holdfast", LOG_PID, LOG_DAEMON);
	if (send(guard->control, &word, 1, MSG_NOSIGNAL) < 0)
		_exit(1);
	if (guarded->job == HF_GUARDIAN_DUMP)
		guard_dump(guard);
	else
		guard_restore(guard);
	_exit(0);
}
