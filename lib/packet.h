/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_PACKET_H
#define HF_LIB_PACKET_H

/* What packets made by hand have in common: numbers in network byte order, IP headers, checksums.
 */
#include <stddef.h>
#include <stdint.h>

#include "lib/conn.h"

#define HF_IPV4_HEADER 20
#define HF_IPV6_HEADER 40

void hf_put_be16(uint8_t *at, uint16_t value);
void hf_put_be32(uint8_t *at, uint32_t value);

/*
 * An IP header without options, before a payload of that length; the kernel adds IPv4's own
 * checksum where it is to be sent, raw(7). The endpoints' ports do not count. Returns its length.
 */
size_t hf_packet_header(uint8_t *at, enum hf_family family, const struct hf_endpoint *from,
	const struct hf_endpoint *to, uint8_t protocol, size_t payload_len);

/* RFC 1071: adds up big-endian 16-bit words, and makes a checksum of the sum. */
uint32_t hf_checksum_add(uint32_t sum, const uint8_t *data, size_t len);
uint16_t hf_checksum_fold(uint32_t sum);

/* The sum of the pseudo header that TCP (RFC 9293) and ICMPv6 (RFC 4443) count: of the header that
 * hf_packet_header() made at `at`. */
uint32_t hf_checksum_pseudo(
	const uint8_t *at, enum hf_family family, uint8_t protocol, size_t payload_len);

#endif
