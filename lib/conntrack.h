/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_CONNTRACK_H
#define HF_LIB_CONNTRACK_H

/*
 * Messages that tell a host's connection tracking of connections (ctnetlink,
 * linux/netfilter/nfnetlink_conntrack.h), built into a buffer.
 *
 * Tracking sees a connection that came here in its middle as a new one, begun by whoever sends
 * first. Where that is the container, the rules for what containers begin are applied, and mostly
 * give it the host's address (masquerading): the peer knows no such connection, and resets it. So
 * tracking is told before a packet flows, also of how the addresses are translated.
 */
#include <stdint.h>

#include "lib/image.h"
#include "lib/nft_batch.h"

/* What an image says of its connections. Zero it before use; the image is borrowed. */
struct hf_conntrack {
	const struct hf_image *image;
	const struct hf_alias **aliases; /* owned: those of connections, by their peers */
	uint32_t n_aliases;
};

/* 0 or -ENOMEM. */
int hf_conntrack_init(struct hf_conntrack *conntrack, const struct hf_image *image);
void hf_conntrack_clear(struct hf_conntrack *conntrack);

/*
 * Adds the messages about connection i to the batch, 0 where it does not concern the host. Each
 * asks for an acknowledgement and has the next number after batch->last_seq. The first makes an
 * entry, for which -EEXIST comes back if there is one; the second lets whichever is there now be
 * kept for timeout_s without a packet. Returns how many, or -ENOMEM.
 */
int hf_conntrack_put(const struct hf_conntrack *conntrack, uint32_t i, uint32_t timeout_s,
	struct hf_batch *batch);

#endif
