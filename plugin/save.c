// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/save.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "lib/tcp_state.h"
#include "plugin/kick.h"
#include "plugin/long_queues.h"
#include "plugin/prelude.h"
#include "sys/clock.h"
#include "sys/image_file.h"
#include "sys/net_lock.h"
#include "sys/parallel.h"
#include "sys/tcp_repair.h"

/* Connections, at least, for a thread of its own. */
#define SHARE         256
#define OPTIONS_SHARE 64

static int name_conn(const struct hf_conn *conn, int ret, struct hf_error *err)
{
	char text[HF_CONN_TEXT];

	hf_conn_format(text, conn);
	return hf_error_context(err, ret, "%s", text);
}

/* Nothing of the sockets changes by it. */
static int read_options(void *context, uint32_t from, uint32_t to, struct hf_error *err)
{
	struct hf_sock_options_reader reader = {0};
	struct hf_dump *dump = context;
	int ret = 0;

	hf_guardian_in_thread(&dump->guardian);
	for (uint32_t i = from; i < to && ret == 0; i++) {
		struct hf_conn *conn = &dump->image.conns[i];

		ret = hf_sock_options_read(dump->socks[i], &reader, conn, err);
		if (ret < 0)
			name_conn(conn, ret, err);
	}
	return ret;
}

static int pass_barrier(void *context, struct hf_error *err)
{
	(void)context;
	return hf_net_lock_barrier(err);
}

/* The options do not move while packets that have passed the hooks before the lock are waited for.
 */
int hf_save_options(struct hf_dump *dump, struct hf_error *err)
{
	struct hf_background barrier;
	uint64_t start = hf_now_us();
	int ret, passed;

	hf_background_start(&barrier, pass_barrier, NULL);
	ret = hf_parallel(dump->image.n_conns, OPTIONS_SHARE, read_options, dump, err);
	passed = hf_background_end(&barrier, ret < 0 ? NULL : err);
	dump->read_us += hf_now_us() - start;
	return ret < 0 ? ret : passed;
}

static int read_one(
	struct hf_dump *dump, uint32_t i, struct hf_queues *queues, struct hf_error *err)
{
	struct hf_conn *conn = &dump->image.conns[i];
	int ret = hf_tcp_read(dump->socks[i], conn, queues, err);

	/* Else it is read once more. */
	if (ret == 0 && !(queues->none && queues->left)) {
		hf_prelude_check(&dump->prelude, i, conn);
		hf_wake_note(&dump->peers[i], conn);
	}
	return ret;
}

/* What has nothing queued, so that there is nothing to be held until it is written. */
static int read_idle(void *context, uint32_t from, uint32_t to, struct hf_error *err)
{
	struct hf_queues queues = {.none = true};
	struct hf_dump *dump = context;
	int ret = 0;

	hf_guardian_in_thread(&dump->guardian);
	for (uint32_t i = from; i < to && ret == 0; i++) {
		ret = read_one(dump, i, &queues, err);
		dump->is_read[i] = ret == 0 && !queues.left;
		if (ret < 0)
			name_conn(&dump->image.conns[i], ret, err);
	}
	return ret;
}

/* Reads a socket and writes it. What is no connection is not needed after that. */
static int save_one(struct hf_dump *dump, uint32_t i, struct hf_image_file *file,
	struct hf_image_writer *writer, struct hf_queues *queues, struct hf_error *err)
{
	struct hf_conn *conn = &dump->image.conns[i];
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);
	int ret = 0;

	queues->left = false;
	if (!dump->is_read[i])
		ret = read_one(dump, i, queues, err);
	if (ret == 0)
		ret = queues->left
			      ? hf_long_queues_write(
					dump->socks[i], conn, file, writer, queues, err)
			      : hf_image_write_conn(writer, conn, queues->recv, queues->send, err);
	if (ret == 0 && !row->connected) {
		hf_close_fd(&dump->socks[i]);
		dump->socks[i] = -1;
	}
	return ret;
}

static int write_conns(struct hf_dump *dump, struct hf_image_file *file,
	struct hf_image_writer *writer, struct hf_error *err)
{
	struct hf_queues queues = {.borrowed = dump->page ? &dump->page->borrowed : NULL};
	int ret = hf_parallel(dump->image.n_conns, SHARE, read_idle, dump, err);

	for (uint32_t i = 0; i < dump->image.n_conns && ret == 0; i++) {
		ret = save_one(dump, i, file, writer, &queues, err);
		if (ret < 0)
			name_conn(&dump->image.conns[i], ret, err);
	}
	dump->image.queue_bytes = writer->queue_bytes;
	hf_queues_clear(&queues);
	return ret;
}

int hf_save_image(struct hf_dump *dump, struct hf_error *err)
{
	hf_autofree struct hf_image_file *file = malloc(sizeof(*file));
	struct hf_image_writer writer = {0};
	struct hf_output out;
	uint64_t start = hf_now_us();
	int ret, finished;

	if (!file)
		return hf_error_sys(err, -ENOMEM, "cannot dump the connections");
	ret = hf_image_file_create(file, dump->image_dir, err);
	if (ret < 0)
		return ret;
	dump->has_image = true;
	out = hf_image_file_output(file);
	dump->is_read = calloc((size_t)dump->image.n_conns + 1, sizeof(*dump->is_read));
	ret = dump->is_read ? hf_image_write_header(&writer, &out, &dump->image, err)
			    : hf_error_sys(err, -ENOMEM, "cannot dump the connections");
	if (ret == 0)
		ret = write_conns(dump, file, &writer, err);
	if (ret == 0)
		ret = hf_image_check_unique(&dump->image, err);
	if (ret == 0)
		ret = hf_image_write_end(&writer, err);
	finished = hf_image_file_finish(file, ret == 0 ? err : NULL);
	dump->read_us += hf_now_us() - start;
	return ret < 0 ? ret : finished;
}
