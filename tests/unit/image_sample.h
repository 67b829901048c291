/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_TESTS_IMAGE_SAMPLE_H
#define HF_TESTS_IMAGE_SAMPLE_H

/* An image that has every kind of record, and the same as messages to be changed one by one. */
#include "tests/unit/unit.h"

#include "lib/image.h"
#include "lib/image.pb-c.h"
#include "lib/image_format.h"

#define START (HF_IMAGE_MAGIC_SIZE + 4)

/* The records of the sample. */
enum {
	ON_IPV4,
	LINK_LOCAL, /* three holders of several pid levels, both queues, all unsent */
	MAPPED,     /* nothing negotiated */
	LISTEN_ANY, /* two options */
	LISTEN_ONE, /* the same address as the next */
	LISTEN_TOO,
	FIN_QUEUED, /* FIN-WAIT-1, its FIN unsent */
	WAS_RESET,  /* CLOSE, with a receive queue and an urgent mark */
	CONNECTING, /* SYN-SENT */
	UNUSED,     /* CLOSE, nothing set */
	N_SAMPLE
};

struct sample {
	struct hf_image image;
	struct hf_pending pending[2];
	struct hf_address addresses[2];
	struct hf_alias aliases[3]; /* of a connection, with another peer inside, of a listener */
	struct hf_conn conns[N_SAMPLE];
	struct hf_holder holders[N_SAMPLE][3];
	struct hf_option options[2];
	uint8_t recv[N_SAMPLE][16];
	uint8_t send[N_SAMPLE][16];
};

void make_sample(struct sample *sample);
void write_sample(const struct sample *sample, struct unit_bytes *bytes);
int read_image(
	const struct unit_bytes *bytes, size_t len, struct hf_image *image, struct hf_error *err);
void set_checksum(struct unit_bytes *bytes);

void assert_same_conn(const struct hf_conn *a, const struct hf_conn *b);
void assert_same_as_sample(
	const struct hf_image *image, const struct sample *sample, const struct unit_bytes *bytes);

/* The bytes must not be an image: fails with `code`, keeps nothing, and the text has both parts. */
void assert_refused(const struct unit_bytes *bytes, size_t len, int code, const char *record,
	const char *field);

/* The sample as messages, to be changed and put together again with correct lengths and checksum.
 */
struct parts {
	Holdfast__Header *header;
	Holdfast__Socket *socket[N_SAMPLE];
	uint8_t queue[N_SAMPLE][32];
	size_t queue_len[N_SAMPLE];
	Holdfast__Trailer *trailer;
};

void take_apart(const struct unit_bytes *bytes, struct parts *parts);
void put_together(const struct parts *parts, struct unit_bytes *bytes);
void free_parts(struct parts *parts);

#endif
