// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/clock.h"

bool hf_command_find(const char *name, char path[PATH_MAX])
{
	static const char more[] = "/usr/local/sbin:/usr/sbin:/sbin";
	const char *lists[] = {getenv("PATH"), more};

	for (size_t i = 0; i < 2; i++) {
		const char *at = lists[i] ? lists[i] : "";

		while (*at) {
			const char *end = strchrnul(at, ':');
			int n = snprintf(path, PATH_MAX, "%.*s/%s", (int)(end - at), at, name);

			if (end > at && n < PATH_MAX && access(path, X_OK) == 0)
				return true;
			at = *end ? end + 1 : end;
		}
	}
	path[0] = '\0';
	return false;
}

/* Returns 0 or an errno. */
static int start(const char *const argv[], int output, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int ret = posix_spawn_file_actions_init(&actions);

	if (ret)
		return ret;
	ret = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (ret == 0)
		ret = posix_spawn_file_actions_adddup2(&actions, output, 1);
	if (ret == 0)
		ret = posix_spawn_file_actions_adddup2(&actions, output, 2);
	if (ret == 0)
		ret = posix_spawn(pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return ret;
}

/* Takes what comes until the end, or until the time is over. */
static int listen_to(struct hf_command *command, int fd, unsigned int seconds)
{
	uint64_t end = hf_now_us() + seconds * 1000000ull;
	size_t used = 0;

	for (;;) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		uint64_t now = hf_now_us();
		char beyond[512];
		size_t room = sizeof(command->output) - 1 - used;
		ssize_t n;

		if (now >= end)
			return -ETIMEDOUT;
		if (poll(&wait, 1, (int)((end - now) / 1000) + 1) <= 0)
			continue;
		n = room ? read(fd, command->output + used, room)
			 : read(fd, beyond, sizeof(beyond));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		used += room ? (size_t)n : 0;
		command->output[used] = '\0';
	}
}

int hf_command_run(struct hf_command *command, const char *const argv[], unsigned int seconds,
	struct hf_error *err)
{
	hf_autoclose int from = -1;
	hf_autoclose int to = -1;
	int status = 0, ret, fds[2];
	pid_t pid = 0;

	memset(command, 0, sizeof(*command));
	if (pipe2(fds, O_CLOEXEC) < 0)
		return hf_error_sys(err, -errno, "cannot run %s", argv[0]);
	from = fds[0];
	to = fds[1];
	ret = start(argv, to, &pid);
	close(hf_steal_fd(&to));
	if (ret != 0)
		return hf_error_sys(err, -ret, "cannot run %s", argv[0]);
	ret = listen_to(command, from, seconds);
	if (ret < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	command->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return ret < 0 ? hf_error_sys(err, ret, "%s", argv[0]) : 0;
}

const char *hf_command_line(struct hf_command *command)
{
	char *line = command->output + strspn(command->output, "\n");

	line[strcspn(line, "\n")] = '\0';
	return line;
}
