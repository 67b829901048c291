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
/*
 * The instruction takes three cycles, and could start each cycle: so three lanes of the data are
 * folded side by side, and their CRCs put together.
 */
#define LANE ((size_t)2048) /* bytes */

#define sse42 __attribute__((target("sse4.2")))

sse42 static uint64_t fold_word(uint64_t crc, const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return __builtin_ia32_crc32di(crc, word);
}

/* What a CRC becomes by so many zeros as a lane has bytes: byte by byte, since that is linear. */
sse42 static uint32_t move_on(uint32_t crc)
{
	/* Filled on first use, its first entry that is not 0 last, like the table above. */
	static uint32_t moved[4][256];

	for (unsigned int i = 4 * 256; !moved[0][1] && i-- > 0;) {
		uint64_t value = (uint64_t)(i & 0xff) << 8 * (i >> 8);

		for (unsigned int k = 0; k < LANE / 8; k++)
			value = __builtin_ia32_crc32di(value, 0);
		moved[i >> 8][i & 0xff] = (uint32_t)value;
	}
	return moved[0][crc & 0xff] ^ moved[1][crc >> 8 & 0xff] ^ moved[2][crc >> 16 & 0xff] ^
	       moved[3][crc >> 24];
}

sse42 static uint32_t three_lanes(uint32_t crc, const uint8_t *at)
{
	uint64_t first = crc, second = 0, third = 0;

	for (const uint8_t *end = at + LANE; at < end; at += 8) {
		first = fold_word(first, at);
		second = fold_word(second, at + LANE);
		third = fold_word(third, at + 2 * LANE);
	}
	return move_on(move_on((uint32_t)first) ^ (uint32_t)second) ^ (uint32_t)third;
}

sse42 static uint32_t by_instruction(uint32_t crc, const uint8_t *at, size_t len)
{
	uint64_t wide;

	for (; len >= 3 * LANE; at += 3 * LANE, len -= 3 * LANE)
		crc = three_lanes(crc, at);
	wide = crc;
	for (; len >= 8; at += 8, len -= 8)
		wide = fold_word(wide, at);
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
