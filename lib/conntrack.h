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
#include <stdbool.h>
#include <stdint.h>

#include "lib/image.h"
#include "lib/nft_batch.h"

/* What an image says of its connections. Zero it before use; the image is borrowed. */
struct hf_conntrack {
	const struct hf_image *image;
	const struct hf_alias **aliases; /* owned: those of connections, by their peers */
	uint32_t n_aliases;
};

/* True for a connection that stands, and not within its namespace alone. */
bool hf_conntrack_concerns(const struct hf_conn *conn);

/* 0 or -ENOMEM. */
int hf_conntrack_init(struct hf_conntrack *conntrack, const struct hf_image *image);
void hf_conntrack_clear(struct hf_conntrack *conntrack);

/*
 * Adds the message that makes an entry for connection i, kept for timeout_s without a packet; none
 * where the connection does not concern the host. It asks for an acknowledgement, and has the next
 * number after batch->last_seq. -EEXIST comes back if there is an entry: hf_conntrack_keep() lets
 * that be kept for timeout_s. Both return how many messages they added, or -ENOMEM.
 */
int hf_conntrack_put(const struct hf_conntrack *conntrack, uint32_t i, uint32_t timeout_s,
	struct hf_batch *batch);
int hf_conntrack_keep(const struct hf_conntrack *conntrack, uint32_t i, uint32_t timeout_s,
	struct hf_batch *batch);

/*
 * Adds the question for the entry of a connection, in either direction, with the next number. It is
 * answered with IPCTNL_MSG_CT_NEW, or the error -ENOENT; `last` asks for an acknowledgement beside.
 * Returns 0 or -ENOMEM.
 */
int hf_conntrack_ask(const struct hf_conn *conn, bool last, struct hf_batch *batch);

#endif
