/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The byte pattern of the test streams: the byte at a position is a pure function of the stream's
 * seed and the position, so that either end can check any part without having seen the rest.
 */
#ifndef HF_TEST_STREAM_H
#define HF_TEST_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

void stream_fill(void *buf, size_t len, uint64_t seed, uint64_t pos);

/* Index of the first byte which is not the pattern's, or -1 when all are right. */
ssize_t stream_check(const void *buf, size_t len, uint64_t seed, uint64_t pos);

#endif
