// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/quiet.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static int compare_int(const void *left, const void *right)
{
	return *(const int *)left - *(const int *)right;
}

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

int hf_become_quiet(const char *name, int *keep, size_t n)
{
	sigset_t all;
	int fd;

	prctl(PR_SET_NAME, name);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (chdir("/") < 0)
		return -1;
	close_others(keep, n);
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < 2);
	if (fd > 2)
		close(fd);
	return 0;
}
