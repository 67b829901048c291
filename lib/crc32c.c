// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* 0x1edc6f41, bits reversed */

static uint32_t by_table(uint32_t crc, const uint8_t *at, size_t len)
{
	/*
	 * table[k][b] is the CRC of byte b followed by k zero bytes, so eight bytes fold in one
	 * step. Filled on first use; two threads would fill it with the same values.
	 */
	static uint32_t table[8][256];

	if (!table[0][1]) {
		for (unsigned int b = 256; b-- > 0;) {
			uint32_t value = b;

			for (int bit = 0; bit < 8; bit++)
				value = value & 1 ? value >> 1 ^ POLYNOMIAL : value >> 1;
			table[0][b] = value;
		}
		for (unsigned int k = 1; k < 8; k++)
			for (unsigned int b = 0; b < 256; b++)
				table[k][b] =
					table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
	}
	for (; len >= 8; at += 8, len -= 8) {
		crc ^= at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
		crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^
		      table[5][crc >> 16 & 0xff] ^ table[4][crc >> 24] ^ table[3][at[4]] ^
		      table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
	}
	for (; len > 0; at++, len--)
		crc = crc >> 8 ^ table[0][(crc ^ *at) & 0xff];
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(
	uint32_t crc, const uint8_t *at, size_t len)
{
	uint64_t wide = crc;

	for (; len >= 8; at += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, at, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; len > 0; at++, len--)
		crc = __builtin_ia32_crc32qi(crc, *at);
	return crc;
}
#endif

uint32_t hf_crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~by_instruction(~crc, data, len);
#endif
	return ~by_table(~crc, data, len);
}
