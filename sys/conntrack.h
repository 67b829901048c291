/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_CONNTRACK_H
#define HF_SYS_CONNTRACK_H

/* The connection tracking of a network namespace, by ctnetlink: which TCP connections' addresses it
 * translates (nf_nat), and telling it of connections. */
#include <stdbool.h>

#include "lib/conn.h"
#include "lib/error.h"
#include "lib/image.h"

/* From who connected to whom, as it is sent; and what the answers' addresses are. */
struct hf_translation {
	enum hf_family family;
	struct hf_endpoint from, to; /* before the translation */
	struct hf_endpoint answer_from, answer_to;
};

/*
 * Asks for the connections among conns[0..n-1], and calls each() for those that are translated.
 * What it returns, 0 or a negative errno, ends it where it is negative. Only these are asked for: a
 * host may track a million others. Returns 0, also where the kernel tracks no connections, or a
 * negative errno.
 */
int hf_conntrack_translations(int netns, const struct hf_conn *conns, uint32_t n,
	int (*each)(const struct hf_conn *conn, const struct hf_translation *found, void *context),
	void *context, struct hf_error *err);

/* False: connection tracking is not loaded, and is not to be loaded by asking it. */
bool hf_conntrack_is_there(void);

/* How many connections are asked for, or told of, at a time: all answers must find room in our
 * socket. */
#define HF_CONNTRACK_AT_A_TIME 128

/*
 * Makes sure that the host knows the connections of an image, lib/conntrack.h. Returns 0, also
 * where the kernel tracks no connections, or a negative errno: then it may know some.
 */
int hf_conntrack_tell(int netns, const struct hf_image *image, struct hf_error *err);

#endif
