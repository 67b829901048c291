// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/tcp_state.h"
#include "plugin/guard.h"
#include "sys/parallel.h"
#include "sys/pidfd.h"

#define SAY_ATTEMPTS 20

/* The middle process ends at once, so that the guardian is nobody's child in CRIU. */
static pid_t fork_twice(const struct hf_guard *guard, int other_end)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	close(other_end);
	setsid();
	pid = fork();
	if (pid != 0)
		_exit(pid < 0);
	hf_guard_run(guard);
}

static void *share(size_t size, struct hf_error *err)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at != MAP_FAILED)
		return at;
	hf_error_sys(err, -errno, "cannot share memory with the guardian");
	return NULL;
}

int hf_guardian_page_new(struct hf_guardian_page **page, struct hf_error *err)
{
	*page = share(sizeof(**page), err);
	if (!*page)
		return -ENOMEM;
	(*page)->borrowed.sock = -1;
	return 0;
}

int hf_guardian_peers_new(struct hf_conn **peers, uint32_t n, struct hf_error *err)
{
	*peers = share(n * sizeof(**peers), err);
	return *peers ? 0 : -ENOMEM;
}

void hf_guardian_peers_free(struct hf_conn *peers, uint32_t n)
{
	if (peers)
		munmap(peers, n * sizeof(*peers));
}

void hf_guardian_page_free(struct hf_guardian_page *page)
{
	if (page)
		munmap(page, sizeof(*page));
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

static bool is_ready(int control)
{
	char word = HF_ENDED;
	ssize_t n;

	do {
		n = recv(control, &word, 1, 0);
	} while (n < 0 && errno == EINTR);
	return word == HF_READY;
}

static int start(struct hf_guardian *guardian, struct hf_guard *guard, struct hf_error *err)
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
	return status != 0 || !is_ready(guardian->control) ? no_process(err, -EAGAIN) : 0;
}

/* Those that are changed for a moment: of a dump what is read, of a restore all that is rebuilt. */
static bool is_guarded(const struct hf_guarded *guarded, uint32_t i)
{
	const struct hf_conn *conn = &guarded->image->conns[i];
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

	if (guarded->socks[i] < 0)
		return false;
	return guarded->job == HF_GUARDIAN_DUMP ? row->connected || row->received
						: row->steps[0] != HF_STEP_END;
}

static void choose_socks(struct hf_guard *guard)
{
	const struct hf_guarded *guarded = guard->guarded;

	for (uint32_t i = 0; i < guarded->image->n_conns; i++) {
		const struct hf_conn *conn = &guarded->image->conns[i];

		if (is_guarded(guarded, i))
			guard->socks[guard->n++] = (struct hf_guarded_sock){guarded->socks[i],
				conn->reuseaddr, conn->unsent + conn->fin_unsent};
	}
}

/*
 * The guardian of a dump does not look at the connections themselves. It would get a copy of each
 * page of them, made in the moment when we write what was read: so it goes without.
 */
static void pass_on_conns(const struct hf_guarded *guarded, bool passed)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const struct hf_image *image = guarded->image;
	uintptr_t start = ((uintptr_t)image->conns + page - 1) & ~(page - 1);
	uintptr_t end = (uintptr_t)(image->conns + image->n_conns) & ~(page - 1);

	/* Where it fails it takes memory, and nothing else. */
	if (guarded->job == HF_GUARDIAN_DUMP && start < end)
		madvise((uint8_t *)image->conns + (start - (uintptr_t)image->conns), end - start,
			passed ? MADV_DOFORK : MADV_DONTFORK);
}

int hf_guardian_start(
	struct hf_guardian *guardian, const struct hf_guarded *guarded, struct hf_error *err)
{
	struct hf_guard guard = {.guarded = guarded};
	size_t opened = 0;
	int ret = 0;

	*guardian = HF_GUARDIAN_NONE;
	guard.tasks = calloc(guarded->tree->n + 1, sizeof(*guard.tasks));
	guard.socks = calloc((size_t)guarded->image->n_conns + 1, sizeof(*guard.socks));
	if (!guard.tasks || !guard.socks)
		ret = no_process(err, -ENOMEM);
	while (ret == 0 && opened < guarded->tree->n) {
		int pidfd = hf_pidfd_open(guarded->tree->tasks[opened].pid, err);

		if (pidfd < 0)
			ret = pidfd;
		else
			guard.tasks[opened++] = (struct pollfd){pidfd, POLLIN, 0};
	}
	if (ret == 0) {
		choose_socks(&guard);
		pass_on_conns(guarded, false);
		ret = start(guardian, &guard, err);
		pass_on_conns(guarded, true);
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

void hf_guardian_in_thread(const struct hf_guardian *guardian)
{
	struct hf_guardian own = *guardian;

	if (!hf_has_own_files())
		return;
	hf_close_fd(&own.control);
	close_brakes(&own);
}

static bool is_short(int error)
{
	return error == ENOBUFS || error == ENOMEM || error == EAGAIN;
}

/* The brakes that there are, as ancillary data. */
static void attach_brakes(
	struct msghdr *msg, char control[HF_BRAKES_SPACE], const struct hf_guardian *guardian)
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

/* Says a word, and hands the brakes over with it. */
static int say(struct hf_guardian *guardian, enum hf_word word)
{
	char byte = (char)word;
	char control[HF_BRAKES_SPACE] __attribute__((aligned(8))) = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int attempts = 0;
	ssize_t n;

	attach_brakes(&msg, control, guardian);
	do {
		n = sendmsg(guardian->control, &msg, MSG_NOSIGNAL);
		/* It would take our end's closing for CRIU's death. */
	} while (n < 0 && (errno == EINTR || (is_short(errno) && attempts++ < SAY_ATTEMPTS &&
						     usleep(1000) == 0)));
	return n < 0 ? -errno : 0;
}

int hf_guardian_commit(struct hf_guardian *guardian, struct hf_error *err)
{
	int ret = say(guardian, HF_COMMIT);

	close_brakes(guardian);
	/* Whatever else goes wrong, it looks at the page when CRIU ends. */
	if (ret == -EPIPE || ret == -ECONNRESET)
		return hf_error_sys(err, -EPIPE, "the guardian is gone");
	return 0;
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
		say(guardian, HF_DISMISS);
	hf_guardian_close(guardian);
}
