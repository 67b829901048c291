/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_IMAGE_FORMAT_H
#define HF_LIB_IMAGE_FORMAT_H

/* What image_write.c, image_read.c and image_check.c share. Not for others. */
#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/image.h"
#include "lib/tcp_state.h"

#define HF_IMAGE_MAGIC      "HOLDFAST" /* the file's first 8 bytes, no end mark */
#define HF_IMAGE_MAGIC_SIZE 8

/* Bytes of memory for one message, unpacked. The largest within the limits takes 22 MiB. */
#define HF_MAX_UNPACKED (32u << 20)

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

/* Which messages a record has, by its state: all of them, and no others. */
static inline bool hf_has_receive(const struct hf_tcp_row *row)
{
	return row->received;
}

static inline bool hf_has_send(const struct hf_tcp_row *row)
{
	return row->connected; /* SYN-SENT has a sequence number and no bytes */
}

static inline bool hf_has_window(const struct hf_tcp_row *row)
{
	return row->stream;
}

/* Checks what the header has; n_conns is the number of sockets it announces. */
int hf_image_check_header(const struct hf_image *image, uint32_t n_conns, struct hf_error *err);

/* The parts of hf_conn_check() that pending connections share. */
int hf_check_family(enum hf_family family, struct hf_error *err);
int hf_check_connected(enum hf_family family, const struct hf_endpoint *local,
	const struct hf_endpoint *peer, struct hf_error *err);

#endif
