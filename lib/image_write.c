// SPDX-License-Identifier: GPL-2.0-or-later
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

	for (size_t i = 0; i < HF_ID_SIZE; i++) {
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

/* A pending connection's message with what it points to. */
struct pending_message {
	Holdfast__Pending pending;
	Holdfast__Endpoint local;
	Holdfast__Endpoint peer;
};

static void set_pending(struct pending_message *to, const struct hf_pending *from)
{
	holdfast__pending__init(&to->pending);
	to->pending.family = from->family;
	to->pending.state = from->state;
	set_endpoint(&to->local, from->family, &from->local);
	set_endpoint(&to->peer, from->family, &from->peer);
	to->pending.local = &to->local;
	to->pending.peer = &to->peer;
}

/* The same of an alias. */
struct alias_message {
	Holdfast__Alias alias;
	Holdfast__Endpoint local;
	Holdfast__Endpoint peer;
	Holdfast__Endpoint inside;
};

static void set_alias(struct alias_message *to, const struct hf_alias *from)
{
	holdfast__alias__init(&to->alias);
	to->alias.family = from->family;
	set_endpoint(&to->local, from->family, &from->local);
	to->alias.local = &to->local;
	if (!from->peer.port)
		return;
	set_endpoint(&to->peer, from->family, &from->peer);
	to->alias.peer = &to->peer;
	if (!from->inside.port)
		return;
	set_endpoint(&to->inside, from->family, &from->inside);
	to->alias.inside = &to->inside;
}

static int put_header(
	struct hf_image_writer *writer, const struct hf_image *image, struct hf_error *err)
{
	Holdfast__Header header = HOLDFAST__HEADER__INIT;
	hf_autofree struct pending_message *messages =
		calloc(image->n_pending + 1, sizeof(*messages));
	hf_autofree Holdfast__Pending **pointers = calloc(image->n_pending + 1, sizeof(*pointers));
	hf_autofree ProtobufCBinaryData *addresses =
		calloc(image->n_addresses + 1, sizeof(*addresses));
	hf_autofree struct alias_message *aliases = calloc(image->n_aliases + 1, sizeof(*aliases));
	hf_autofree Holdfast__Alias **to_aliases =
		calloc(image->n_aliases + 1, sizeof(*to_aliases));

	if (!messages || !pointers || !addresses || !aliases || !to_aliases)
		return hf_error_sys(err, -ENOMEM, "cannot write %s", HF_IMAGE_NAME);
	for (uint32_t i = 0; i < image->n_pending; i++) {
		set_pending(&messages[i], &image->pending[i]);
		pointers[i] = &messages[i].pending;
	}
	for (uint32_t i = 0; i < image->n_addresses; i++) {
		addresses[i].data = image->addresses[i].ip;
		addresses[i].len = image->addresses[i].family == HF_FAMILY_IPV4 ? 4 : 16;
	}
	for (uint32_t i = 0; i < image->n_aliases; i++) {
		set_alias(&aliases[i], &image->aliases[i]);
		to_aliases[i] = &aliases[i].alias;
	}
	header.id.data = (uint8_t *)image->id;
	header.id.len = sizeof(image->id);
	header.created = image->created;
	header.writer = (char *)image->writer;
	header.sockets = image->n_conns;
	header.netns_shared = image->netns_shared;
	header.peers_paused = image->peers_paused;
	header.n_pending = image->n_pending;
	header.pending = pointers;
	header.n_addresses = image->n_addresses;
	header.addresses = addresses;
	header.n_aliases = image->n_aliases;
	header.aliases = to_aliases;
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
	ret = hf_image_check_header(image, image->n_conns, err);
	if (ret < 0)
		return ret;
	memcpy(start, HF_IMAGE_MAGIC, HF_IMAGE_MAGIC_SIZE);
	hf_put_le32(start + HF_IMAGE_MAGIC_SIZE, HF_IMAGE_VERSION);
	ret = put(writer, start, sizeof(start), err);
	return ret < 0 ? ret : put_header(writer, image, err);
}

/* A socket's message with what it points to, but for the arrays. */
struct socket_message {
	Holdfast__Socket socket;
	Holdfast__Endpoint local;
	Holdfast__Endpoint peer;
	Holdfast__Queue receive;
	Holdfast__Queue send;
	Holdfast__Urgent urgent;
	Holdfast__Window window;
};

static Holdfast__Queue *set_queue(Holdfast__Queue *to, const struct hf_queue *from)
{
	holdfast__queue__init(to);
	to->seq = from->seq;
	to->length = from->len;
	return to;
}

static Holdfast__Window *set_window(Holdfast__Window *to, const struct hf_window *from)
{
	holdfast__window__init(to);
	to->snd_wl1 = from->snd_wl1;
	to->snd_wnd = from->snd_wnd;
	to->max_window = from->max_window;
	to->rcv_wnd = from->rcv_wnd;
	to->rcv_wup = from->rcv_wup;
	return to;
}

/* The messages inside, as far as the socket's state has them. */
static void set_parts(struct socket_message *to, const struct hf_conn *from)
{
	const struct hf_tcp_row *row = hf_tcp_row(from->state, from->closed);
	Holdfast__Socket *socket = &to->socket;

	set_endpoint(&to->local, from->family, &from->local);
	socket->local = &to->local;
	if (row->connected) {
		set_endpoint(&to->peer, from->family, &from->peer);
		socket->peer = &to->peer;
	}
	if (hf_has_receive(row))
		socket->receive = set_queue(&to->receive, &from->recv);
	if (hf_has_send(row))
		socket->send = set_queue(&to->send, &from->send);
	if (hf_has_window(row))
		socket->window = set_window(&to->window, &from->window);
	if (from->urgent.present) {
		holdfast__urgent__init(&to->urgent);
		to->urgent.taken = from->urgent.taken;
		to->urgent.at = from->urgent.at;
		socket->urgent = &to->urgent;
	}
}

static void set_socket(struct socket_message *to, const struct hf_conn *from)
{
	Holdfast__Socket *socket = &to->socket;

	holdfast__socket__init(socket);
	set_parts(to, from);
	socket->family = from->family;
	socket->state = from->state;
	socket->closed = from->closed;
	socket->shutdown = from->shutdown;
	socket->v6only = from->v6only;
	socket->unsent = from->unsent;
	socket->fin_unsent = from->fin_unsent;
	socket->mss_clamp = from->mss_clamp;
	socket->wscale = from->has_wscale;
	socket->snd_wscale = from->snd_wscale;
	socket->rcv_wscale = from->rcv_wscale;
	socket->sack = from->has_sack;
	socket->timestamps = from->has_timestamps;
	socket->usec_timestamps = from->usec_timestamps;
	socket->timestamp = from->timestamp;
	socket->reuseaddr = from->reuseaddr;
	socket->inode = from->inode;
	socket->peer_paused = from->peer_paused;
	socket->peer_silent = from->peer_silent;
	socket->rtt_us = from->rtt_us;
}

static void set_holder(Holdfast__Holder *to, struct hf_holder *from)
{
	holdfast__holder__init(to);
	to->n_pid = from->levels;
	to->pid = from->pid;
	to->fd = from->fd;
}

static void set_option(Holdfast__Option *to, struct hf_option *from)
{
	holdfast__option__init(to);
	to->level = from->level;
	to->name = from->name;
	to->value.data = from->value;
	to->value.len = from->len;
}

static int put_conn(
	struct hf_image_writer *writer, const struct hf_conn *from, struct hf_error *err)
{
	struct socket_message message;
	Holdfast__Option options[HF_MAX_OPTIONS], *option_pointers[HF_MAX_OPTIONS];
	hf_autofree Holdfast__Holder *holders = calloc(from->n_holders + 1, sizeof(*holders));
	hf_autofree Holdfast__Holder **pointers = calloc(from->n_holders + 1, sizeof(*pointers));

	if (!holders || !pointers)
		return hf_error_sys(err, -ENOMEM, "cannot write %s", HF_IMAGE_NAME);
	for (uint32_t i = 0; i < from->n_holders; i++) {
		set_holder(&holders[i], &from->holders[i]);
		pointers[i] = &holders[i];
	}
	for (uint32_t i = 0; i < from->n_options; i++) {
		set_option(&options[i], &from->options[i]);
		option_pointers[i] = &options[i];
	}
	set_socket(&message, from);
	message.socket.n_holders = from->n_holders;
	message.socket.holders = pointers;
	message.socket.n_options = from->n_options;
	message.socket.options = option_pointers;
	return put_message(writer, &message.socket.base, err);
}

static int bytes_missing(const struct hf_image_writer *writer, struct hf_error *err)
{
	return hf_error_set(err, -EINVAL, "%llu bytes of the queues are missing",
		(unsigned long long)writer->missing);
}

int hf_image_write_record(
	struct hf_image_writer *writer, const struct hf_conn *conn, struct hf_error *err)
{
	int ret = hf_conn_check(conn, err);

	if (ret < 0)
		return ret;
	if (writer->missing)
		return bytes_missing(writer, err);
	if (writer->written == writer->announced)
		return hf_error_set(
			err, -EINVAL, "more than the announced %u sockets", writer->announced);
	ret = put_conn(writer, conn, err);
	if (ret < 0)
		return ret;
	writer->written++;
	writer->missing = (uint64_t)conn->recv.len + conn->send.len;
	writer->queue_bytes += writer->missing;
	return 0;
}

static int take_bytes(struct hf_image_writer *writer, size_t len, struct hf_error *err)
{
	if (len > writer->missing)
		return hf_error_set(err, -EINVAL, "more bytes than the queues have");
	writer->missing -= len;
	return 0;
}

int hf_image_write_bytes(
	struct hf_image_writer *writer, const void *data, size_t len, struct hf_error *err)
{
	int ret = take_bytes(writer, len, err);

	return ret < 0 ? ret : put(writer, data, len, err);
}

int hf_image_count_bytes(
	struct hf_image_writer *writer, const void *data, size_t len, struct hf_error *err)
{
	int ret = take_bytes(writer, len, err);

	if (ret == 0)
		writer->crc = hf_crc32c(writer->crc, data, len);
	return ret;
}

int hf_image_write_conn(struct hf_image_writer *writer, const struct hf_conn *conn,
	const void *recv_data, const void *send_data, struct hf_error *err)
{
	int ret = hf_image_write_record(writer, conn, err);

	if (ret == 0)
		ret = hf_image_write_bytes(writer, recv_data, conn->recv.len, err);
	return ret < 0 ? ret : hf_image_write_bytes(writer, send_data, conn->send.len, err);
}

int hf_image_write_end(struct hf_image_writer *writer, struct hf_error *err)
{
	Holdfast__Trailer trailer = HOLDFAST__TRAILER__INIT;
	uint8_t crc[4];
	int ret;

	if (writer->missing)
		return bytes_missing(writer, err);
	if (writer->written != writer->announced)
		return hf_error_set(err, -EINVAL, "%u of the announced %u sockets written",
			writer->written, writer->announced);
	trailer.sockets = writer->written;
	trailer.queue_bytes = writer->queue_bytes;
	ret = put_message(writer, &trailer.base, err);
	if (ret < 0)
		return ret;
	hf_put_le32(crc, writer->crc);
	return put(writer, crc, sizeof(crc), err);
}
