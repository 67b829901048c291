/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_LONG_QUEUES_H
#define HF_PLUGIN_LONG_QUEUES_H

/* Queues that are too long to be held in memory, see HF_QUEUE_HELD. */
#include "lib/conn.h"
#include "lib/error.h"
#include "lib/image.h"
#include "sys/image_file.h"
#include "sys/image_map.h"
#include "sys/tcp_repair.h"

/*
 * Writes a connection of which hf_tcp_read() has left the bytes in *queues. Its socket is in repair
 * mode once more meanwhile. -EAGAIN if it is not any more what it was.
 */
int hf_long_queues_write(int sock, const struct hf_conn *conn, struct hf_image_file *file,
	struct hf_image_writer *writer, const struct hf_queues *queues, struct hf_error *err);

/* True if the queues of a connection of the image are to be mapped for hf_tcp_rebuild(). */
bool hf_has_long_queues(const struct hf_conn *conn);

#endif
