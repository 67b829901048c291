/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_CRC32C_H
#define HF_LIB_CRC32C_H

/*
 * CRC-32C (Castagnoli), RFC 3720 appendix B.4: finds damaged images, not malicious ones.
 *
 * Continue over several pieces by passing the last result: crc = hf_crc32c(crc, ...), first 0.
 */
#include <stddef.h>
#include <stdint.h>

uint32_t hf_crc32c(uint32_t crc, const void *data, size_t len);

#endif
