/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_DRAIN_H
#define HF_PLUGIN_DRAIN_H

/*
 * Orphans: connections that the program has closed and that still send what it wrote before. No
 * file descriptor refers to them, so they cannot be dumped, and they end with their network
 * namespace: before the lock they get time to send what they have.
 */
#include <stdint.h>

#include "lib/error.h"
#include "lib/image.h"
#include "sys/sock_diag.h"

#define HF_ORPHANS_NAMED 8

struct hf_orphans {
	uint64_t waited_us; /* 0: there was none */
	uint32_t n;         /* that were not done in time */
	uint64_t bytes; /* that they still had to send, or to have acknowledged, before their FIN */
	char named[HF_ORPHANS_NAMED][HF_CONN_TEXT + 32]; /* the first ones, and their bytes */
};

/* True for an orphan that has something left to send. */
bool hf_is_orphan(const struct hf_diag_socket *sock);

/*
 * Waits until the container's orphans are done, at most timeout_ms. Where the namespace is CRIU's
 * own (image->netns_shared), the container's are those on a port of one of the image's sockets;
 * else all of the namespace. One whose peer is in the container too cannot be done: its reader
 * stands still. Those that are not done are added to image->pending.
 */
int hf_drain_orphans(int netns, struct hf_image *image, unsigned int timeout_ms,
	struct hf_orphans *orphans, struct hf_error *err);

#endif
