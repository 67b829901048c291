// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crc32c.h"
#include "lib/image.pb-c.h"
#include "lib/image_format.h"

char *hf_id_format(char buf[HF_ID_TEXT], const uint8_t id[HF_ID_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < HF_ID_SIZE; i++) {
		buf[2 * i] = digits[id[i] >> 4];
		buf[2 * i + 1] = digits[id[i] & 15];
	}
	buf[HF_ID_TEXT - 1] = '\0';
	return buf;
}

static int put(struct hf_image_writer *writer, const void *data, size_t len, struct hf_error *err)
{
	int ret;

	if (len == 0)
		return 0;
	writer->crc = hf_crc32c(writer->crc, data, len);
	ret = writer->out.write(writer->out.context, data, len);
	return ret < 0 ? hf_error_sys(err, ret, "cannot write %s", HF_IMAGE_NAME) : 0;
}

static int put_message(
	struct hf_image_writer *writer, const ProtobufCMessage *message, struct hf_error *err)
{
	uint8_t on_stack[1024];
	hf_autofree uint8_t *on_heap = NULL;
	uint8_t *bytes = on_stack;
	size_t len = protobuf_c_message_get_packed_size(message);

	if (len > HF_MAX_RECORD)
		return hf_error_set(err, -EINVAL, "a record of %zu bytes is too long for %s", len,
			HF_IMAGE_NAME);
	if (4 + len > sizeof(on_stack)) {
		on_heap = malloc(4 + len);
		if (!on_heap)
			return hf_error_sys(err, -ENOMEM, "cannot write %s", HF_IMAGE_NAME);
		bytes = on_heap;
	}
	hf_put_le32(bytes, (uint32_t)len);
	protobuf_c_message_pack(message, bytes + 4);
	return put(writer, bytes, 4 + len, err);
}

static void set_endpoint(
	Holdfast__Endpoint *to, enum hf_family family, const struct hf_endpoint *from)
{
	holdfast__endpoint__init(to);
	to->ip.data = (uint8_t *)from->ip;
	to->ip.len = family == HF_FAMILY_IPV4 ? 4 : 16;
	to->port = from->port;
	to->scope_id = from->scope_id;
}

/* A listener message with what it points to. */
struct listener_message {
	Holdfast__Listener listener;
	Holdfast__Endpoint local;
};

static int put_header(
	struct hf_image_writer *writer, const struct hf_image *image, struct hf_error *err)
{
	Holdfast__Header header = HOLDFAST__HEADER__INIT;
	hf_autofree struct listener_message *messages =
		calloc(image->n_listeners + 1, sizeof(*messages));
	hf_autofree Holdfast__Listener **pointers =
		calloc(image->n_listeners + 1, sizeof(*pointers));

	if (!messages || !pointers)
		return hf_error_sys(err, -ENOMEM, "cannot write %s", HF_IMAGE_NAME);
	for (uint32_t i = 0; i < image->n_listeners; i++) {
		const struct hf_listener *from = &image->listeners[i];

		holdfast__listener__init(&messages[i].listener);
		messages[i].listener.family = from->family;
		messages[i].listener.v6only = from->v6only;
		set_endpoint(&messages[i].local, from->family, &from->local);
		messages[i].listener.local = &messages[i].local;
		pointers[i] = &messages[i].listener;
	}
	header.id.data = (uint8_t *)image->id;
	header.id.len = sizeof(image->id);
	header.created = image->created;
	header.writer = (char *)image->writer;
	header.connections = image->n_conns;
	header.netns_shared = image->netns_shared;
	header.n_listeners = image->n_listeners;
	header.listeners = pointers;
	return put_message(writer, &header.base, err);
}

int hf_image_write_header(struct hf_image_writer *writer, const struct hf_output *out,
	const struct hf_image *image, struct hf_error *err)
{
	uint8_t start[HF_IMAGE_MAGIC_SIZE + 4];
	int ret;

	memset(writer, 0, sizeof(*writer));
	writer->out = *out;
	writer->announced = image->n_conns;
	if (image->n_conns > HF_MAX_CONNS || image->n_listeners > HF_MAX_LISTENERS)
		return hf_error_set(err, -EINVAL,
			"%u connections and %u listeners: an image holds at most %u and %u",
			image->n_conns, image->n_listeners, HF_MAX_CONNS, HF_MAX_LISTENERS);
	memcpy(start, HF_IMAGE_MAGIC, HF_IMAGE_MAGIC_SIZE);
	hf_put_le32(start + HF_IMAGE_MAGIC_SIZE, HF_IMAGE_VERSION);
	ret = put(writer, start, sizeof(start), err);
	return ret < 0 ? ret : put_header(writer, image, err);
}

/* A connection message with what it points to, but for the holders. */
struct conn_message {
	Holdfast__Connection conn;
	Holdfast__Endpoint local;
	Holdfast__Endpoint peer;
	Holdfast__Queue receive;
	Holdfast__Queue send;
	Holdfast__Window window;
};

static void set_conn(struct conn_message *to, const struct hf_conn *from)
{
	Holdfast__Connection *conn = &to->conn;

	holdfast__connection__init(conn);
	set_endpoint(&to->local, from->family, &from->local);
	set_endpoint(&to->peer, from->family, &from->peer);
	holdfast__queue__init(&to->receive);
	to->receive.seq = from->recv.seq;
	to->receive.length = from->recv.len;
	holdfast__queue__init(&to->send);
	to->send.seq = from->send.seq;
	to->send.length = from->send.len;
	holdfast__window__init(&to->window);
	to->window.snd_wl1 = from->window.snd_wl1;
	to->window.snd_wnd = from->window.snd_wnd;
	to->window.max_window = from->window.max_window;
	to->window.rcv_wnd = from->window.rcv_wnd;
	to->window.rcv_wup = from->window.rcv_wup;
	conn->family = from->family;
	conn->state = from->state;
	conn->local = &to->local;
	conn->peer = &to->peer;
	conn->receive = &to->receive;
	conn->send = &to->send;
	conn->unsent = from->unsent;
	conn->mss_clamp = from->mss_clamp;
	conn->wscale = from->has_wscale;
	conn->snd_wscale = from->snd_wscale;
	conn->rcv_wscale = from->rcv_wscale;
	conn->sack = from->has_sack;
	conn->timestamps = from->has_timestamps;
	conn->usec_timestamps = from->usec_timestamps;
	conn->timestamp = from->timestamp;
	conn->window = &to->window;
	conn->reuseaddr = from->reuseaddr;
	conn->inode = from->inode;
}

static int put_conn(
	struct hf_image_writer *writer, const struct hf_conn *from, struct hf_error *err)
{
	struct conn_message message;
	hf_autofree Holdfast__Holder *holders = calloc(from->n_holders + 1, sizeof(*holders));
	hf_autofree Holdfast__Holder **pointers = calloc(from->n_holders + 1, sizeof(*pointers));

	if (!holders || !pointers)
		return hf_error_sys(err, -ENOMEM, "cannot write %s", HF_IMAGE_NAME);
	for (uint32_t i = 0; i < from->n_holders; i++) {
		holdfast__holder__init(&holders[i]);
		holders[i].n_pid = from->holders[i].levels;
		holders[i].pid = from->holders[i].pid;
		holders[i].fd = from->holders[i].fd;
		pointers[i] = &holders[i];
	}
	set_conn(&message, from);
	message.conn.n_holders = from->n_holders;
	message.conn.holders = pointers;
	return put_message(writer, &message.conn.base, err);
}

int hf_image_write_conn(struct hf_image_writer *writer, const struct hf_conn *conn,
	const void *recv_data, const void *send_data, struct hf_error *err)
{
	int ret = hf_conn_check(conn, err);

	if (ret < 0)
		return ret;
	if (writer->written == writer->announced)
		return hf_error_set(
			err, -EINVAL, "more than the announced %u connections", writer->announced);
	ret = put_conn(writer, conn, err);
	if (ret == 0)
		ret = put(writer, recv_data, conn->recv.len, err);
	if (ret == 0)
		ret = put(writer, send_data, conn->send.len, err);
	if (ret < 0)
		return ret;
	writer->written++;
	writer->queue_bytes += (uint64_t)conn->recv.len + conn->send.len;
	return 0;
}

int hf_image_write_end(struct hf_image_writer *writer, struct hf_error *err)
{
	Holdfast__Trailer trailer = HOLDFAST__TRAILER__INIT;
	uint8_t crc[4];
	int ret;

	if (writer->written != writer->announced)
		return hf_error_set(err, -EINVAL, "%u of the announced %u connections written",
			writer->written, writer->announced);
	trailer.connections = writer->written;
	trailer.queue_bytes = writer->queue_bytes;
	ret = put_message(writer, &trailer.base, err);
	if (ret < 0)
		return ret;
	hf_put_le32(crc, writer->crc);
	return put(writer, crc, sizeof(crc), err);
}
