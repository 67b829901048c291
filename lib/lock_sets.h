/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_LOCK_SETS_H
#define HF_LIB_LOCK_SETS_H

/*
 * The sets of a lock's table, for those who write and who read it. A key is made of 32-bit words:
 * of a connection peer address, peer port, local address, local port; else the address, if there is
 * one, and the port. Ports are at the start of their words; all is in network byte order.
 */
#include <stdbool.h>
#include <stdint.h>

enum hf_lock_set_kind {
	HF_SET_CONN4,
	HF_SET_CONN6,
	HF_SET_LISTEN4,
	HF_SET_LISTEN6,
	HF_SET_PORT4,
	HF_SET_PORT6,
	HF_LOCK_SETS
};

struct hf_lock_set {
	const char *name;
	uint8_t nfproto;
	uint8_t address_len; /* 0: the key has no address */
	bool pair;           /* the key has two addresses and ports: a connection */
};

extern const struct hf_lock_set hf_lock_sets[HF_LOCK_SETS];

/* Bytes of a key. */
static inline uint32_t hf_lock_key_len(const struct hf_lock_set *set)
{
	return (set->address_len + 4u) * (set->pair ? 2 : 1);
}

#endif
