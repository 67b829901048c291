// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/image.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crc32c.h"
#include "lib/image.pb-c.h"
#include "lib/image_format.h"

#define SKIP_CHUNK 65536

struct reader {
	const struct hf_input *in;
	uint64_t offset;
	uint32_t crc;
	uint8_t *record; /* buffer for one encoded message, grows */
	size_t record_size;
};

/* Every field that a message has and this reader does not know makes the image bad. */
static bool has_unknown_fields(const ProtobufCMessage *message)
{
	return message->n_unknown_fields > 0;
}

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
				(unsigned long long)(reader->offset + done));
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

/* Reads a record and decodes it; the caller frees with protobuf_c_message_free_unpacked(). */
static int get_message(struct reader *reader, const ProtobufCMessageDescriptor *descriptor,
	ProtobufCMessage **message, struct hf_error *err)
{
	static uint8_t nothing;
	size_t len = 0;
	int ret = get_record(reader, &len, err);

	if (ret < 0)
		return ret;
	*message = protobuf_c_message_unpack(
		descriptor, NULL, len, reader->record ? reader->record : &nothing);
	if (!*message)
		return bad(err, "content", "is not a valid message");
	if (has_unknown_fields(*message))
		return bad(err, "content", "has a field that this version does not know");
	return 0;
}

static void free_message(ProtobufCMessage **message)
{
	if (*message)
		protobuf_c_message_free_unpacked(*message, NULL);
}

#define autofree_message __attribute__((cleanup(free_message)))

static int get_family(uint32_t value, enum hf_family *family, struct hf_error *err)
{
	if (value != HF_FAMILY_IPV4 && value != HF_FAMILY_IPV6)
		return bad(err, "family", "neither 4 nor 6");
	*family = (enum hf_family)value;
	return 0;
}

static int get_endpoint(const Holdfast__Endpoint *from, enum hf_family family,
	struct hf_endpoint *to, const char *field, struct hf_error *err)
{
	if (!from)
		return bad(err, field, "missing");
	if (has_unknown_fields(&from->base))
		return bad(err, field, "has a field that this version does not know");
	if (from->ip.len != (family == HF_FAMILY_IPV4 ? 4 : 16))
		return bad(err, field, "the address does not fit the family");
	if (from->port > UINT16_MAX)
		return bad(err, field, "the port exceeds 65535");
	memcpy(to->ip, from->ip.data, from->ip.len);
	to->port = (uint16_t)from->port;
	to->scope_id = from->scope_id;
	return 0;
}

static int get_listener(
	const Holdfast__Listener *from, struct hf_listener *to, struct hf_error *err)
{
	int ret;

	if (has_unknown_fields(&from->base))
		return bad(err, "listeners", "has a field that this version does not know");
	ret = get_family(from->family, &to->family, err);
	if (ret == 0)
		ret = get_endpoint(from->local, to->family, &to->local, "local", err);
	if (ret == 0 && to->local.port == 0)
		ret = bad(err, "local", "the port is 0");
	to->v6only = from->v6only;
	return ret < 0 ? hf_error_context(err, "listeners") : 0;
}

static int set_header(const Holdfast__Header *from, struct hf_image *image, struct hf_error *err)
{
	static const uint8_t no_id[HF_ID_SIZE];

	if (from->id.len != HF_ID_SIZE || memcmp(from->id.data, no_id, HF_ID_SIZE) == 0)
		return bad(err, "id", "is not a 128-bit id");
	if (strlen(from->writer) >= sizeof(image->writer))
		return bad(err, "writer", "is too long");
	for (const char *c = from->writer; *c; c++)
		if (*c < ' ' || *c > '~')
			return bad(err, "writer", "has a character that cannot be printed");
	if (from->connections > HF_MAX_CONNS)
		return bad(err, "connections", "too many");
	if (from->n_listeners > HF_MAX_LISTENERS)
		return bad(err, "listeners", "too many");
	memcpy(image->id, from->id.data, HF_ID_SIZE);
	snprintf(image->writer, sizeof(image->writer), "%s", from->writer);
	image->created = from->created;
	image->netns_shared = from->netns_shared;
	image->listeners = calloc(from->n_listeners + 1, sizeof(*image->listeners));
	if (!image->listeners)
		return hf_error_sys(err, -ENOMEM, "cannot read the listeners");
	for (size_t i = 0; i < from->n_listeners; i++) {
		int ret = get_listener(from->listeners[i], &image->listeners[i], err);

		if (ret < 0)
			return ret;
		image->n_listeners++;
	}
	return 0;
}

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
		ret = set_header((Holdfast__Header *)message, image, err);
	if (ret == 0)
		*n_conns = ((Holdfast__Header *)message)->connections;
	return ret < 0 ? hf_error_context(err, "header") : 0;
}

static int get_holders(const Holdfast__Connection *from, struct hf_conn *to, struct hf_error *err)
{
	if (from->n_holders == 0 || from->n_holders > HF_MAX_HOLDERS)
		return bad(err, "holders", "none or too many");
	to->holders = calloc(from->n_holders, sizeof(*to->holders));
	if (!to->holders)
		return hf_error_sys(err, -ENOMEM, "cannot read the holders");
	for (size_t i = 0; i < from->n_holders; i++) {
		const Holdfast__Holder *holder = from->holders[i];

		if (has_unknown_fields(&holder->base))
			return bad(err, "holders", "has a field that this version does not know");
		if (holder->n_pid > HF_MAX_PID_LEVELS)
			return bad(err, "holders", "a pid with too many levels");
		to->holders[i].levels = (uint32_t)holder->n_pid;
		if (holder->n_pid)
			memcpy(to->holders[i].pid, holder->pid,
				holder->n_pid * sizeof(to->holders[i].pid[0]));
		to->holders[i].fd = holder->fd;
		to->n_holders++;
	}
	return 0;
}

static int set_conn(const Holdfast__Connection *from, struct hf_conn *to, struct hf_error *err)
{
	const Holdfast__Window *window = from->window;
	int ret = get_family(from->family, &to->family, err);

	if (ret == 0)
		ret = get_endpoint(from->local, to->family, &to->local, "local", err);
	if (ret == 0)
		ret = get_endpoint(from->peer, to->family, &to->peer, "peer", err);
	if (ret < 0)
		return ret;
	if (!from->receive || has_unknown_fields(&from->receive->base))
		return bad(err, "receive", "missing, or of an unknown form");
	if (!from->send || has_unknown_fields(&from->send->base))
		return bad(err, "send", "missing, or of an unknown form");
	if (!window || has_unknown_fields(&window->base))
		return bad(err, "window", "missing, or of an unknown form");
	if (from->snd_wscale > UINT8_MAX || from->rcv_wscale > UINT8_MAX)
		return bad(err, "wscale", "a window scale above 14");
	if (from->state >= HF_TCP_STATES)
		return bad(err, "state", "is no TCP state");
	to->state = (enum hf_tcp_state)from->state;
	to->recv = (struct hf_queue){from->receive->seq, from->receive->length};
	to->send = (struct hf_queue){from->send->seq, from->send->length};
	to->unsent = from->unsent;
	to->mss_clamp = from->mss_clamp;
	to->has_wscale = from->wscale;
	to->snd_wscale = (uint8_t)from->snd_wscale;
	to->rcv_wscale = (uint8_t)from->rcv_wscale;
	to->has_sack = from->sack;
	to->has_timestamps = from->timestamps;
	to->usec_timestamps = from->usec_timestamps;
	to->timestamp = from->timestamp;
	to->window = (struct hf_window){window->snd_wl1, window->snd_wnd, window->max_window,
		window->rcv_wnd, window->rcv_wup};
	to->reuseaddr = from->reuseaddr;
	to->inode = from->inode;
	ret = get_holders(from, to, err);
	return ret < 0 ? ret : hf_conn_check(to, err);
}

static int get_conn(struct reader *reader, struct hf_conn *conn, struct hf_error *err)
{
	autofree_message ProtobufCMessage *message = NULL;
	int ret = get_message(reader, &holdfast__connection__descriptor, &message, err);

	if (ret == 0)
		ret = set_conn((Holdfast__Connection *)message, conn, err);
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
				return hf_error_sys(err, -ENOMEM, "cannot read the connections");
			image->conns = grown;
			room = more;
		}
		conn = &image->conns[image->n_conns++];
		memset(conn, 0, sizeof(*conn));
		ret = get_conn(reader, conn, err);
		if (ret < 0)
			return hf_error_context(err, "connection %u", image->n_conns);
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
		return hf_error_context(err, "trailer");
	trailer = (const Holdfast__Trailer *)message;
	if (trailer->connections != image->n_conns || trailer->queue_bytes != image->queue_bytes)
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

static int compare_tuples(const void *left, const void *right)
{
	const struct hf_conn *a = *(const struct hf_conn *const *)left;
	const struct hf_conn *b = *(const struct hf_conn *const *)right;
	int order = memcmp(&a->local, &b->local, sizeof(a->local));

	return order ? order : memcmp(&a->peer, &b->peer, sizeof(a->peer));
}

static int compare_holders(const void *left, const void *right)
{
	const struct hf_holder *a = *(const struct hf_holder *const *)left;
	const struct hf_holder *b = *(const struct hf_holder *const *)right;
	int order = memcmp(a->pid, b->pid, sizeof(a->pid));

	return order ? order : (a->fd > b->fd) - (a->fd < b->fd);
}

/* Two records of one tuple, or one file descriptor in two records, cannot both be restored. */
static int check_unique(const struct hf_image *image, struct hf_error *err)
{
	size_t n_holders = 0, n = 0;
	hf_autofree const void **sorted = NULL;

	for (uint32_t i = 0; i < image->n_conns; i++)
		n_holders += image->conns[i].n_holders;
	sorted = calloc(n_holders + 1, sizeof(*sorted)); /* n_holders >= n_conns */
	if (!sorted)
		return hf_error_sys(err, -ENOMEM, "cannot check the connections");
	for (uint32_t i = 0; i < image->n_conns; i++)
		sorted[n++] = &image->conns[i];
	qsort(sorted, n, sizeof(*sorted), compare_tuples);
	for (size_t i = 1; i < n; i++) {
		char text[HF_CONN_TEXT];

		if (compare_tuples(&sorted[i - 1], &sorted[i]) == 0)
			return hf_error_set(err, -EBADMSG, "connections: %s is there twice",
				hf_conn_format(text, sorted[i]));
	}
	n = 0;
	for (uint32_t i = 0; i < image->n_conns; i++)
		for (uint32_t k = 0; k < image->conns[i].n_holders; k++)
			sorted[n++] = &image->conns[i].holders[k];
	qsort(sorted, n, sizeof(*sorted), compare_holders);
	for (size_t i = 1; i < n; i++)
		if (compare_holders(&sorted[i - 1], &sorted[i]) == 0)
			return bad(err, "holders", "a file descriptor is there twice");
	return 0;
}

int hf_image_read(const struct hf_input *in, struct hf_image *image, struct hf_error *err)
{
	struct reader reader = {.in = in};
	struct hf_error ignored = HF_ERROR_INIT;
	uint32_t n_conns = 0;
	int ret;

	/* Adding context on the way up returns the object's code: there must be one. */
	if (!err)
		err = &ignored;
	ret = get_start(&reader, image, &n_conns, err);

	if (ret == 0)
		ret = get_conns(&reader, image, n_conns, err);
	if (ret == 0)
		ret = get_end(&reader, image, err);
	if (ret == 0)
		ret = check_unique(image, err);
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
	free(image->listeners);
	memset(image, 0, sizeof(*image));
}
