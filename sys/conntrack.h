/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_CONNTRACK_H
#define HF_SYS_CONNTRACK_H

/* The connection tracking of a network namespace, by ctnetlink: which TCP connections' addresses it
 * translates (nf_nat), and telling it of connections. */
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
 * Calls each() for every one. What it returns, 0 or a negative errno, ends it where it is negative.
 * `restart` is called before each try, to forget what each() has taken. Returns 0, also where the
 * kernel tracks no connections, or a negative errno.
 */
int hf_conntrack_translations(int netns,
	int (*each)(const struct hf_translation *translation, void *context),
	void (*restart)(void *context), void *context, struct hf_error *err);

/*
 * Makes sure that the host knows the connections of an image, lib/conntrack.h. Returns 0, also
 * where the kernel tracks no connections, or a negative errno: then it may know some.
 */
int hf_conntrack_tell(int netns, const struct hf_image *image, struct hf_error *err);

#endif
