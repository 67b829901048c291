// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crc32c.h"
#include "lib/image_decode.h"
#include "lib/image_format.h"

#define SKIP_CHUNK 65536

struct reader {
	const struct hf_input *in;
	uint64_t offset;
	uint32_t crc;
	uint8_t *record; /* buffer for one encoded message, grows */
	size_t record_size;
};

static int bad(struct hf_error *err, const char *field, const char *why)
{
	return hf_error_set(err, -EBADMSG, "%s: %s", field, why);
}

/* Reads exactly len bytes. `what` names them for the error. */
static int get(
	struct reader *reader, void *data, size_t len, const char *what, struct hf_error *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n =
			reader->in->read(reader->in->context, (uint8_t *)data + done, len - done);

		if (n < 0)
			return hf_error_sys(err, (int)n, "cannot read %s", what);
		if (n == 0)
			return hf_error_set(err, -EBADMSG,
				"%s: the file ends at byte %llu, in the middle", what,
				(unsigned long long)reader->offset + done);
		done += (size_t)n;
	}
	reader->crc = hf_crc32c(reader->crc, data, len);
	reader->offset += len;
	return 0;
}

static int skip(struct reader *reader, uint64_t len, const char *what, struct hf_error *err)
{
	uint8_t chunk[SKIP_CHUNK];

	while (len > 0) {
		size_t part = len < sizeof(chunk) ? (size_t)len : sizeof(chunk);
		int ret = get(reader, chunk, part, what, err);

		if (ret < 0)
			return ret;
		len -= part;
	}
	return 0;
}

/*
 * Reads one framed message. The buffer grows with what really is there, in steps, so that a wrong
 * length does not allocate what the file does not hold.
 */
static int get_record(struct reader *reader, size_t *len, struct hf_error *err)
{
	uint8_t prefix[4];
	size_t want, have = 0;
	int ret = get(reader, prefix, sizeof(prefix), "length", err);

	if (ret < 0)
		return ret;
	want = hf_get_le32(prefix);
	if (want > HF_MAX_RECORD)
		return hf_error_set(err, -EBADMSG, "length: %zu exceeds the limit of %u bytes",
			want, HF_MAX_RECORD);
	while (have < want) {
		size_t part = want - have < SKIP_CHUNK ? want - have : SKIP_CHUNK;

		if (have + part > reader->record_size) {
			size_t size = 2 * (have + part);
			uint8_t *grown = realloc(reader->record, size);

			if (!grown)
				return hf_error_sys(err, -ENOMEM, "cannot read a record");
			reader->record = grown;
			reader->record_size = size;
		}
		ret = get(reader, reader->record + have, part, "content", err);
		if (ret < 0)
			return ret;
		have += part;
	}
	*len = want;
	return 0;
}

/*
 * Counts the memory that a message takes when it is unpacked. Sub-messages without fields take two
 * bytes of a record and some 80 of memory, and all of them are made before their number can be
 * checked.
 */
struct budget {
	size_t left;
	bool spent;
	bool no_memory;
};

static void *take_memory(void *context, size_t size)
{
	struct budget *budget = context;
	size_t with_overhead = size + 2 * sizeof(size_t);
	void *memory;

	if (with_overhead > budget->left) {
		budget->spent = true;
		return NULL;
	}
	budget->left -= with_overhead;
	memory = malloc(size);
	budget->no_memory |= !memory;
	return memory;
}

static void free_memory(void *context, void *memory)
{
	(void)context;
	free(memory);
}

/* The caller frees with protobuf_c_message_free_unpacked(), without an allocator. */
static int unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
	ProtobufCMessage **message, struct hf_error *err)
{
	struct budget budget = {.left = HF_MAX_UNPACKED};
	ProtobufCAllocator allocator = {take_memory, free_memory, &budget};

	*message = protobuf_c_message_unpack(descriptor, &allocator, len, bytes);
	if (*message)
		return 0;
	if (budget.no_memory)
		return hf_error_sys(err, -ENOMEM, "cannot read a record");
	return budget.spent ? bad(err, "content", "takes too much memory")
			    : bad(err, "content", "is not a valid message");
}

/* Reads a record and decodes it; the caller frees with protobuf_c_message_free_unpacked(). */
static int get_message(struct reader *reader, const ProtobufCMessageDescriptor *descriptor,
	ProtobufCMessage **message, struct hf_error *err)
{
	static uint8_t nothing;
	size_t len = 0;
	int ret = get_record(reader, &len, err);

	if (ret < 0)
		return ret;
	ret = unpack(descriptor, reader->record ? reader->record : &nothing, len, message, err);
	if (ret < 0)
		return ret;
	if (hf_has_unknown_fields(*message))
		return bad(err, "content", "has a field that this version does not know");
	return 0;
}

static void free_message(ProtobufCMessage **message)
{
	if (*message)
		protobuf_c_message_free_unpacked(*message, NULL);
}

#define autofree_message __attribute__((cleanup(free_message)))

static int get_start(
	struct reader *reader, struct hf_image *image, uint32_t *n_conns, struct hf_error *err)
{
	uint8_t start[HF_IMAGE_MAGIC_SIZE + 4];
	autofree_message ProtobufCMessage *message = NULL;
	int ret = get(reader, start, sizeof(start), "magic", err);

	if (ret < 0)
		return ret;
	if (memcmp(start, HF_IMAGE_MAGIC, HF_IMAGE_MAGIC_SIZE) != 0)
		return bad(err, "magic", "this is not a holdfast image");
	image->version = hf_get_le32(start + HF_IMAGE_MAGIC_SIZE);
	if (image->version != HF_IMAGE_VERSION)
		return hf_error_set(err, -EPROTONOSUPPORT,
			"version: %u, but this holdfast reads version %u only", image->version,
			HF_IMAGE_VERSION);
	ret = get_message(reader, &holdfast__header__descriptor, &message, err);
	if (ret == 0)
		ret = hf_decode_header((Holdfast__Header *)message, image, err);
	if (ret == 0)
		*n_conns = ((Holdfast__Header *)message)->sockets;
	return ret < 0 ? hf_error_context(err, ret, "header") : 0;
}

static int get_conn(struct reader *reader, struct hf_conn *conn, struct hf_error *err)
{
	autofree_message ProtobufCMessage *message = NULL;
	int ret = get_message(reader, &holdfast__socket__descriptor, &message, err);

	if (ret == 0)
		ret = hf_decode_socket((Holdfast__Socket *)message, conn, err);
	if (ret < 0)
		return ret;
	conn->data_offset = reader->offset;
	ret = skip(reader, conn->recv.len, "receive", err);
	return ret < 0 ? ret : skip(reader, conn->send.len, "send", err);
}

/* The array doubles as records really arrive: a wrong count in the header costs nothing. */
static int get_conns(
	struct reader *reader, struct hf_image *image, uint32_t n_conns, struct hf_error *err)
{
	uint32_t room = 0;

	while (image->n_conns < n_conns) {
		struct hf_conn *conn;
		int ret;

		if (image->n_conns == room) {
			uint32_t more = room ? 2 * room : 64;
			struct hf_conn *grown = realloc(image->conns, more * sizeof(*grown));

			if (!grown)
				return hf_error_sys(err, -ENOMEM, "cannot read the sockets");
			image->conns = grown;
			room = more;
		}
		conn = &image->conns[image->n_conns++];
		memset(conn, 0, sizeof(*conn));
		ret = get_conn(reader, conn, err);
		if (ret < 0)
			return hf_error_context(err, ret, "socket %u", image->n_conns);
		image->queue_bytes += (uint64_t)conn->recv.len + conn->send.len;
	}
	return 0;
}

static int get_end(struct reader *reader, const struct hf_image *image, struct hf_error *err)
{
	autofree_message ProtobufCMessage *message = NULL;
	const Holdfast__Trailer *trailer;
	uint32_t crc;
	uint8_t stored[4], after;
	ssize_t n;
	int ret = get_message(reader, &holdfast__trailer__descriptor, &message, err);

	if (ret < 0)
		return hf_error_context(err, ret, "trailer");
	trailer = (const Holdfast__Trailer *)message;
	if (trailer->sockets != image->n_conns || trailer->queue_bytes != image->queue_bytes)
		return bad(err, "trailer", "its sums differ from what the file holds");
	crc = reader->crc;
	ret = get(reader, stored, sizeof(stored), "checksum", err);
	if (ret < 0)
		return ret;
	if (hf_get_le32(stored) != crc)
		return bad(err, "checksum", "the file is damaged");
	n = reader->in->read(reader->in->context, &after, 1);
	if (n < 0)
		return hf_error_sys(err, (int)n, "cannot read %s", HF_IMAGE_NAME);
	return n == 0 ? 0 : bad(err, "end", "the file goes on after its checksum");
}

int hf_image_read(const struct hf_input *in, struct hf_image *image, struct hf_error *err)
{
	struct reader reader = {.in = in};
	uint32_t n_conns = 0;
	int ret = get_start(&reader, image, &n_conns, err);

	if (ret == 0)
		ret = get_conns(&reader, image, n_conns, err);
	if (ret == 0)
		ret = get_end(&reader, image, err);
	if (ret == 0)
		ret = hf_image_check_unique(image, err);
	free(reader.record);
	if (ret < 0)
		hf_image_clear(image);
	return ret;
}

void hf_image_clear(struct hf_image *image)
{
	for (uint32_t i = 0; i < image->n_conns; i++)
		hf_conn_clear(&image->conns[i]);
	free(image->conns);
	free(image->pending);
	free(image->addresses);
	free(image->aliases);
	memset(image, 0, sizeof(*image));
}
