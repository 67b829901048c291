/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_NETLINK_H
#define HF_SYS_NETLINK_H

/* Netlink sockets, netlink(7), with what the protocol asks of a careful user. */
#include <stddef.h>
#include <stdint.h>

#include <libmnl/libmnl.h>

#include "lib/error.h"
#include "lib/nft_batch.h"

/* Opens and binds a socket of the netlink protocol inside a network namespace. Returns fd or
 * negative errno. */
int hf_netlink_open(int netns, int protocol, struct hf_error *err);

/*
 * Sends a nf_tables batch and reads the kernel's answer. Returns 0 when the acknowledgement of
 * batch->last_seq came and no error before it; else the kernel's first error, or why nothing could
 * be sent: then nothing was applied. No text.
 * -ENOBUFS: the answer was lost, so the batch may have been applied or not; sending it again tells.
 */
int hf_netlink_batch(int sock, const struct hf_batch *batch);

/*
 * Sends one request with NLM_F_DUMP and calls `each` for every reply. Starts again, up to a few
 * times, where the kernel says that the dump was interrupted (NLM_F_DUMP_INTR) or a part of the
 * answer was lost; `restart` is called before each try, to forget what `each` has taken. Returns 0
 * or a negative errno with text.
 */
int hf_netlink_dump(int sock, const struct nlmsghdr *request, mnl_cb_t each,
	void (*restart)(void *), void *context, struct hf_error *err);

/*
 * Sends requests in one message, numbered up to batch->last_seq, each of which asks for an
 * acknowledgement. Calls `each` for all that the kernel answers, acknowledgements and errors
 * (NLMSG_ERROR) too. Returns 0 when the last was acknowledged, or a negative errno: -ENOBUFS where
 * answers were lost. No text.
 */
int hf_netlink_each(int sock, const struct hf_batch *batch,
	void (*each)(const struct nlmsghdr *, void *), void *context);

#endif
