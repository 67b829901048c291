// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/image_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/pidfd.h"

int hf_image_file_create(struct hf_image_file *file, int dir, struct hf_error *err)
{
	struct stat st;
	int ret;

	file->fd = -1;
	if (fstat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return hf_error_set(err, -ENOTDIR,
			"CRIU has no image directory (streaming?): holdfast needs one");
	if (unlinkat(dir, HF_IMAGE_NAME, 0) < 0 && errno != ENOENT)
		return hf_error_sys(err, -errno, "cannot replace %s", HF_IMAGE_NAME);
	file->fd = openat(
		dir, HF_IMAGE_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file->fd < 0)
		return hf_error_sys(err, -errno, "cannot create %s", HF_IMAGE_NAME);
	ret = hf_write_behind_start(&file->out, file->fd);
	if (ret < 0) {
		hf_close_fd(&file->fd);
		unlinkat(dir, HF_IMAGE_NAME, 0);
		return hf_error_sys(err, ret, "cannot create %s", HF_IMAGE_NAME);
	}
	return 0;
}

static int put(void *context, const void *data, size_t len)
{
	return hf_write_behind_put(context, data, len);
}

struct hf_output hf_image_file_output(struct hf_image_file *file)
{
	return (struct hf_output){put, &file->out};
}

int hf_image_file_add(struct hf_image_file *file, size_t len, struct hf_error *err)
{
	int ret = hf_write_behind_add(&file->out, len);

	return ret < 0 ? hf_error_sys(err, ret, "cannot write %s", HF_IMAGE_NAME) : 0;
}

int hf_image_file_flush(struct hf_image_file *file, struct hf_error *err)
{
	int ret = hf_write_behind_flush(&file->out);

	return ret < 0 ? hf_error_sys(err, ret, "cannot write %s", HF_IMAGE_NAME) : 0;
}

int hf_image_file_finish(struct hf_image_file *file, struct hf_error *err)
{
	int ret = hf_write_behind_end(&file->out);

	if (close(file->fd) < 0 && ret == 0)
		ret = -errno;
	file->fd = -1;
	return ret < 0 ? hf_error_sys(err, ret, "cannot write %s", HF_IMAGE_NAME) : 0;
}

int hf_image_file_remove(int dir, struct hf_error *err)
{
	if (unlinkat(dir, HF_IMAGE_NAME, 0) < 0 && errno != ENOENT)
		return hf_error_sys(err, -errno, "cannot remove %s", HF_IMAGE_NAME);
	return 0;
}

/* A FIFO would have us wait for whoever writes to it. */
int hf_image_file_open(int dir, struct hf_error *err)
{
	hf_autoclose int fd =
		openat(dir, HF_IMAGE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 || fstat(fd, &st) < 0)
		return hf_error_sys(err, -errno, "cannot open %s", HF_IMAGE_NAME);
	if (!S_ISREG(st.st_mode))
		return hf_error_set(err, -EINVAL, "%s is no ordinary file", HF_IMAGE_NAME);
	return hf_steal_fd(&fd);
}

/* By its name, also where it was unlinked meanwhile. 1, 0, or a negative errno. */
static int is_image(int dir, const char *entry)
{
	static const char deleted[] = " (deleted)";
	char path[PATH_MAX];
	/* The dirfd() of an open DIR is valid. NOLINTNEXTLINE(clang-analyzer-unix.StdC*) */
	ssize_t len = readlinkat(dir, entry, path, sizeof(path) - 1);
	size_t name = strlen(HF_IMAGE_NAME);
	const char *base;

	/* No link; or closed meanwhile. */
	if (len < 0)
		return errno == EINVAL || errno == ENOENT ? 0 : -errno;
	path[len] = '\0';
	base = strrchr(path, '/');
	return base && strncmp(base + 1, HF_IMAGE_NAME, name) == 0 &&
	       (base[1 + name] == '\0' || strcmp(base + 1 + name, deleted) == 0);
}

/* Its number there, or -ENOENT. */
static int find_image(pid_t pid, struct hf_error *err)
{
	int ret = 0, number = -ENOENT;
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return hf_error_sys(err, errno == ENOENT ? -ESRCH : -errno, "cannot open %s", path);
	while (ret == 0 && (entry = readdir(dir))) {
		ret = is_image(dirfd(dir), entry->d_name);
		if (ret > 0)
			number = (int)strtol(entry->d_name, NULL, 10);
	}
	closedir(dir);
	return ret < 0 ? hf_error_sys(err, ret, "cannot look at %s", path) : number;
}

int hf_image_file_of(pid_t pid, struct hf_error *err)
{
	int number = find_image(pid, err);
	hf_autoclose int pidfd = -1;

	if (number < 0)
		return number;
	pidfd = hf_pidfd_open(pid, err);
	return pidfd < 0 ? pidfd : hf_pidfd_getfd(pidfd, number, err);
}

static ssize_t read_some(void *context, void *data, size_t len)
{
	ssize_t n;

	do {
		n = read(*(const int *)context, data, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int hf_image_file_read(int fd, struct hf_image *image, struct hf_error *err)
{
	const struct hf_input in = {read_some, &fd};
	int ret = lseek(fd, 0, SEEK_SET) < 0
			  ? hf_error_sys(err, -errno, "cannot read from the start")
			  : hf_image_read(&in, image, err);

	return ret < 0 ? hf_error_context(err, ret, "%s", HF_IMAGE_NAME) : 0;
}

int hf_image_file_at(int fd, uint64_t offset, void *data, size_t len, struct hf_error *err)
{
	uint8_t *to = data;

	while (len > 0) {
		ssize_t n = pread(fd, to, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return hf_error_sys(
				err, n < 0 ? -errno : -EIO, "cannot read %s", HF_IMAGE_NAME);
		to += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}
