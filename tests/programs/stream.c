// SPDX-License-Identifier: GPL-2.0-or-later
/* The byte pattern of the test streams: eight bytes at a time from a mixed counter. */
#include "stream.h"

#include <endian.h>
#include <string.h>

/*
 * The word with number `index`, in memory order. Every bit of seed and index reaches every byte, so
 * a byte lost, repeated or moved by any distance shows at once, and so do crossed connections.
 */
static inline uint64_t word(uint64_t seed, uint64_t index)
{
	uint64_t x = seed ^ (index + 1) * UINT64_C(0xd6e8feb86659fd93);

	x = (x ^ x >> 32) * UINT64_C(0x9fb21c651e98df25);
	x = (x ^ x >> 29) * UINT64_C(0xc2b2ae3d27d4eb4f);
	return htole64(x ^ x >> 32);
}

/* Part of the word that holds pos: at most len bytes, up to the word's end. */
static size_t part(uint8_t *out, size_t len, uint64_t seed, uint64_t pos)
{
	uint64_t w = word(seed, pos / 8);
	size_t skip = pos % 8;
	size_t n = 8 - skip < len ? 8 - skip : len;

	memcpy(out, (const uint8_t *)&w + skip, n);
	return n;
}

void stream_fill(void *buf, size_t len, uint64_t seed, uint64_t pos)
{
	uint8_t *p = buf;

	if (pos % 8 && len) {
		size_t n = part(p, len, seed, pos);

		p += n;
		pos += n;
		len -= n;
	}
	for (; len >= 8; p += 8, pos += 8, len -= 8) {
		uint64_t w = word(seed, pos / 8);

		memcpy(p, &w, 8);
	}
	if (len)
		part(p, len, seed, pos);
}

ssize_t stream_check(const void *buf, size_t len, uint64_t seed, uint64_t pos)
{
	const uint8_t *p = buf;
	size_t done = 0;

	while (done < len) {
		uint8_t want[8];
		size_t n;

		/* The common case: whole words, compared as such. */
		while ((pos + done) % 8 == 0 && len - done >= 8) {
			uint64_t w = word(seed, (pos + done) / 8);

			if (memcmp(p + done, &w, 8))
				break;
			done += 8;
		}
		if (done == len)
			break;
		n = part(want, len - done, seed, pos + done);
		for (size_t i = 0; i < n; i++)
			if (p[done + i] != want[i])
				return (ssize_t)(done + i);
		done += n;
	}
	return -1;
}
