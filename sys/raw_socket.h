/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_RAW_SOCKET_H
#define HF_SYS_RAW_SOCKET_H

/*
 * Sends segments made by hand in a network namespace, raw(7). While a lock is there they carry the
 * mark that passes it. It passes those of others too: where another container of the pod waits for
 * its restore, an RST would be the answer.
 */
#include <stdbool.h>

#include "lib/error.h"
#include "lib/segment.h"

/* One socket a family, opened when first needed. Start with HF_RAW_INIT(netns), which is borrowed.
 */
struct hf_raw {
	int netns;
	int v4;
	int v6;
	bool unmarked;
};

#define HF_RAW_INIT(netns_fd)     ((struct hf_raw){(netns_fd), -1, -1, false})
#define HF_RAW_UNMARKED(netns_fd) ((struct hf_raw){(netns_fd), -1, -1, true})

/* Opens both now, as far as they can be had: before several threads send. */
void hf_raw_open(struct hf_raw *raw);

/* Sends one. A segment to a local address is delivered over the loopback device, usually before
 * this returns. */
int hf_raw_send(struct hf_raw *raw, const struct hf_segment *segment, struct hf_error *err);

/* Sends a whole packet to an address. */
int hf_raw_send_packet(struct hf_raw *raw, enum hf_family family, const struct hf_endpoint *to,
	const uint8_t *packet, size_t len, struct hf_error *err);

void hf_raw_close(struct hf_raw *raw);

#endif
