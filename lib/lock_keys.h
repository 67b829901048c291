/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_LOCK_KEYS_H
#define HF_LIB_LOCK_KEYS_H

/* What a lock holds, as the keys of its sets. */
#include <stdint.h>

#include "lib/image.h"
#include "lib/lock_sets.h"

#define HF_LOCK_KEY_SIZE 40 /* bytes of the longest */

struct hf_lock_setkey {
	uint8_t bytes[HF_LOCK_KEY_SIZE];
	uint8_t len;
};

struct hf_lock_keylist {
	struct hf_lock_setkey *keys; /* owned */
	uint32_t n, room;
};

/* One list a set. Zero it before use. */
struct hf_lock_keylists {
	struct hf_lock_keylist of[HF_LOCK_SETS];
};

/*
 * Where a lock is. In the connections' own network namespace it holds all of them, and a listener
 * on every address by its port. On the host, from where they are reached, loopback connections are
 * not seen and mean the host's own, and such a listener is one on each of the addresses.
 */
enum hf_lock_place { HF_LOCK_NETNS, HF_LOCK_HOST };

/* The set that a connection belongs to. */
enum hf_lock_set_kind hf_lock_kind(const struct hf_conn *conn);

/* Adds the connections and listeners of an image. 0 or -ENOMEM. */
int hf_lock_keys_take(
	struct hf_lock_keylists *lists, const struct hf_image *image, enum hf_lock_place place);

/* How many there are in all sets. */
uint32_t hf_lock_keys_count(const struct hf_lock_keylists *lists);

void hf_lock_keys_clear(struct hf_lock_keylists *lists);

#endif
