// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/segment.h"

#include <string.h>

#define IPV4_HEADER  20
#define IPV6_HEADER  40
#define TCP_HEADER   20
#define TTL          64
#define PROTOCOL_TCP 6

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, (uint16_t)(value >> 16));
	put16(at + 2, (uint16_t)value);
}

/* RFC 1071: the sum of big-endian 16-bit words, not yet folded. */
static uint32_t add_words(uint32_t sum, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	return len % 2 ? sum + ((uint32_t)data[len - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

bool hf_segment_is_ipv4(const struct hf_segment *segment)
{
	return hf_endpoint_ipv4(segment->family, &segment->from) &&
	       hf_endpoint_ipv4(segment->family, &segment->to);
}

/* Returns the sum of the addresses, for the TCP checksum's pseudo header. */
static uint32_t put_ipv4(uint8_t *at, const struct hf_segment *segment, size_t tcp_len)
{
	memset(at, 0, IPV4_HEADER);
	at[0] = 4 << 4 | IPV4_HEADER / 4;
	put16(at + 2, (uint16_t)(IPV4_HEADER + tcp_len));
	at[8] = TTL;
	at[9] = PROTOCOL_TCP;
	memcpy(at + 12, hf_endpoint_ipv4(segment->family, &segment->from), 4);
	memcpy(at + 16, hf_endpoint_ipv4(segment->family, &segment->to), 4);
	return add_words(0, at + 12, 8);
}

static uint32_t put_ipv6(uint8_t *at, const struct hf_segment *segment, size_t tcp_len)
{
	memset(at, 0, IPV6_HEADER);
	at[0] = 6 << 4;
	put16(at + 4, (uint16_t)tcp_len);
	at[6] = PROTOCOL_TCP;
	at[7] = TTL;
	memcpy(at + 8, segment->from.ip, 16);
	memcpy(at + 24, segment->to.ip, 16);
	return add_words(0, at + 8, 32);
}

size_t hf_segment_build(uint8_t buf[HF_SEGMENT_SIZE], const struct hf_segment *segment)
{
	bool v4 = hf_segment_is_ipv4(segment);
	size_t tcp_len = TCP_HEADER + segment->len;
	uint8_t *tcp = buf + (v4 ? IPV4_HEADER : IPV6_HEADER);
	uint32_t sum = v4 ? put_ipv4(buf, segment, tcp_len) : put_ipv6(buf, segment, tcp_len);

	memset(tcp, 0, TCP_HEADER);
	put16(tcp, segment->from.port);
	put16(tcp + 2, segment->to.port);
	put32(tcp + 4, segment->seq);
	if (segment->flags & HF_SEGMENT_ACK)
		put32(tcp + 8, segment->ack);
	tcp[12] = TCP_HEADER / 4 << 4;
	tcp[13] = segment->flags;
	put16(tcp + 14, segment->window);
	if (segment->flags & HF_SEGMENT_URG)
		put16(tcp + 18, segment->urgent);
	if (segment->len)
		tcp[TCP_HEADER] = segment->data;
	sum += PROTOCOL_TCP + (uint32_t)tcp_len;
	put16(tcp + 16, fold(add_words(sum, tcp, tcp_len)));
	return (size_t)(tcp - buf) + tcp_len;
}
