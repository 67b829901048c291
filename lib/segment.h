/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_SEGMENT_H
#define HF_LIB_SEGMENT_H

/* TCP segments made by hand, with their IP header, into a buffer. */
#include <stddef.h>
#include <stdint.h>

#include "lib/conn.h"

/* Control bits, RFC 9293 section 3.1. */
#define HF_SEGMENT_FIN 0x01u
#define HF_SEGMENT_SYN 0x02u
#define HF_SEGMENT_RST 0x04u
#define HF_SEGMENT_ACK 0x10u
#define HF_SEGMENT_URG 0x20u

/* Bytes of the longest: IPv6 header, TCP header with timestamps, one byte of data. */
#define HF_SEGMENT_SIZE 80

struct hf_segment {
	enum hf_family family;
	struct hf_endpoint from; /* both IPv4-mapped: the segment is IPv4 */
	struct hf_endpoint to;
	uint32_t seq;
	uint32_t ack; /* used with HF_SEGMENT_ACK */
	uint8_t flags;
	uint16_t window;     /* as on the wire: already shifted */
	uint16_t urgent;     /* used with HF_SEGMENT_URG */
	uint8_t data;        /* the one byte, if len is 1 */
	size_t len;          /* 0 or 1 */
	bool has_timestamps; /* RFC 7323 section 3 */
	uint32_t tsval;
	uint32_t tsecr;
};

/* True if the segment's packet is IPv4. */
bool hf_segment_is_ipv4(const struct hf_segment *segment);

/*
 * Writes the whole packet with its TCP checksum, as raw(7) with IP_HDRINCL takes it: the kernel
 * adds the IPv4 header's own checksum. Returns its length.
 */
size_t hf_segment_build(uint8_t buf[HF_SEGMENT_SIZE], const struct hf_segment *segment);

#endif
