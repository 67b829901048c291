/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_IMAGE_FORMAT_H
#define HF_LIB_IMAGE_FORMAT_H

/* What image_write.c and image_read.c share. Not for others. */
#include <stdint.h>

#define HF_IMAGE_MAGIC      "HOLDFAST" /* the file's first 8 bytes, no end mark */
#define HF_IMAGE_MAGIC_SIZE 8

/* Numbers outside the messages are 32 bits, little-endian. */
static inline void hf_put_le32(uint8_t at[4], uint32_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
	at[2] = (uint8_t)(value >> 16);
	at[3] = (uint8_t)(value >> 24);
}

static inline uint32_t hf_get_le32(const uint8_t at[4])
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

#endif
