// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libarchive, twice: one instance uncompresses the file into a source of bytes, another reads these
 * as a tar file. So the bytes behind the archive's last entry are ours to look at: a file that was
 * cut off between two entries, or that goes on behind its end, is no archive to rely on. Where
 * nothing is compressed the file itself is the source, and what is not needed is not even read.
 */
#include "sys/archive.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#define CHUNK (64u << 10)
/* A tar file ends with two empty blocks, and may be filled up to the size of a tape's records. */
#define END_MARK    1024u
#define MAX_PADDING (1u << 20)

static const char no_archive[] =
	"neither an image directory nor a checkpoint archive (a tar file, plain or compressed with "
	"gzip or zstd)";

struct source {
	int fd;
	uint64_t read;          /* bytes of the file so far */
	struct archive *filter; /* uncompresses; NULL: the file is what it is */
	uint64_t given;         /* bytes of the tar file so far, those skipped included */
	uint64_t used;          /* where the last of them that is not 0 ends */
	char why[128];          /* what could not be read; libarchive forgets it on the way */
	uint8_t packed[CHUNK];
	uint8_t bytes[CHUNK];
};

struct tar {
	struct source *source;
	struct archive *archive;
	bool broken; /* the archive cannot be read on */
};

static int damaged(const struct source *source, struct archive *archive, struct hf_error *err)
{
	const char *why = source->why[0] ? source->why : archive_error_string(archive);

	return hf_error_set(err, -EBADMSG, "the archive is damaged: %s", why ? why : "?");
}

static la_ssize_t read_file(struct source *source, struct archive *archive, void *data, size_t len)
{
	ssize_t n;

	do {
		n = read(source->fd, data, len);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		snprintf(source->why, sizeof(source->why), "%s", strerror(errno));
		archive_set_error(archive, errno, "%s", source->why);
		return -1;
	}
	source->read += (uint64_t)n;
	return n;
}

static la_ssize_t give_packed(struct archive *archive, void *context, const void **data)
{
	struct source *source = context;

	*data = source->packed;
	return read_file(source, archive, source->packed, sizeof(source->packed));
}

/* The next bytes of the tar file, into source->bytes. */
static la_ssize_t next_bytes(struct source *source, struct archive *archive)
{
	la_ssize_t n;

	if (!source->filter) {
		n = read_file(source, archive, source->bytes, sizeof(source->bytes));
	} else {
		n = archive_read_data(source->filter, source->bytes, sizeof(source->bytes));
		if (n < 0 && source->why[0] == '\0')
			snprintf(source->why, sizeof(source->why), "%s",
				archive_error_string(source->filter));
	}
	for (la_ssize_t i = n; i > 0; i--)
		if (source->bytes[i - 1] != 0) {
			source->used = source->given + (uint64_t)i;
			break;
		}
	source->given += n > 0 ? (uint64_t)n : 0;
	return n;
}

static la_ssize_t give_bytes(struct archive *archive, void *context, const void **data)
{
	struct source *source = context;
	la_ssize_t n = next_bytes(source, archive);

	*data = source->bytes;
	if (n >= 0)
		return n;
	archive_set_error(archive, EIO, "%s", source->why);
	return -1;
}

/* Perhaps beyond the end of the file: check_end() notices. */
static la_int64_t skip_bytes(struct archive *archive, void *context, la_int64_t request)
{
	struct source *source = context;

	(void)archive;
	if (source->filter || lseek(source->fd, request, SEEK_CUR) < 0)
		return 0;
	source->given += (uint64_t)request;
	return request;
}

static int open_filter(struct source *source, struct hf_error *err)
{
	struct archive *filter = archive_read_new();
	struct archive_entry *entry;

	if (!filter)
		return hf_error_sys(err, -ENOMEM, "cannot read the archive");
	source->filter = filter;
	/* Any other answer than OK means that a program would be run. */
	if (archive_read_support_filter_gzip(filter) != ARCHIVE_OK ||
		archive_read_support_filter_zstd(filter) != ARCHIVE_OK ||
		archive_read_support_format_raw(filter) != ARCHIVE_OK)
		return hf_error_set(
			err, -EOPNOTSUPP, "this libarchive was built without gzip or zstd");
	if (archive_read_open2(filter, source, NULL, give_packed, NULL, NULL) != ARCHIVE_OK ||
		archive_read_next_header(filter, &entry) != ARCHIVE_OK)
		return hf_error_set(err, -EINVAL, "%s", no_archive);
	if (archive_filter_count(filter) > 2)
		return hf_error_set(err, -EINVAL, "the archive is compressed more than once");
	return 0;
}

static int open_source(struct source *source, int fd, struct hf_error *err)
{
	struct stat st;
	int ret;

	source->fd = fd;
	if (fstat(fd, &st) < 0)
		return hf_error_sys(err, -errno, "cannot look at the archive");
	if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
		return hf_error_set(err, -EINVAL, "%s", no_archive);
	ret = open_filter(source, err);
	if (ret == 0 && S_ISREG(st.st_mode) && archive_filter_count(source->filter) == 1) {
		archive_read_free(source->filter);
		source->filter = NULL;
		source->read = 0;
		if (lseek(fd, 0, SEEK_SET) < 0)
			ret = hf_error_sys(err, -errno, "cannot read the archive");
	}
	return ret;
}

/* Nothing of the file may be left when the last byte is uncompressed. */
static int check_packed_end(struct source *source, struct hf_error *err)
{
	la_int64_t taken;

	if (!source->filter)
		return 0;
	taken = archive_filter_bytes(source->filter, -1);
	if (read_file(source, source->filter, source->packed, 1) < 0)
		return damaged(source, source->filter, err);
	return (uint64_t)taken == source->read
		       ? 0
		       : hf_error_set(
				 err, -EBADMSG, "the archive is damaged: it goes on after its end");
}

/* `end` is where the last entry ends. */
static int check_end(struct tar *tar, uint64_t end, struct hf_error *err)
{
	struct source *source = tar->source;
	la_ssize_t n;

	do {
		n = next_bytes(source, tar->archive);
		if (n < 0)
			return damaged(tar->source, tar->archive, err);
		if (source->used > end || source->given > end + MAX_PADDING)
			return hf_error_set(
				err, -EBADMSG, "the archive is damaged: it goes on after its end");
	} while (n > 0);
	if (source->given < end + END_MARK)
		return hf_error_set(err, -EBADMSG, "the archive is damaged: its end is missing");
	return check_packed_end(source, err);
}

static bool is_image(struct archive_entry *entry)
{
	const char *path = archive_entry_pathname(entry);
	const char *slash = path ? strrchr(path, '/') : NULL;

	return path && strcmp(slash ? slash + 1 : path, HF_IMAGE_NAME) == 0;
}

static ssize_t read_entry(void *context, void *data, size_t len)
{
	struct tar *tar = context;
	la_ssize_t n = archive_read_data(tar->archive, data, len);

	tar->broken = n < 0;
	return n < 0 ? -EIO : n;
}

static int take_image(
	struct tar *tar, struct archive_entry *entry, struct hf_image *image, struct hf_error *err)
{
	const struct hf_input in = {read_entry, tar};
	int ret;

	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
		return hf_error_set(
			err, -EINVAL, "%s in it is a link or no ordinary file", HF_IMAGE_NAME);
	ret = hf_image_read(&in, image, err);
	if (ret < 0 && tar->broken)
		return damaged(tar->source, tar->archive, err);
	return ret < 0 ? hf_error_context(err, ret, "%s", HF_IMAGE_NAME) : 0;
}

/* Goes through all entries. *end is then where the last one ends. */
static int take_entries(struct tar *tar, struct hf_image *image, uint32_t *n_images, uint64_t *end,
	struct hf_error *err)
{
	for (;;) {
		struct archive_entry *entry;
		int ret = archive_read_next_header(tar->archive, &entry);

		if (ret == ARCHIVE_EOF)
			return 0;
		if (ret != ARCHIVE_OK && ret != ARCHIVE_WARN)
			return damaged(tar->source, tar->archive, err);
		if (is_image(entry) && ++*n_images > 1)
			return hf_error_set(err, -ENOTUNIQ,
				"more than one %s in it: it is not the checkpoint of one container",
				HF_IMAGE_NAME);
		if (is_image(entry)) {
			ret = take_image(tar, entry, image, err);
			if (ret < 0)
				return ret;
		}
		if (archive_read_data_skip(tar->archive) != ARCHIVE_OK)
			return damaged(tar->source, tar->archive, err);
		*end = (uint64_t)archive_filter_bytes(tar->archive, 0);
	}
}

static int read_tar(struct source *source, struct hf_image *image, struct hf_error *err)
{
	struct tar tar = {.source = source, .archive = archive_read_new()};
	uint32_t n_images = 0;
	uint64_t end = 0;
	int ret = 0;

	if (!tar.archive)
		return hf_error_sys(err, -ENOMEM, "cannot read the archive");
	if (archive_read_support_format_tar(tar.archive) != ARCHIVE_OK ||
		archive_read_open2(tar.archive, source, NULL, give_bytes, skip_bytes, NULL) !=
			ARCHIVE_OK)
		ret = source->why[0] ? damaged(source, tar.archive, err)
				     : hf_error_set(err, -EINVAL, "%s", no_archive);
	if (ret == 0)
		ret = take_entries(&tar, image, &n_images, &end, err);
	if (ret == 0)
		ret = check_end(&tar, end, err);
	if (ret == 0 && n_images == 0)
		ret = -ENOENT;
	archive_read_free(tar.archive);
	return ret;
}

int hf_archive_image(int fd, struct hf_image *image, struct hf_error *err)
{
	struct source *source = calloc(1, sizeof(*source));
	int ret;

	if (!source)
		return hf_error_sys(err, -ENOMEM, "cannot read the archive");
	ret = open_source(source, fd, err);
	if (ret == 0)
		ret = read_tar(source, image, err);
	if (ret < 0)
		hf_image_clear(image);
	if (source->filter)
		archive_read_free(source->filter);
	free(source);
	return ret;
}
