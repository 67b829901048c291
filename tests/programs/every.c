// SPDX-License-Identifier: GPL-2.0-or-later
#undef _FORTIFY_SOURCE /* its functions of the same name are in the way */
#include "every.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sched.h>
#include <unistd.h>

#define FAIL   HF_EVERY_FAIL
#define EITHER (HF_EVERY_FAIL | HF_EVERY_EINTR)
#define ANY    (HF_EVERY_FAIL | HF_EVERY_EINTR | HF_EVERY_SHORT)
#define SHORT  (-1) /* for errno: do less */

static struct hf_every *every;
static pid_t armed_in;
static bool paused;

void hf_every_arm(struct hf_every *with)
{
	armed_in = getpid();
	every = with;
}

void hf_every_disarm(void)
{
	every = NULL;
}

void hf_every_pause(bool on)
{
	paused = on;
}

static void *next(const char *function)
{
	void *found = dlsym(RTLD_NEXT, function);

	if (!found)
		abort();
	return found;
}

static void note(const char *function, const void *from)
{
	Dl_info info = {0};

	paused = true;
	every->fired = true;
	snprintf(every->function, sizeof(every->function), "%s", function);
	if (dladdr(from, &info))
		every->from = (unsigned long)((const char *)from - (const char *)info.dli_fbase);
	paused = false;
}

/* 0 where the call goes on; else errno, or SHORT. */
static int due(const char *function, unsigned int kinds, int error, const void *from)
{
	if (!every || paused || !(kinds & every->kind) ||
		(getpid() == armed_in) == every->in_children)
		return 0;
	every->calls++;
	if (every->at == 0 || every->calls < every->at ||
		(every->calls > every->at && !every->and_later))
		return 0;
	if (!every->fired)
		note(function, from);
	return every->kind == HF_EVERY_SHORT   ? SHORT
	       : every->kind == HF_EVERY_EINTR ? EINTR
					       : error;
}

#define WRAP(type, name, params, args, kinds, error, failed)                                       \
	type name params                                                                           \
	{                                                                                          \
		static type(*real) params;                                                         \
		int fault = due(#name, kinds, error, __builtin_return_address(0));                 \
                                                                                                   \
		if (fault) {                                                                       \
			errno = fault;                                                             \
			return failed;                                                             \
		}                                                                                  \
		if (!real)                                                                         \
			real = next(#name);                                                        \
		return real args;                                                                  \
	}

/* Memory. */
WRAP(void *, malloc, (size_t size), (size), FAIL, ENOMEM, NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), FAIL, ENOMEM, NULL)
WRAP(void *, realloc, (void *old, size_t size), (old, size), FAIL, ENOMEM, NULL)
WRAP(void *, mmap, (void *at, size_t len, int prot, int flags, int fd, off_t offset),
	(at, len, prot, flags, fd, offset), FAIL, ENOMEM, MAP_FAILED)

/* Files. */
WRAP(DIR *, opendir, (const char *path), (path), FAIL, EMFILE, NULL)
WRAP(struct dirent *, readdir, (DIR * dir), (dir), FAIL, EIO, NULL)
WRAP(FILE *, fopen, (const char *path, const char *mode), (path, mode), FAIL, EMFILE, NULL)
WRAP(ssize_t, readlinkat, (int dir, const char *path, char *to, size_t len), (dir, path, to, len),
	FAIL, EACCES, -1)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), FAIL, EIO, -1)
WRAP(int, fstatfs, (int fd, struct statfs *fs), (fd, fs), FAIL, EIO, -1)
WRAP(off_t, lseek, (int fd, off_t to, int from), (fd, to, from), FAIL, ESPIPE, -1)
WRAP(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), FAIL, EROFS, -1)
WRAP(ssize_t, getrandom, (void *to, size_t len, unsigned int flags), (to, len, flags), FAIL, EAGAIN,
	-1)

/* Sockets. */
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), FAIL, EMFILE, -1)
WRAP(int, socketpair, (int domain, int type, int protocol, int pair[2]),
	(domain, type, protocol, pair), FAIL, EMFILE, -1)
WRAP(int, bind, (int sock, const struct sockaddr *to, socklen_t len), (sock, to, len), FAIL, ENOMEM,
	-1)
WRAP(int, connect, (int sock, const struct sockaddr *to, socklen_t len), (sock, to, len), FAIL,
	ENOBUFS, -1)
WRAP(int, shutdown, (int sock, int how), (sock, how), FAIL, ENOTCONN, -1)
WRAP(int, getsockname, (int sock, struct sockaddr *to, socklen_t *len), (sock, to, len), FAIL,
	ENOBUFS, -1)
WRAP(int, getsockopt, (int sock, int level, int option, void *to, socklen_t *len),
	(sock, level, option, to, len), FAIL, ENOBUFS, -1)
WRAP(int, setsockopt, (int sock, int level, int option, const void *from, socklen_t len),
	(sock, level, option, from, len), FAIL, EPERM, -1)
WRAP(ssize_t, sendto,
	(int sock, const void *from, size_t len, int flags, const struct sockaddr *to,
		socklen_t to_len),
	(sock, from, len, flags, to, to_len), EITHER, ENOBUFS, -1)
WRAP(ssize_t, sendmsg, (int sock, const struct msghdr *msg, int flags), (sock, msg, flags), EITHER,
	ENOBUFS, -1)
WRAP(ssize_t, recv, (int sock, void *to, size_t len, int flags), (sock, to, len, flags), FAIL,
	ENOMEM, -1)
WRAP(ssize_t, recvmsg, (int sock, struct msghdr *msg, int flags), (sock, msg, flags), EITHER,
	ENOBUFS, -1)

/* Processes. */
WRAP(pid_t, fork, (void), (), FAIL, EAGAIN, -1)
WRAP(pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags), HF_EVERY_EINTR,
	EINTR, -1)
WRAP(int, setns, (int fd, int type), (fd, type), FAIL, EPERM, -1)
WRAP(int, chdir, (const char *path), (path), FAIL, EACCES, -1)

/* What has happened comes before a signal. */
int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	int (*real)(struct pollfd *, nfds_t, int) = next("poll");
	int ret = real(fds, n, timeout);
	int fault = ret == 0 ? due("poll", HF_EVERY_EINTR, EINTR, __builtin_return_address(0)) : 0;

	if (fault)
		errno = fault;
	return fault ? -1 : ret;
}

int open(const char *path, int flags, ...)
{
	static int (*real)(const char *, int, ...);
	int fault = due("open", FAIL, EMFILE, __builtin_return_address(0));
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	if (fault)
		errno = fault;
	if (!real)
		real = next("open");
	return fault ? -1 : real(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	static int (*real)(int, const char *, int, ...);
	int fault = due("openat", FAIL, EMFILE, __builtin_return_address(0));
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	if (fault)
		errno = fault;
	if (!real)
		real = next("openat");
	return fault ? -1 : real(dir, path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
	static int (*real)(int, int, ...);
	int fault = due("fcntl", FAIL, EMFILE, __builtin_return_address(0));
	va_list args;
	void *value;

	va_start(args, command);
	value = va_arg(args, void *);
	va_end(args);
	if (fault)
		errno = fault;
	if (!real)
		real = next("fcntl");
	return fault ? -1 : real(fd, command, value);
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int, unsigned long, ...);
	int fault = due("ioctl", FAIL, EIO, __builtin_return_address(0));
	va_list args;
	void *value;

	va_start(args, request);
	value = va_arg(args, void *);
	va_end(args);
	if (fault)
		errno = fault;
	if (!real)
		real = next("ioctl");
	return fault ? -1 : real(fd, request, value);
}

static int error_of(long number)
{
	switch (number) {
	case SYS_pidfd_open:
		return EMFILE;
	case SYS_membarrier:
		return ENOSYS;
	default:
		return EPERM;
	}
}

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	int fault = due("syscall", FAIL, error_of(number), __builtin_return_address(0));
	long at[6];
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		at[i] = va_arg(args, long);
	va_end(args);
	if (fault)
		errno = fault;
	if (!real)
		real = next("syscall");
	return fault ? -1 : real(number, at[0], at[1], at[2], at[3], at[4], at[5]);
}

/* Files of /proc are read whole, and a signal does not end that. */
static unsigned int kinds_of(int fd, unsigned int kinds)
{
	struct statfs fs;
	bool before = paused, is_proc;

	if (!every)
		return kinds;
	paused = true;
	is_proc = fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
	paused = before;
	return is_proc ? FAIL : kinds;
}

/* How much of len bytes: all, less, or none with errno set. */
static size_t part(
	const char *function, unsigned int kinds, int error, size_t len, const void *from)
{
	int fault = len > 1 ? due(function, kinds, error, from) : 0;

	if (fault > 0)
		errno = fault;
	return fault > 0 ? 0 : fault == SHORT ? len / 2 : len;
}

#define WRAP_PART(name, params, args, kinds, error)                                                \
	ssize_t name params                                                                        \
	{                                                                                          \
		static ssize_t(*real) params;                                                      \
		size_t all = len;                                                                  \
                                                                                                   \
		if (!real)                                                                         \
			real = next(#name);                                                        \
		len = part(#name, kinds, error, len, __builtin_return_address(0));                 \
		return all && !len ? -1 : real args;                                               \
	}

WRAP_PART(read, (int fd, void *to, size_t len), (fd, to, len), kinds_of(fd, ANY), EIO)
WRAP_PART(pread, (int fd, void *to, size_t len, off_t at), (fd, to, len, at), ANY, EIO)
WRAP_PART(write, (int fd, const void *from, size_t len), (fd, from, len), ANY, ENOSPC)
WRAP_PART(send, (int sock, const void *from, size_t len, int flags), (sock, from, len, flags), ANY,
	ENOBUFS)

static ssize_t read_really(int fd, void *to, size_t len)
{
	ssize_t (*real)(int, void *, size_t) = next("read");

	return real(fd, to, len);
}

/* What the plugin calls where it is built with _FORTIFY_SOURCE. */
ssize_t __read_chk(int fd, void *to, size_t len, size_t room);
ssize_t __read_chk(int fd, void *to, size_t len, size_t room)
{
	size_t all = len;

	len = part("read", kinds_of(fd, ANY), EIO, len, __builtin_return_address(0));
	return all && !len ? -1 : read_really(fd, to, len < room ? len : room);
}
