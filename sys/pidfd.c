// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/pidfd.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/proc_text.h"

#define ID_PIDFD 3 /* P_PIDFD, which C libraries know since a while only */

/* struct pidfd_info of Linux 6.13, with what PIDFD_INFO_EXIT (6.15) fills in. */
struct pidfd_info_exit {
	uint64_t mask;
	uint64_t cgroupid;
	uint32_t ids[11]; /* pid, tgid, ppid, and the user and group ids */
	int32_t exit_code;
};
#define INFO_EXIT       (UINT64_C(1) << 3)
#define INFO_GET_NUMBER 11
#define INFO_GET        _IOWR(0xff, INFO_GET_NUMBER, struct pidfd_info_exit)

int hf_pidfd_open(pid_t pid, struct hf_error *err)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? hf_error_sys(err, -errno, "pidfd_open of task %d failed", (int)pid) : fd;
}

int hf_pidfd_getfd(int pidfd, int fd, struct hf_error *err)
{
	int dup = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return dup < 0 ? hf_error_sys(err, -errno, "pidfd_getfd of fd %d failed", fd) : dup;
}

void hf_pidfd_kill(int pidfd)
{
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

bool hf_pidfd_is_held(int pidfd)
{
	siginfo_t info = {0};

	/* Of those of others it knows nothing: ECHILD. */
	return waitid((idtype_t)ID_PIDFD, (id_t)pidfd, &info,
		       WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 &&
	       info.si_pid == 0;
}

static bool status_of_reaped(int pidfd, int *status)
{
	struct pidfd_info_exit info = {.mask = INFO_EXIT};

	if (ioctl(pidfd, INFO_GET, &info) < 0 || !(info.mask & INFO_EXIT))
		return false;
	*status = info.exit_code;
	return true;
}

/* The state, and the last field of /proc/PID/stat, exit_code in proc(5). */
static bool read_stat(pid_t pid, char *state, int *status)
{
	char buf[HF_PROC_TEXT];
	const char *at;

	if (hf_proc_text(pid, "stat", buf) < 0)
		return false;
	at = strrchr(buf, ')');
	if (!at || !at[1])
		return false;
	*state = at[2];
	*status = (int)strtol(strrchr(at, ' ') + 1, NULL, 10);
	return true;
}

static bool status_of_zombie(pid_t pid, int *status)
{
	char state;

	return read_stat(pid, &state, status) && (state == 'Z' || state == 'X');
}

static bool is_sigkill(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* In a set of signals of /proc/PID/status. */
static bool is_pending(const char *text, const char *set)
{
	const char *line = strstr(text, set);

	return line && (strtoull(line + strlen(set), NULL, 16) & UINT64_C(1) << (SIGKILL - 1));
}

bool hf_task_is_being_killed(pid_t pid)
{
	char buf[HF_PROC_TEXT], state;
	int status = 0;

	if (hf_proc_text(pid, "status", buf) == 0 &&
		(is_pending(buf, "\nSigPnd:") || is_pending(buf, "\nShdPnd:")))
		return true;
	/* It has taken the signal. */
	return read_stat(pid, &state, &status) && is_sigkill(status);
}

bool hf_pidfd_was_killed(int pidfd, pid_t pid)
{
	int status = 0;

	/* It may be asked for between the two. */
	if (!status_of_reaped(pidfd, &status) && !status_of_zombie(pid, &status) &&
		!status_of_reaped(pidfd, &status))
		return true;
	return is_sigkill(status);
}
