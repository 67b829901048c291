// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "sys/archive.h"
#include "sys/image_file.h"

/* Podman, CRI-O and containerd keep the image directory beside files of their own. */
#define INNER_DIR "checkpoint"

static int read_dir(int dir, struct hf_image *image, struct hf_error *err)
{
	hf_autoclose int file = hf_image_file_open(dir, err);

	return file < 0 ? file : hf_image_file_read(file, image, err);
}

static int read_inner_dir(int dir, struct hf_image *image, struct hf_error *err)
{
	hf_autoclose int inner =
		openat(dir, INNER_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (inner < 0)
		return errno == ENOENT ? -ENOENT
				       : hf_error_sys(err, -errno, "cannot open " INNER_DIR);
	return read_dir(inner, image, err);
}

int hf_checkpoint_read(const char *path, struct hf_image *image, struct hf_error *err)
{
	hf_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int ret;

	if (fd < 0)
		return hf_error_sys(err, -errno, "%s", path);
	if (fstat(fd, &st) < 0)
		return hf_error_sys(err, -errno, "%s", path);
	if (S_ISDIR(st.st_mode)) {
		ret = read_dir(fd, image, err);
		if (ret == -ENOENT)
			ret = read_inner_dir(fd, image, err);
	} else {
		ret = hf_archive_image(fd, image, err);
	}
	if (ret == -ENOENT)
		return hf_error_set(err, ret,
			"%s: no %s in it: this checkpoint was made without holdfast (`holdfast "
			"check` where it was made tells why)",
			path, HF_IMAGE_NAME);
	return ret < 0 ? hf_error_context(err, ret, "%s", path) : 0;
}
