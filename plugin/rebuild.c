// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/rebuild.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/tcp_state.h"
#include "plugin/long_queues.h"
#include "plugin/unreachable.h"
#include "sys/image_file.h"
#include "sys/parallel.h"
#include "sys/tcp_repair.h"

#define SHARE 128 /* connections, at least, for a thread of its own */

/* What the threads share. */
struct work {
	const struct hf_rebuild *rebuild;
	bool *done; /* one a connection; true: its socket is not needed any more */
};

/* What a thread has for itself; it adds its results to the restore's in the end. */
struct worker {
	const struct hf_rebuild *rebuild;
	bool *done;
	struct hf_queues queues;
	struct hf_raw raw;
	struct hf_sock_options_writer options;
	struct hf_tcp_tools tools;
	uint32_t n_kept;
};

static pthread_mutex_t results = PTHREAD_MUTEX_INITIALIZER;

static void name_closed(struct hf_restore *restore, const struct hf_conn *conn)
{
	pthread_mutex_lock(&results);
	if (restore->n_closed++ < HF_CLOSED_NAMED)
		hf_conn_format(restore->closed[restore->n_closed - 1], conn);
	pthread_mutex_unlock(&results);
}

/* One that cannot be had here is closed, or fails the restore. */
static int give_up(const struct worker *worker, uint32_t i, int ret, struct hf_error *err)
{
	const struct hf_rebuild *rebuild = worker->rebuild;
	struct hf_restore *restore = rebuild->restore;
	const struct hf_error why = *err;

	if (restore->config.on_unreachable == HF_UNREACHABLE_ABORT)
		return hf_error_set(err, ret,
			"%s; give the container its old address, or set on-unreachable = close",
			why.text);
	ret = hf_tcp_abandon(rebuild->socks[i], restore->image.conns[i].reuseaddr, err);
	if (ret < 0)
		return ret;
	worker->done[i] = true;
	rebuild->closed[i] = true;
	name_closed(restore, &restore->image.conns[i]);
	return 0;
}

/* With its queues in memory that is used again. */
static int rebuild_held(struct worker *worker, uint32_t i, struct hf_error *err)
{
	const struct hf_rebuild *rebuild = worker->rebuild;
	const struct hf_conn *conn = &rebuild->restore->image.conns[i];
	struct hf_queues *queues = &worker->queues;
	int file = rebuild->restore->file;
	int ret = hf_queues_make_room(queues, conn->recv.len, conn->send.len);

	if (ret < 0)
		return hf_error_sys(err, ret, "cannot hold the queues");
	ret = hf_image_file_at(file, conn->data_offset, queues->recv, conn->recv.len, err);
	if (ret == 0)
		ret = hf_image_file_at(file, conn->data_offset + conn->recv.len, queues->send,
			conn->send.len, err);
	return ret < 0 ? ret
		       : hf_tcp_rebuild(rebuild->socks[i], conn, queues->recv, queues->send,
				 &worker->tools, &rebuild->resend[i], err);
}

/* With queues that the kernel itself copies out of the image. */
static int rebuild_mapped(struct worker *worker, uint32_t i, struct hf_error *err)
{
	const struct hf_rebuild *rebuild = worker->rebuild;
	const struct hf_conn *conn = &rebuild->restore->image.conns[i];
	struct hf_image_map map;
	int ret = hf_image_map_read(&map, rebuild->restore->file, conn->data_offset,
		(size_t)conn->recv.len + conn->send.len, err);

	if (ret == 0)
		ret = hf_tcp_rebuild(rebuild->socks[i], conn, map.data, map.data + conn->recv.len,
			&worker->tools, &rebuild->resend[i], err);
	if (ret == -EFAULT)
		hf_error_set(
			err, -EIO, "the queues cannot be read any more from %s", HF_IMAGE_NAME);
	hf_image_map_clear(&map);
	return ret;
}

static int rebuild_one(struct worker *worker, uint32_t i, struct hf_error *err)
{
	const struct hf_rebuild *rebuild = worker->rebuild;
	const struct hf_conn *conn = &rebuild->restore->image.conns[i];
	int ret = hf_has_long_queues(conn) ? rebuild_mapped(worker, i, err)
					   : rebuild_held(worker, i, err);

	if (hf_unreachable(ret))
		ret = give_up(worker, i, ret, err);
	if (ret == 1) {
		/* Left alone, so not to be resumed. */
		worker->n_kept += hf_tcp_row(conn->state, conn->closed)->connected;
		worker->done[i] = true;
	}
	return ret < 0 ? ret : 0;
}

/* To build the others takes segments from a peer that is made up, which two of them may share. */
static bool is_plain(const struct hf_conn *conn)
{
	return conn->state == HF_TCP_ESTABLISHED && !conn->urgent.present;
}

static int rebuild_some(
	const struct work *work, uint32_t from, uint32_t to, bool plain, struct hf_error *err)
{
	struct hf_restore *restore = work->rebuild->restore;
	struct worker worker = {.rebuild = work->rebuild,
		.done = work->done,
		.raw = HF_RAW_INIT(work->rebuild->netns),
		.options = restore->options,
		.tools = {&worker.raw, &worker.options, restore->config.resend}};
	int ret = 0;

	for (uint32_t i = from; i < to && ret == 0; i++) {
		if (is_plain(&restore->image.conns[i]) != plain)
			continue;
		ret = rebuild_one(&worker, i, err);
		if (ret < 0)
			hf_error_context(err, ret, "record %u", i + 1);
	}
	hf_raw_close(&worker.raw);
	hf_queues_clear(&worker.queues);
	pthread_mutex_lock(&results);
	hf_sockopt_report_merge(&restore->options.report, &worker.options.report);
	restore->n_kept += worker.n_kept;
	pthread_mutex_unlock(&results);
	return ret;
}

static int rebuild_plain(void *context, uint32_t from, uint32_t to, struct hf_error *err)
{
	return rebuild_some(context, from, to, true, err);
}

/* Not by the threads, which have files of their own. */
static void close_done(const struct work *work, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!work->done[i])
			continue;
		hf_close_fd(&work->rebuild->socks[i]);
		work->rebuild->socks[i] = -1;
	}
}

int hf_rebuild(const struct hf_rebuild *rebuild, struct hf_error *err)
{
	uint32_t n = rebuild->restore->image.n_conns;
	hf_autofree bool *done = calloc((size_t)n + 1, sizeof(*done));
	struct work work = {rebuild, done};
	int ret;

	if (!done)
		return hf_error_sys(err, -ENOMEM, "cannot restore the connections");
	ret = hf_parallel(n, SHARE, rebuild_plain, &work, err);
	if (ret == 0)
		ret = rebuild_some(&work, 0, n, false, err);
	close_done(&work, n);
	return ret;
}
