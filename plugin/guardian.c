// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/tcp_state.h"
#include "plugin/kick.h"
#include "plugin/quiet.h"
#include "sys/net_lock.h"
#include "sys/pidfd.h"
#include "sys/processes.h"

enum word { READY = 'R', COMMIT = 'C', UNLOCK = 'U', DISMISS = 'D', ENDED = 0 };

/* Bytes of a message that hands all brakes over. */
#define BRAKES_SPACE CMSG_SPACE(sizeof(int) * HF_BRAKES)

/* CRIU waits for killed tasks before it ends; if it was killed itself, they may need a moment to
 * die. */
#define DYING_MS        20
#define SAY_ATTEMPTS    20
#define UNLOCK_ATTEMPTS 4
#define DEATH_MS        5000 /* SIGKILL takes that long at most, unless the kernel itself is stuck */

struct guarded_sock {
	int fd;
	bool reuseaddr; /* SO_REUSEADDR, which repair mode takes for itself */
};

/* The guardian's own view of it all. */
struct guard {
	const struct hf_guarded *guarded;
	int control;
	struct pollfd *tasks; /* pidfds; -1 where the task has ended */
	struct guarded_sock *socks;
	uint32_t n;
};

static size_t n_tasks(const struct guard *guard)
{
	return guard->guarded->tree->n;
}

static void report(const struct guard *guard, const char *what)
{
	char id[HF_ID_TEXT];

	syslog(LOG_NOTICE, "checkpoint %s, %u connections: %s",
		hf_id_format(id, guard->guarded->image->id), guard->n, what);
}

/* What a reading that was broken off had changed; sockets that were not being read are left alone.
 */
static void thaw_all(const struct guard *guard)
{
	hf_tcp_give_back(guard->guarded->borrowed);
	for (uint32_t i = 0; i < guard->n; i++)
		if (hf_tcp_is_frozen(guard->socks[i].fd))
			hf_tcp_thaw(guard->socks[i].fd, guard->socks[i].reuseaddr, NULL);
}

static void silence_all(const struct guard *guard)
{
	for (uint32_t i = 0; i < guard->n; i++) {
		hf_tcp_freeze(guard->socks[i].fd, NULL);
		close(guard->socks[i].fd);
	}
}

static int try_unlock(const struct hf_guarded *guarded)
{
	const uint8_t *id = guarded->image->id;
	int host = guarded->host < 0 ? 0 : hf_net_unlock_host(guarded->host, id, NULL);
	int ret = hf_net_unlock(guarded->netns, id, NULL);

	return ret < 0 ? ret : host;
}

/* Nobody else will. */
static void unlock(const struct guard *guard)
{
	int ret = try_unlock(guard->guarded);

	for (int i = 0; ret < 0 && i < UNLOCK_ATTEMPTS; i++) {
		usleep(1000u << i);
		ret = try_unlock(guard->guarded);
	}
	if (ret < 0)
		report(guard, "the lock could not be removed: run holdfast recover");
}

/*
 * The lock is gone. It takes a moment to reach many peers, in which nobody waits for us: the
 * sockets are the application's alone, and others may run.
 */
static void wake_peers(const struct guard *guard)
{
	const struct hf_guarded *guarded = guard->guarded;

	if (!guarded->kicked)
		return;
	for (uint32_t i = 0; i < guard->n; i++)
		close(guard->socks[i].fd);
	sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
	hf_kick_all(guarded->netns, guarded->kicked, guarded->image->n_conns);
}

static void kill_all(const struct guard *guard)
{
	for (size_t i = 0; i < n_tasks(guard); i++)
		if (guard->tasks[i].fd >= 0)
			hf_pidfd_kill(guard->tasks[i].fd);
	for (size_t i = 0; i < n_tasks(guard); i++)
		if (guard->tasks[i].fd >= 0)
			poll(&guard->tasks[i], 1, DEATH_MS);
}

/* The next word of the plugin; ENDED when CRIU is gone. The brakes that come with it are left open
 * until we end. */
static enum word next_word(int control)
{
	char word, buf[BRAKES_SPACE] __attribute__((aligned(8)));
	struct iovec iov = {&word, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = buf,
		.msg_controllen = sizeof(buf)};
	ssize_t n;

	do {
		n = recvmsg(control, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? (enum word)word : ENDED;
}

/*
 * Looks at the tasks that have ended. True if one of them was killed, which is what CRIU does after
 * a dump. One that ended otherwise belongs to an application that goes on.
 */
static bool was_killed(const struct guard *guard)
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

/* After a commit: whether the tasks are killed. Until CRIU has ended, and a moment longer. */
static bool await_fate(const struct guard *guard)
{
	struct pollfd *control = &guard->tasks[n_tasks(guard)];

	*control = (struct pollfd){guard->control, POLLIN, 0};
	for (;;) {
		int n = poll(guard->tasks, n_tasks(guard) + 1, control->fd < 0 ? DYING_MS : -1);

		if (n == 0)
			return false;
		if (n < 0)
			continue;
		if (was_killed(guard))
			return true;
		if (control->revents) {
			control->fd = -1;
			control->revents = 0;
		}
	}
}

static void guard_dump(const struct guard *guard)
{
	enum word word = next_word(guard->control);

	if (word == DISMISS)
		return;
	if (word != COMMIT) {
		thaw_all(guard);
		unlock(guard);
		report(guard, "CRIU ended during the dump; the application goes on");
		wake_peers(guard);
	} else if (await_fate(guard)) {
		kill_all(guard);
		silence_all(guard);
		report(guard, "dumped; the lock stays until the restore");
	} else {
		unlock(guard);
		report(guard, "dumped; the application goes on");
		wake_peers(guard);
	}
}

static void guard_restore(const struct guard *guard)
{
	enum word word = next_word(guard->control);
	bool unlocked = word == UNLOCK;

	if (unlocked)
		word = next_word(guard->control) == DISMISS ? DISMISS : UNLOCK;
	if (word == UNLOCK) {
		/* The tasks run as soon as CRIU is gone, so the sockets come first. */
		thaw_all(guard);
		unlock(guard);
		report(guard, "CRIU ended during the restore, which was complete");
	} else if (word != DISMISS) {
		kill_all(guard);
		report(guard, "CRIU ended during the restore; the lock stays, restore it again");
	}
	if (unlocked)
		wake_peers(guard);
}

/* Keeps nothing open but what guards, and ends. */
static void run(const struct guard *guard)
{
	const struct hf_guarded *guarded = guard->guarded;
	size_t n = 0, room = n_tasks(guard) + guard->n + 3;
	int *keep = malloc(room * sizeof(*keep));
	const char word = READY;

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

/* The middle process ends at once, so that the guardian is nobody's child in CRIU. */
static pid_t fork_twice(const struct guard *guard, int other_end)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	close(other_end);
	setsid();
	pid = fork();
	if (pid != 0)
		_exit(pid < 0);
	run(guard);
	_exit(1);
}

static int no_process(struct hf_error *err, int code)
{
	return hf_error_sys(err, code, "cannot start the guardian");
}

/* The same file at a number of at least `least`. */
static int move_up(int fd, int least)
{
	int moved = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, least);

	if (fd >= 0)
		close(fd);
	return moved;
}

/* -1 where there is none to be had: then CRIU's death is quick. */
static int make_brake(int least)
{
	return move_up(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0), least);
}

static int start(struct hf_guardian *guardian, struct guard *guard, struct hf_error *err)
{
	hf_autoclose int theirs = -1;
	int pair[2], status = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return no_process(err, -errno);
	theirs = pair[1];
	for (int i = 0; i < HF_BRAKES_BELOW; i++)
		guardian->brakes[i] = make_brake(i ? guardian->brakes[i - 1] + 1 : 0);
	guardian->control = move_up(pair[0], guardian->brakes[HF_BRAKES_BELOW - 1] + 1);
	if (guardian->control < 0)
		return no_process(err, -errno);
	guardian->brakes[HF_BRAKES_BELOW] = make_brake(guardian->control + 1);
	guard->control = theirs;
	pid = fork_twice(guard, guardian->control);
	if (pid < 0)
		return no_process(err, -errno);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return no_process(err, -errno);
	/* Its own end would keep us from seeing it die. */
	close(hf_steal_fd(&theirs));
	return status != 0 || next_word(guardian->control) != READY ? no_process(err, -EAGAIN) : 0;
}

/* Those that can be in repair mode: of a dump the connections, of a restore all that is rebuilt. */
static bool is_guarded(const struct hf_guarded *guarded, uint32_t i)
{
	const struct hf_conn *conn = &guarded->image->conns[i];
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

	if (guarded->socks[i] < 0)
		return false;
	return guarded->job == HF_GUARDIAN_DUMP ? row->connected : row->steps[0] != HF_STEP_END;
}

static void choose_socks(struct guard *guard)
{
	const struct hf_guarded *guarded = guard->guarded;

	for (uint32_t i = 0; i < guarded->image->n_conns; i++)
		if (is_guarded(guarded, i))
			guard->socks[guard->n++] = (struct guarded_sock){
				guarded->socks[i], guarded->image->conns[i].reuseaddr};
}

int hf_guardian_start(
	struct hf_guardian *guardian, const struct hf_guarded *guarded, struct hf_error *err)
{
	struct guard guard = {.guarded = guarded};
	size_t opened = 0;
	int ret = 0;

	*guardian = HF_GUARDIAN_NONE;
	guard.tasks = calloc(n_tasks(&guard) + 1, sizeof(*guard.tasks));
	guard.socks = calloc((size_t)guarded->image->n_conns + 1, sizeof(*guard.socks));
	if (!guard.tasks || !guard.socks)
		ret = no_process(err, -ENOMEM);
	while (ret == 0 && opened < n_tasks(&guard)) {
		int pidfd = hf_pidfd_open(guarded->tree->tasks[opened].pid, err);

		if (pidfd < 0)
			ret = pidfd;
		else
			guard.tasks[opened++] = (struct pollfd){pidfd, POLLIN, 0};
	}
	if (ret == 0) {
		choose_socks(&guard);
		ret = start(guardian, &guard, err);
	}
	if (ret < 0)
		hf_guardian_close(guardian);
	while (opened > 0)
		close(guard.tasks[--opened].fd);
	free(guard.tasks);
	free(guard.socks);
	return ret;
}

static void close_brakes(struct hf_guardian *guardian)
{
	for (int i = 0; i < HF_BRAKES; i++) {
		hf_close_fd(&guardian->brakes[i]);
		guardian->brakes[i] = -1;
	}
}

static bool is_short(int error)
{
	return error == ENOBUFS || error == ENOMEM || error == EAGAIN;
}

/* The brakes that there are, as ancillary data. */
static void attach_brakes(
	struct msghdr *msg, char control[BRAKES_SPACE], const struct hf_guardian *guardian)
{
	int fds[HF_BRAKES];
	size_t n = 0;
	struct cmsghdr *cmsg;

	for (int i = 0; i < HF_BRAKES; i++)
		if (guardian->brakes[i] >= 0)
			fds[n++] = guardian->brakes[i];
	if (n == 0)
		return;
	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(n * sizeof(int));
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
}

/* Says a word, and hands the brakes over with the last one. */
static int say(struct hf_guardian *guardian, enum word word, bool with_brakes)
{
	char byte = (char)word;
	char control[BRAKES_SPACE] __attribute__((aligned(8))) = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int attempts = 0;
	ssize_t n;

	if (with_brakes)
		attach_brakes(&msg, control, guardian);
	do {
		n = sendmsg(guardian->control, &msg, MSG_NOSIGNAL);
		/* It would take our end's closing for CRIU's death. */
	} while (n < 0 && (errno == EINTR || (is_short(errno) && attempts++ < SAY_ATTEMPTS &&
						     usleep(1000) == 0)));
	if (n < 0)
		return -errno;
	if (with_brakes)
		close_brakes(guardian);
	return 0;
}

int hf_guardian_commit(struct hf_guardian *guardian, struct hf_error *err)
{
	int ret = say(guardian, COMMIT, true);

	return ret < 0 ? hf_error_sys(err, ret, "the guardian is gone") : 0;
}

int hf_guardian_unlock(struct hf_guardian *guardian, struct hf_error *err)
{
	int ret = say(guardian, UNLOCK, false);

	return ret < 0 ? hf_error_sys(err, ret, "the guardian is gone") : 0;
}

void hf_guardian_close(struct hf_guardian *guardian)
{
	hf_close_fd(&guardian->control);
	close_brakes(guardian);
	*guardian = HF_GUARDIAN_NONE;
}

void hf_guardian_dismiss(struct hf_guardian *guardian)
{
	if (guardian->control >= 0)
		say(guardian, DISMISS, true);
	hf_guardian_close(guardian);
}
