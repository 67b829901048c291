/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_NET_ADDRESSES_H
#define HF_SYS_NET_ADDRESSES_H

/* The addresses of a network namespace, by rtnetlink(7). */
#include <stdbool.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/error.h"

/*
 * Reads the addresses of all devices but the loopback ones into *addresses, which the caller frees,
 * and their number, at most `most`, into *n. Returns 0 or a negative errno.
 */
int hf_net_addresses(
	int netns, uint32_t most, struct hf_address **addresses, uint32_t *n, struct hf_error *err);

/*
 * Whether an IPv6 address is there that may not be used yet, since the kernel still asks whether
 * another host has it (RFC 4862 section 5.4).
 */
bool hf_net_address_tentative(int netns, const uint8_t ip[16]);

#endif
