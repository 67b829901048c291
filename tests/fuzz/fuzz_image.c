// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target: the reader of holdfast.img. Any bytes may come in; what the reader accepts must be
 * good for the checks and, written again, read the same.
 *
 * Changed bytes seldom have the right checksum, so every input is also tried with its start and its
 * last four bytes made right.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/crc32c.h"
#include "lib/image.h"
#include "lib/image_format.h"

#define START (HF_IMAGE_MAGIC_SIZE + 4)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t len;
	size_t at;
};

struct output {
	uint8_t *data;
	size_t len;
	size_t room;
};

static void require(int holds, const char *what, const struct hf_error *err)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_image: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
	abort();
}

static ssize_t input_read(void *context, void *data, size_t len)
{
	struct input *input = context;
	size_t left = input->len - input->at;

	if (len > left)
		len = left;
	if (len > 0)
		memcpy(data, input->data + input->at, len);
	input->at += len;
	return (ssize_t)len;
}

static int output_write(void *context, const void *data, size_t len)
{
	struct output *output = context;

	if (output->len + len > output->room) {
		output->room = 2 * (output->len + len);
		output->data = realloc(output->data, output->room);
		require(output->data != NULL, "no memory", NULL);
	}
	memcpy(output->data + output->len, data, len);
	output->len += len;
	return 0;
}

static int read_bytes(const uint8_t *data, size_t len, struct hf_image *image, struct hf_error *err)
{
	struct input input = {.data = data, .len = len};
	struct hf_input in = {.read = input_read, .context = &input};

	memset(image, 0, sizeof(*image));
	return hf_image_read(&in, image, err);
}

static int same_endpoint(const struct hf_endpoint *a, const struct hf_endpoint *b)
{
	return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0 && a->port == b->port &&
	       a->scope_id == b->scope_id;
}

static int same_holders(const struct hf_conn *a, const struct hf_conn *b)
{
	if (a->n_holders != b->n_holders)
		return 0;
	for (uint32_t i = 0; i < a->n_holders; i++)
		if (a->holders[i].levels != b->holders[i].levels ||
			memcmp(a->holders[i].pid, b->holders[i].pid, sizeof(a->holders[i].pid)) !=
				0 ||
			a->holders[i].fd != b->holders[i].fd)
			return 0;
	return 1;
}

static int same_window(const struct hf_window *a, const struct hf_window *b)
{
	return a->snd_wl1 == b->snd_wl1 && a->snd_wnd == b->snd_wnd &&
	       a->max_window == b->max_window && a->rcv_wnd == b->rcv_wnd &&
	       a->rcv_wup == b->rcv_wup;
}

static int same_options(const struct hf_conn *a, const struct hf_conn *b)
{
	if (a->n_options != b->n_options)
		return 0;
	for (uint32_t i = 0; i < a->n_options; i++)
		if (a->options[i].level != b->options[i].level ||
			a->options[i].name != b->options[i].name ||
			a->options[i].len != b->options[i].len ||
			memcmp(a->options[i].value, b->options[i].value, HF_OPTION_SIZE) != 0)
			return 0;
	return 1;
}

static int same_state(const struct hf_conn *a, const struct hf_conn *b)
{
	return a->state == b->state && a->closed == b->closed && a->shutdown == b->shutdown &&
	       a->v6only == b->v6only && a->fin_unsent == b->fin_unsent &&
	       a->urgent.present == b->urgent.present && a->urgent.taken == b->urgent.taken &&
	       a->urgent.at == b->urgent.at;
}

static int same_conn(const struct hf_conn *a, const struct hf_conn *b)
{
	return a->family == b->family && same_state(a, b) && same_options(a, b) &&
	       same_endpoint(&a->local, &b->local) && same_endpoint(&a->peer, &b->peer) &&
	       a->recv.seq == b->recv.seq && a->recv.len == b->recv.len &&
	       a->send.seq == b->send.seq && a->send.len == b->send.len && a->unsent == b->unsent &&
	       a->mss_clamp == b->mss_clamp && a->has_wscale == b->has_wscale &&
	       a->snd_wscale == b->snd_wscale && a->rcv_wscale == b->rcv_wscale &&
	       a->has_sack == b->has_sack && a->has_timestamps == b->has_timestamps &&
	       a->usec_timestamps == b->usec_timestamps && a->timestamp == b->timestamp &&
	       same_window(&a->window, &b->window) && a->peer_paused == b->peer_paused &&
	       a->peer_silent == b->peer_silent && a->rtt_us == b->rtt_us &&
	       a->reuseaddr == b->reuseaddr &&
	       a->inode == b->inode && same_holders(a, b);
}

static int same_pending(const struct hf_pending *a, const struct hf_pending *b)
{
	return a->family == b->family && a->state == b->state &&
	       same_endpoint(&a->local, &b->local) && same_endpoint(&a->peer, &b->peer);
}

static void require_same(const struct hf_image *a, const uint8_t *a_data, const struct hf_image *b,
	const uint8_t *b_data)
{
	require(a->version == b->version && memcmp(a->id, b->id, HF_ID_SIZE) == 0 &&
			a->created == b->created && strcmp(a->writer, b->writer) == 0 &&
			a->netns_shared == b->netns_shared && a->n_pending == b->n_pending &&
			a->n_conns == b->n_conns && a->queue_bytes == b->queue_bytes,
		"the header changed", NULL);
	for (uint32_t i = 0; i < a->n_pending; i++)
		require(same_pending(&a->pending[i], &b->pending[i]),
			"a pending connection changed", NULL);
	for (uint32_t i = 0; i < a->n_conns; i++) {
		const struct hf_conn *conn = &a->conns[i];

		require(same_conn(conn, &b->conns[i]), "a connection changed", NULL);
		require(memcmp(a_data + conn->data_offset, b_data + b->conns[i].data_offset,
				(size_t)conn->recv.len + conn->send.len) == 0,
			"the bytes of a queue changed", NULL);
	}
}

/* What was read is complete, and the places of the queues lie inside the file. */
static void require_good(const struct hf_image *image, size_t size)
{
	uint64_t queue_bytes = 0;

	require(image->version == HF_IMAGE_VERSION, "an unknown version was accepted", NULL);
	require(image->n_conns <= HF_MAX_CONNS && image->n_pending <= HF_MAX_PENDING,
		"more than the limit was accepted", NULL);
	require(memchr(image->writer, '\0', sizeof(image->writer)) != NULL,
		"the writer's name has no end", NULL);
	for (uint32_t i = 0; i < image->n_conns; i++) {
		const struct hf_conn *conn = &image->conns[i];
		struct hf_error err = HF_ERROR_INIT;
		char text[HF_CONN_TEXT];

		require(hf_conn_check(conn, &err) == 0, "a bad connection was accepted", &err);
		require(conn->data_offset <= size && (uint64_t)conn->recv.len + conn->send.len <=
							     size - conn->data_offset,
			"a queue lies outside the file", NULL);
		require(strlen(hf_conn_format(text, conn)) < HF_CONN_TEXT, "text too long", NULL);
		queue_bytes += (uint64_t)conn->recv.len + conn->send.len;
	}
	require(queue_bytes == image->queue_bytes, "the sum of the queues is wrong", NULL);
}

static void write_again(const struct hf_image *image, const uint8_t *data, struct output *output)
{
	struct hf_output out = {.write = output_write, .context = output};
	struct hf_image_writer writer;
	struct hf_error err = HF_ERROR_INIT;

	require(hf_image_write_header(&writer, &out, image, &err) == 0, "write header", &err);
	for (uint32_t i = 0; i < image->n_conns; i++) {
		const struct hf_conn *conn = &image->conns[i];
		const uint8_t *queues = data + conn->data_offset;

		require(hf_image_write_conn(&writer, conn, queues, queues + conn->recv.len, &err) ==
				0,
			"write connection", &err);
	}
	require(hf_image_write_end(&writer, &err) == 0, "write end", &err);
}

static void try_bytes(const uint8_t *data, size_t size)
{
	static const struct hf_image nothing;
	struct hf_image image, again;
	struct hf_error err = HF_ERROR_INIT;
	struct output output = {.data = NULL};
	int ret = read_bytes(data, size, &image, &err);

	if (ret < 0) {
		require(err.code == ret && err.text[0], "an error without a text", NULL);
		require(!strchr(err.text, '\n'), "an error of several lines", &err);
		require(memcmp(&image, &nothing, sizeof(image)) == 0, "something was kept", &err);
		return;
	}
	require(ret == 0 && err.code == 0, "an error object set on success", &err);
	require_good(&image, size);
	write_again(&image, data, &output);
	require(read_bytes(output.data, output.len, &again, &err) == 0, "read again", &err);
	require_same(&image, data, &again, output.data);
	hf_image_clear(&again);
	hf_image_clear(&image);
	free(output.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *fixed;

	try_bytes(data, size);
	if (size < START + 4)
		return 0;
	fixed = malloc(size);
	require(fixed != NULL, "no memory", NULL);
	memcpy(fixed, data, size);
	memcpy(fixed, HF_IMAGE_MAGIC, HF_IMAGE_MAGIC_SIZE);
	hf_put_le32(fixed + HF_IMAGE_MAGIC_SIZE, HF_IMAGE_VERSION);
	hf_put_le32(fixed + size - 4, hf_crc32c(0, fixed, size - 4));
	try_bytes(fixed, size);
	free(fixed);
	return 0;
}
