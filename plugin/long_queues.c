// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/long_queues.h"

#include <errno.h>

#define PART ((size_t)256 << 10) /* that the file can have while the checksum goes on */

/*
 * Less may be unsent by now: a timer that paces goes on, and the kernel counts as sent what runs
 * into the lock. No peer has got it, so what the record says stays true.
 */
static bool is_same(const struct hf_conn *now, const struct hf_conn *then)
{
	return now->state == then->state && now->recv.seq == then->recv.seq &&
	       now->recv.len == then->recv.len && now->send.seq == then->send.seq &&
	       now->send.len == then->send.len && now->unsent <= then->unsent;
}

/* The image that is being written, as the sink of queues. */
struct target {
	struct hf_image_file *file;
	struct hf_image_writer *writer;
	struct hf_error *err;
};

static size_t find_room(void *context, size_t len, struct iovec to[2])
{
	const struct target *target = context;

	return hf_write_behind_room(&target->file->out, len, to);
}

static int take(void *context, size_t len)
{
	const struct target *target = context;
	const struct hf_write_behind *out = &target->file->out;
	int ret = 0;

	while (len > 0 && ret == 0) {
		struct iovec next = hf_write_behind_next(out, len < PART ? len : PART);

		ret = hf_image_count_bytes(
			target->writer, next.iov_base, next.iov_len, target->err);
		if (ret == 0)
			ret = hf_image_file_add(target->file, next.iov_len, target->err);
		len -= next.iov_len;
	}
	return ret;
}

/*
 * The record is in the image already, so what the socket says must be the same again. What is
 * mapped is filled as a whole, all else in pieces that go through the buffers of *queues.
 */
static int fill(int sock, const struct hf_conn *conn, const struct target *target,
	const struct hf_image_map *map, bool cut_recv, const struct hf_queues *queues)
{
	struct target to = *target;
	const struct hf_queue_sink sink = {.place = find_room,
		.take = take,
		.context = &to,
		.recv = cut_recv,
		.send = !map->data,
		.recv_len = conn->recv.len,
		.send_len = conn->send.len};
	struct hf_queues place = *queues;
	struct hf_error why = HF_ERROR_INIT, of_image = HF_ERROR_INIT;
	struct hf_conn again = *conn;
	int ret;

	place.sink = &sink;
	if (!cut_recv)
		place.recv = map->data;
	if (map->data)
		place.send = map->data + (cut_recv ? 0 : conn->recv.len);
	to.err = &of_image;
	ret = hf_tcp_read(sock, &again, &place, &why);
	if (ret == -EOPNOTSUPP)
		return ret;
	/* Of the mapping: see sys/image_map.h. */
	if (ret == -EFAULT)
		ret = hf_error_set(
			&why, -EIO, "cannot write %s: is its file system full?", HF_IMAGE_NAME);
	if (ret == 0 && !is_same(&again, conn))
		ret = hf_error_set(&why, -EAGAIN, "the queues changed while they were read");
	return ret < 0 ? hf_error_set(
				 target->err, ret, "%s", of_image.code ? of_image.text : why.text)
		       : 0;
}

/* One after the other, with what is too long for pieces, and all where `mapped`, in a mapping. */
static int write_queues(int sock, const struct hf_conn *conn, const struct target *target,
	bool mapped, const struct hf_queues *queues)
{
	struct hf_image_map map = HF_IMAGE_MAP_NONE;
	size_t before = mapped ? 0 : conn->recv.len;
	size_t len = (size_t)conn->recv.len + conn->send.len - before;
	int ret = 0;

	if (mapped || conn->send.len > HF_SEND_CUT)
		ret = hf_image_map_next(&map, target->file, before, len, target->err);
	if (ret == 0)
		ret = fill(sock, conn, target, &map, !mapped, queues);
	if (ret == 0 && map.data)
		ret = hf_image_map_done(&map, target->file, target->writer, target->err);
	hf_image_map_clear(&map);
	return ret;
}

int hf_long_queues_write(int sock, const struct hf_conn *conn, struct hf_image_file *file,
	struct hf_image_writer *writer, const struct hf_queues *queues, struct hf_error *err)
{
	const struct target target = {file, writer, err};
	int ret = hf_image_write_record(writer, conn, err);

	if (ret == 0)
		ret = write_queues(sock, conn, &target, false, queues);
	/* A receive queue is read in pieces since Linux 6.9: SO_PEEK_OFF. */
	if (ret == -EOPNOTSUPP)
		ret = write_queues(sock, conn, &target, true, queues);
	return ret == -EOPNOTSUPP ? hf_error_sys(err, ret, "cannot read the queues") : ret;
}

/* The urgent byte is looked at, which a mapping must not be. */
bool hf_has_long_queues(const struct hf_conn *conn)
{
	return (conn->recv.len > HF_QUEUE_HELD || conn->send.len > HF_QUEUE_HELD) &&
	       !conn->urgent.present;
}
