/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_TESTS_UNIT_H
#define HF_TESTS_UNIT_H

/* What every unit test includes: cmocka with what it needs, and a few helpers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "lib/conn.h"
#include "lib/error.h"

#define UNIT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Fails with both texts if `part` is not in `text`. */
#define assert_contains(text, part)                                                                \
	do {                                                                                       \
		if (!strstr((text), (part)))                                                       \
			fail_msg("\"%s\" is not in \"%s\"", (part), (text));                       \
	} while (0)

/* Bytes in memory that grow: an output, and an input that starts at `at`. */
struct unit_bytes {
	uint8_t *data;
	size_t len;
	size_t at;
	size_t step; /* how many bytes a read gives at most, 0: no limit */
};

static inline void unit_bytes_add(struct unit_bytes *bytes, const void *data, size_t len)
{
	if (len == 0)
		return;
	bytes->data = realloc(bytes->data, bytes->len + len);
	assert_non_null(bytes->data);
	memcpy(bytes->data + bytes->len, data, len);
	bytes->len += len;
}

static inline void unit_bytes_clear(struct unit_bytes *bytes)
{
	free(bytes->data);
	memset(bytes, 0, sizeof(*bytes));
}

static inline int unit_bytes_write(void *context, const void *data, size_t len)
{
	unit_bytes_add(context, data, len);
	return 0;
}

static inline ssize_t unit_bytes_read(void *context, void *data, size_t len)
{
	struct unit_bytes *bytes = context;
	size_t left = bytes->len - bytes->at;

	if (len > left)
		len = left;
	if (bytes->step && len > bytes->step)
		len = bytes->step;
	if (len > 0)
		memcpy(data, bytes->data + bytes->at, len);
	bytes->at += len;
	return (ssize_t)len;
}

/* The IPv4 endpoint 192.0.2.HOST, a documentation address of RFC 5737. */
static inline struct hf_endpoint unit_v4(uint8_t host, uint16_t port)
{
	return (struct hf_endpoint){.ip = {192, 0, 2, host}, .port = port};
}

/* 2001:db8::HOST, a documentation address of RFC 3849. */
static inline struct hf_endpoint unit_v6(uint8_t host, uint16_t port)
{
	return (struct hf_endpoint){.ip = {0x20, 0x01, 0x0d, 0xb8, [15] = host}, .port = port};
}

/* ::ffff:192.0.2.HOST */
static inline struct hf_endpoint unit_mapped(uint8_t host, uint16_t port)
{
	return (struct hf_endpoint){
		.ip = {[10] = 0xff, [11] = 0xff, [12] = 192, 0, 2, host}, .port = port};
}

/* fe80::HOST%SCOPE */
static inline struct hf_endpoint unit_link_local(uint8_t host, uint16_t port, uint32_t scope)
{
	return (struct hf_endpoint){
		.ip = {0xfe, 0x80, [15] = host}, .port = port, .scope_id = scope};
}

/*
 * An established IPv4 connection in which every field has a value of its own, good for the checks.
 * `holder` is the one file descriptor that refers to it and must live as long.
 */
static inline struct hf_conn unit_conn(struct hf_holder *holder)
{
	*holder = (struct hf_holder){.levels = 1, .pid = {1}, .fd = 3};
	return (struct hf_conn){
		.family = HF_FAMILY_IPV4,
		.state = HF_TCP_ESTABLISHED,
		.local = unit_v4(1, 80),
		.peer = unit_v4(2, 40000),
		.recv = {.seq = 0x10000001, .len = 0},
		.send = {.seq = 0x20000002, .len = 0},
		.unsent = 0,
		.mss_clamp = 1460,
		.has_wscale = true,
		.snd_wscale = 7,
		.rcv_wscale = 8,
		.has_sack = true,
		.has_timestamps = true,
		.usec_timestamps = false,
		.timestamp = 0x30000003,
		.window = {.snd_wl1 = 0x10000000,
			.snd_wnd = 64000,
			.max_window = 65000,
			.rcv_wnd = 66000,
			.rcv_wup = 0x0fffff00},
		.reuseaddr = true,
		.inode = 0x123456789abcull,
		.holders = holder,
		.n_holders = 1,
	};
}

#endif
