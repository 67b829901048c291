// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/image_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE ((size_t)256 << 10) /* stays in the cache until it is counted */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* False where there is no memory either. */
static bool use_memory(struct hf_image_map *map, size_t len)
{
	*map = HF_IMAGE_MAP_NONE;
	map->data = malloc(len);
	map->len = len;
	return map->data != NULL;
}

/* False where the file system cannot do it. */
static bool use_file(struct hf_image_map *map, int fd, uint64_t offset, size_t len, int prot)
{
	size_t before = offset % (uint64_t)sysconf(_SC_PAGESIZE);
	void *pages = mmap(NULL, before + len, prot, MAP_SHARED, fd, (off_t)(offset - before));

	if (pages == MAP_FAILED)
		return false;
	*map = (struct hf_image_map){(uint8_t *)pages + before, len, pages, before + len};
	return true;
}

void hf_image_map_clear(struct hf_image_map *map)
{
	if (map->pages)
		munmap(map->pages, map->size);
	else
		free(map->data);
	*map = HF_IMAGE_MAP_NONE;
}

/* All pages at once, which is quicker than one by one; where it fails, one by one will. */
static void fetch_pages(const struct hf_image_map *map)
{
	if (map->pages)
		madvise(map->pages, map->size, MADV_POPULATE_WRITE);
}

/* Makes the file so long, with its blocks if the file system can, so that a full one shows here. */
static int extend(int fd, uint64_t from, size_t len)
{
	if (fallocate(fd, 0, (off_t)from, (off_t)len) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	return ftruncate(fd, (off_t)(from + len)) < 0 ? -errno : 0;
}

int hf_image_map_next(struct hf_image_map *map, struct hf_image_file *file, size_t before,
	size_t len, struct hf_error *err)
{
	uint64_t from;
	int ret = hf_image_file_flush(file, err);

	*map = HF_IMAGE_MAP_NONE;
	if (ret < 0)
		return ret;
	from = file->out.filled + before;
	ret = extend(file->fd, from, len);
	if (ret < 0)
		return hf_error_sys(err, ret, "cannot write %s", HF_IMAGE_NAME);
	if (!use_file(map, file->fd, from, len, PROT_READ | PROT_WRITE) && !use_memory(map, len))
		return hf_error_sys(err, -ENOMEM, "cannot hold the queues");
	fetch_pages(map);
	return 0;
}

/* The checksum is that of what the file has, read again. */
static int count(struct hf_image_file *file, size_t len, struct hf_image_writer *writer,
	struct hf_error *err)
{
	int ret = hf_image_file_flush(file, err);

	for (size_t at = 0; at < len && ret == 0;) {
		struct iovec to[2];

		hf_write_behind_room(&file->out, len - at < PIECE ? len - at : PIECE, to);
		ret = hf_image_file_at(
			file->fd, file->out.filled + at, to[0].iov_base, to[0].iov_len, err);
		if (ret == 0)
			ret = hf_image_count_bytes(writer, to[0].iov_base, to[0].iov_len, err);
		at += to[0].iov_len;
	}
	if (ret < 0)
		return ret;
	ret = hf_write_behind_skip(&file->out, len);
	return ret < 0 ? hf_error_sys(err, ret, "cannot write %s", HF_IMAGE_NAME) : 0;
}

int hf_image_map_done(struct hf_image_map *map, struct hf_image_file *file,
	struct hf_image_writer *writer, struct hf_error *err)
{
	int ret = map->pages ? count(file, map->len, writer, err)
			     : hf_image_write_bytes(writer, map->data, map->len, err);

	hf_image_map_clear(map);
	return ret;
}

int hf_image_map_read(
	struct hf_image_map *map, int fd, uint64_t offset, size_t len, struct hf_error *err)
{
	int ret;

	*map = HF_IMAGE_MAP_NONE;
	if (use_file(map, fd, offset, len, PROT_READ))
		return 0;
	if (!use_memory(map, len))
		return hf_error_sys(err, -ENOMEM, "cannot hold the queues");
	ret = hf_image_file_at(fd, offset, map->data, len, err);
	if (ret < 0)
		hf_image_map_clear(map);
	return ret;
}
