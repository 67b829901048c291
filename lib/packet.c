// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/packet.h"

#include <string.h>

#define TTL 64

void hf_put_be16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

void hf_put_be32(uint8_t *at, uint32_t value)
{
	hf_put_be16(at, (uint16_t)(value >> 16));
	hf_put_be16(at + 2, (uint16_t)value);
}

size_t hf_packet_header(uint8_t *at, enum hf_family family, const struct hf_endpoint *from,
	const struct hf_endpoint *to, uint8_t protocol, size_t payload_len)
{
	if (family == HF_FAMILY_IPV4) {
		memset(at, 0, HF_IPV4_HEADER);
		at[0] = 4 << 4 | HF_IPV4_HEADER / 4;
		hf_put_be16(at + 2, (uint16_t)(HF_IPV4_HEADER + payload_len));
		at[8] = TTL;
		at[9] = protocol;
		memcpy(at + 12, from->ip, 4);
		memcpy(at + 16, to->ip, 4);
		return HF_IPV4_HEADER;
	}
	memset(at, 0, HF_IPV6_HEADER);
	at[0] = 6 << 4;
	hf_put_be16(at + 4, (uint16_t)payload_len);
	at[6] = protocol;
	at[7] = TTL;
	memcpy(at + 8, from->ip, 16);
	memcpy(at + 24, to->ip, 16);
	return HF_IPV6_HEADER;
}

uint32_t hf_checksum_add(uint32_t sum, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	return len % 2 ? sum + ((uint32_t)data[len - 1] << 8) : sum;
}

uint16_t hf_checksum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

uint32_t hf_checksum_pseudo(
	const uint8_t *at, enum hf_family family, uint8_t protocol, size_t payload_len)
{
	bool v4 = family == HF_FAMILY_IPV4;

	return hf_checksum_add(protocol + (uint32_t)payload_len, at + (v4 ? 12 : 8), v4 ? 8 : 32);
}
