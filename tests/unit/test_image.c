// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/image.h"

#include "tests/unit/unit.h"

#include "lib/crc32c.h"
#include "lib/image.pb-c.h"
#include "lib/image_format.h"

#define START (HF_IMAGE_MAGIC_SIZE + 4)

static int read_image(
	const struct unit_bytes *bytes, size_t len, struct hf_image *image, struct hf_error *err)
{
	struct unit_bytes view = {.data = bytes->data, .len = len, .step = bytes->step};
	struct hf_input in = {.read = unit_bytes_read, .context = &view};

	memset(image, 0, sizeof(*image));
	return hf_image_read(&in, image, err);
}

/* The bytes must not be an image: fails with `code`, keeps nothing, and the text has both parts. */
static void assert_refused(
	const struct unit_bytes *bytes, size_t len, int code, const char *record, const char *field)
{
	static const struct hf_image nothing;
	struct hf_image image;
	struct hf_error err = HF_ERROR_INIT;
	int ret = read_image(bytes, len, &image, &err);

	if (ret != code)
		fail_msg("%s, %s: returned %d, not %d: %s", record, field, ret, code, err.text);
	assert_int_equal(err.code, code);
	assert_contains(err.text, record);
	assert_contains(err.text, field);
	assert_memory_equal(&image, &nothing, sizeof(nothing));
}

/*
 * The sample: an IPv4 connection, one with link-local addresses and several holders of several pid
 * levels, one with IPv4-mapped addresses; queues empty and not; two listeners.
 */
struct sample {
	struct hf_image image;
	struct hf_listener listeners[2];
	struct hf_conn conns[3];
	struct hf_holder first;
	struct hf_holder second[3];
	struct hf_holder third;
	uint8_t recv[3][16];
	uint8_t send[3][16];
};

static void make_sample(struct sample *sample)
{
	memset(sample, 0, sizeof(*sample));
	sample->listeners[0] = (struct hf_listener){
		.family = HF_FAMILY_IPV6, .v6only = true, .local = {.port = 80}};
	sample->listeners[1] =
		(struct hf_listener){.family = HF_FAMILY_IPV4, .local = unit_v4(1, 8080)};

	sample->conns[0] = unit_conn(&sample->first);

	sample->conns[1] = unit_conn(&sample->second[0]);
	sample->second[1] = (struct hf_holder){.levels = 2, .pid = {10, 2}, .fd = 0};
	sample->second[2] = (struct hf_holder){.levels = HF_MAX_PID_LEVELS, .fd = INT32_MAX};
	for (uint32_t i = 0; i < HF_MAX_PID_LEVELS; i++)
		sample->second[2].pid[i] = INT32_MAX - i;
	sample->second[0].fd = 4;
	sample->conns[1].n_holders = 3;
	sample->conns[1].family = HF_FAMILY_IPV6;
	sample->conns[1].local = unit_link_local(1, 80, 5);
	sample->conns[1].peer = unit_link_local(2, 40001, 5);
	sample->conns[1].recv.len = 5;
	sample->conns[1].send.len = 16;
	sample->conns[1].unsent = 16;
	sample->conns[1].usec_timestamps = true;
	sample->conns[1].reuseaddr = false;

	sample->conns[2] = unit_conn(&sample->third);
	sample->third.fd = 5;
	sample->conns[2].family = HF_FAMILY_IPV6;
	sample->conns[2].local = unit_mapped(1, 80);
	sample->conns[2].peer = unit_mapped(3, 40002);
	sample->conns[2].send.len = 1;
	sample->conns[2].has_wscale = false;
	sample->conns[2].snd_wscale = 0;
	sample->conns[2].rcv_wscale = 0;
	sample->conns[2].has_sack = false;
	sample->conns[2].has_timestamps = false;
	sample->conns[2].inode = UINT64_MAX;

	for (uint8_t i = 0; i < 16; i++)
		for (uint8_t k = 0; k < 3; k++) {
			sample->recv[k][i] = (uint8_t)(0x10 + 0x50 * k + i);
			sample->send[k][i] = (uint8_t)(0x30 + 0x50 * k + i);
		}
	sample->image = (struct hf_image){.created = 1760000000,
		.writer = "holdfast 0.1.0",
		.netns_shared = true,
		.listeners = sample->listeners,
		.n_listeners = 2,
		.conns = sample->conns,
		.n_conns = 3};
	for (uint8_t i = 0; i < HF_ID_SIZE; i++)
		sample->image.id[i] = (uint8_t)(0xa0 + i);
}

static void write_sample(const struct sample *sample, struct unit_bytes *bytes)
{
	struct hf_output out = {.write = unit_bytes_write, .context = bytes};
	struct hf_image_writer writer;

	memset(bytes, 0, sizeof(*bytes));
	assert_int_equal(hf_image_write_header(&writer, &out, &sample->image, NULL), 0);
	for (uint32_t i = 0; i < sample->image.n_conns; i++)
		assert_int_equal(hf_image_write_conn(&writer, &sample->conns[i], sample->recv[i],
					 sample->send[i], NULL),
			0);
	assert_int_equal(hf_image_write_end(&writer, NULL), 0);
}

static void assert_same_conn(const struct hf_conn *a, const struct hf_conn *b)
{
	assert_int_equal(a->family, b->family);
	assert_int_equal(a->state, b->state);
	assert_memory_equal(a->local.ip, b->local.ip, sizeof(a->local.ip));
	assert_int_equal(a->local.port, b->local.port);
	assert_int_equal(a->local.scope_id, b->local.scope_id);
	assert_memory_equal(a->peer.ip, b->peer.ip, sizeof(a->peer.ip));
	assert_int_equal(a->peer.port, b->peer.port);
	assert_int_equal(a->peer.scope_id, b->peer.scope_id);
	assert_int_equal(a->recv.seq, b->recv.seq);
	assert_int_equal(a->recv.len, b->recv.len);
	assert_int_equal(a->send.seq, b->send.seq);
	assert_int_equal(a->send.len, b->send.len);
	assert_int_equal(a->unsent, b->unsent);
	assert_int_equal(a->mss_clamp, b->mss_clamp);
	assert_int_equal(a->has_wscale, b->has_wscale);
	assert_int_equal(a->snd_wscale, b->snd_wscale);
	assert_int_equal(a->rcv_wscale, b->rcv_wscale);
	assert_int_equal(a->has_sack, b->has_sack);
	assert_int_equal(a->has_timestamps, b->has_timestamps);
	assert_int_equal(a->usec_timestamps, b->usec_timestamps);
	assert_int_equal(a->timestamp, b->timestamp);
	assert_int_equal(a->window.snd_wl1, b->window.snd_wl1);
	assert_int_equal(a->window.snd_wnd, b->window.snd_wnd);
	assert_int_equal(a->window.max_window, b->window.max_window);
	assert_int_equal(a->window.rcv_wnd, b->window.rcv_wnd);
	assert_int_equal(a->window.rcv_wup, b->window.rcv_wup);
	assert_int_equal(a->reuseaddr, b->reuseaddr);
	assert_true(a->inode == b->inode);
	assert_int_equal(a->n_holders, b->n_holders);
	for (uint32_t i = 0; i < a->n_holders; i++) {
		assert_int_equal(a->holders[i].levels, b->holders[i].levels);
		assert_memory_equal(
			a->holders[i].pid, b->holders[i].pid, sizeof(a->holders[i].pid));
		assert_int_equal(a->holders[i].fd, b->holders[i].fd);
	}
}

static void assert_same_as_sample(
	const struct hf_image *image, const struct sample *sample, const struct unit_bytes *bytes)
{
	const struct hf_image *want = &sample->image;
	uint64_t queue_bytes = 0;

	assert_int_equal(image->version, HF_IMAGE_VERSION);
	assert_memory_equal(image->id, want->id, HF_ID_SIZE);
	assert_true(image->created == want->created);
	assert_string_equal(image->writer, want->writer);
	assert_int_equal(image->netns_shared, want->netns_shared);
	assert_int_equal(image->n_listeners, want->n_listeners);
	for (uint32_t i = 0; i < want->n_listeners; i++) {
		const struct hf_listener *a = &image->listeners[i], *b = &want->listeners[i];

		assert_int_equal(a->family, b->family);
		assert_int_equal(a->v6only, b->v6only);
		assert_memory_equal(a->local.ip, b->local.ip, sizeof(a->local.ip));
		assert_int_equal(a->local.port, b->local.port);
		assert_int_equal(a->local.scope_id, b->local.scope_id);
	}
	assert_int_equal(image->n_conns, want->n_conns);
	for (uint32_t i = 0; i < want->n_conns; i++) {
		const struct hf_conn *conn = &image->conns[i];
		const uint8_t *data = bytes->data + conn->data_offset;

		assert_same_conn(conn, &sample->conns[i]);
		queue_bytes += (uint64_t)conn->recv.len + conn->send.len;
		assert_true(conn->data_offset + conn->recv.len + conn->send.len <= bytes->len);
		if (conn->recv.len)
			assert_memory_equal(data, sample->recv[i], conn->recv.len);
		if (conn->send.len)
			assert_memory_equal(data + conn->recv.len, sample->send[i], conn->send.len);
	}
	assert_true(image->queue_bytes == queue_bytes);
}

static void test_round_trip(void **state)
{
	struct sample sample;
	struct unit_bytes bytes;
	struct hf_image image;
	struct hf_error err = HF_ERROR_INIT;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &bytes);
	assert_memory_equal(bytes.data, "HOLDFAST\1\0\0\0", START);
	for (bytes.step = 0; bytes.step < 4; bytes.step++) {
		if (read_image(&bytes, bytes.len, &image, &err) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(err.code, 0);
		assert_same_as_sample(&image, &sample, &bytes);
		hf_image_clear(&image);
	}
	hf_image_clear(&image); /* an empty one too */
	unit_bytes_clear(&bytes);
}

static void test_no_connections(void **state)
{
	struct sample sample;
	struct unit_bytes bytes;
	struct hf_image image;

	(void)state;
	make_sample(&sample);
	sample.image.n_conns = 0;
	sample.image.n_listeners = 0;
	sample.image.netns_shared = false;
	sample.image.writer[0] = '\0';
	write_sample(&sample, &bytes);
	assert_int_equal(read_image(&bytes, bytes.len, &image, NULL), 0);
	assert_same_as_sample(&image, &sample, &bytes);
	hf_image_clear(&image);
	unit_bytes_clear(&bytes);
}

/* Longer than any buffer inside: queues of some 100 kB, a record of thousands of holders. */
static void test_large(void **state)
{
	const uint32_t n_holders = 20000, recv_len = 200001, send_len = 65536;
	struct hf_holder *holders = calloc(n_holders, sizeof(*holders));
	uint8_t *data = malloc(recv_len + send_len);
	struct unit_bytes bytes = {.data = NULL};
	struct hf_output out = {.write = unit_bytes_write, .context = &bytes};
	struct hf_image_writer writer;
	struct sample sample;
	struct hf_image image;

	(void)state;
	assert_true(holders && data);
	make_sample(&sample);
	sample.image.n_conns = 1;
	sample.conns[0].holders = holders;
	sample.conns[0].n_holders = n_holders;
	sample.conns[0].recv.len = recv_len;
	sample.conns[0].send.len = send_len;
	for (uint32_t i = 0; i < n_holders; i++)
		holders[i] = (struct hf_holder){.levels = 2, .pid = {100, 1 + i / 100}, .fd = i};
	for (uint32_t i = 0; i < recv_len + send_len; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 24);
	assert_int_equal(hf_image_write_header(&writer, &out, &sample.image, NULL), 0);
	assert_int_equal(
		hf_image_write_conn(&writer, &sample.conns[0], data, data + recv_len, NULL), 0);
	assert_int_equal(hf_image_write_end(&writer, NULL), 0);
	assert_int_equal(read_image(&bytes, bytes.len, &image, NULL), 0);
	assert_same_conn(&image.conns[0], &sample.conns[0]);
	assert_memory_equal(bytes.data + image.conns[0].data_offset, data, recv_len + send_len);
	hf_image_clear(&image);
	unit_bytes_clear(&bytes);
	free(holders);
	free(data);
}

/* Wherever the file ends, it is bad, and the text says that it ends. */
static void test_truncated(void **state)
{
	struct sample sample;
	struct unit_bytes bytes;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &bytes);
	for (size_t len = 0; len < bytes.len; len++)
		assert_refused(&bytes, len, -EBADMSG, "the file ends", "at byte");
	unit_bytes_clear(&bytes);
}

/* The texts of a truncation name the part that is missing. */
static void test_truncated_where(void **state)
{
	struct sample sample;
	struct unit_bytes bytes;
	struct hf_image image;
	size_t header_end, second, second_end, trailer_end;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &bytes);
	assert_int_equal(read_image(&bytes, bytes.len, &image, NULL), 0);
	second = (size_t)image.conns[1].data_offset;
	hf_image_clear(&image);
	header_end = START + 4 + hf_get_le32(bytes.data + START);
	second_end = second + 5 + 16;
	trailer_end = bytes.len - 4;
	assert_refused(&bytes, START - 1, -EBADMSG, "magic", "the file ends");
	assert_refused(&bytes, START + 3, -EBADMSG, "header", "length");
	assert_refused(&bytes, header_end - 1, -EBADMSG, "header", "content");
	assert_refused(&bytes, header_end, -EBADMSG, "connection 1", "length");
	assert_refused(&bytes, second - 1, -EBADMSG, "connection 2", "content");
	assert_refused(&bytes, second + 4, -EBADMSG, "connection 2", "receive");
	assert_refused(&bytes, second_end - 1, -EBADMSG, "connection 2", "send");
	assert_refused(&bytes, second_end, -EBADMSG, "connection 3", "length");
	assert_refused(&bytes, trailer_end - 1, -EBADMSG, "trailer", "content");
	assert_refused(&bytes, trailer_end + 3, -EBADMSG, "checksum", "the file ends");
	unit_bytes_clear(&bytes);
}

/* Every byte counts, whichever of its bits changes. */
static void test_flipped(void **state)
{
	struct sample sample;
	struct unit_bytes bytes;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &bytes);
	for (size_t at = 0; at < bytes.len; at++) {
		bool version = at >= HF_IMAGE_MAGIC_SIZE && at < START;

		for (unsigned int bit = 0; bit <= 8; bit++) {
			uint8_t change = bit < 8 ? (uint8_t)(1u << bit) : 0xff;

			bytes.data[at] ^= change;
			assert_refused(&bytes, bytes.len, version ? -EPROTONOSUPPORT : -EBADMSG,
				version ? "version" : "", "");
			bytes.data[at] ^= change;
		}
	}
	unit_bytes_clear(&bytes);
}

static void set_checksum(struct unit_bytes *bytes)
{
	hf_put_le32(bytes->data + bytes->len - 4, hf_crc32c(0, bytes->data, bytes->len - 4));
}

static void test_start(void **state)
{
	struct sample sample;
	struct unit_bytes bytes;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &bytes);
	bytes.data[0] = 'h';
	set_checksum(&bytes);
	assert_refused(&bytes, bytes.len, -EBADMSG, "magic: ", "not a holdfast image");
	bytes.data[0] = 'H';
	for (uint32_t bit = 0; bit < 32; bit++) {
		hf_put_le32(bytes.data + HF_IMAGE_MAGIC_SIZE, HF_IMAGE_VERSION ^ 1u << bit);
		set_checksum(&bytes);
		assert_refused(
			&bytes, bytes.len, -EPROTONOSUPPORT, "version: ", "this holdfast reads");
	}
	unit_bytes_clear(&bytes);
}

static void test_checksum(void **state)
{
	struct sample sample;
	struct unit_bytes bytes;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &bytes);
	bytes.data[bytes.len - 1] ^= 0x80;
	assert_refused(&bytes, bytes.len, -EBADMSG, "checksum", "damaged");
	bytes.data[bytes.len - 1] ^= 0x80;
	unit_bytes_add(&bytes, "", 1);
	assert_refused(&bytes, bytes.len, -EBADMSG, "end", "goes on");
	unit_bytes_clear(&bytes);
}

/* The sample as messages, to be changed and put together again with correct lengths and checksum.
 */
struct parts {
	Holdfast__Header *header;
	Holdfast__Connection *conn[3];
	uint8_t queue[3][32];
	size_t queue_len[3];
	Holdfast__Trailer *trailer;
};

static const uint8_t *next_record(const uint8_t **at, size_t *len)
{
	const uint8_t *record = *at + 4;

	*len = hf_get_le32(*at);
	*at += 4 + *len;
	return record;
}

static void take_apart(const struct unit_bytes *bytes, struct parts *parts)
{
	const uint8_t *at = bytes->data + START, *record;
	size_t len;

	memset(parts, 0, sizeof(*parts));
	record = next_record(&at, &len);
	parts->header = holdfast__header__unpack(NULL, len, record);
	assert_non_null(parts->header);
	for (unsigned int i = 0; i < 3; i++) {
		record = next_record(&at, &len);
		parts->conn[i] = holdfast__connection__unpack(NULL, len, record);
		assert_non_null(parts->conn[i]);
		parts->queue_len[i] =
			(size_t)parts->conn[i]->receive->length + parts->conn[i]->send->length;
		assert_true(parts->queue_len[i] <= sizeof(parts->queue[i]));
		memcpy(parts->queue[i], at, parts->queue_len[i]);
		at += parts->queue_len[i];
	}
	record = next_record(&at, &len);
	parts->trailer = holdfast__trailer__unpack(NULL, len, record);
	assert_non_null(parts->trailer);
	assert_ptr_equal(at + 4, bytes->data + bytes->len);
}

static void add_record(struct unit_bytes *bytes, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *record = malloc(4 + len);

	assert_non_null(record);
	hf_put_le32(record, (uint32_t)len);
	assert_int_equal(protobuf_c_message_pack(message, record + 4), len);
	unit_bytes_add(bytes, record, 4 + len);
	free(record);
}

static void put_together(const struct parts *parts, struct unit_bytes *bytes)
{
	static const uint8_t no_checksum[4];

	memset(bytes, 0, sizeof(*bytes));
	unit_bytes_add(bytes, "HOLDFAST\1\0\0\0", START);
	add_record(bytes, &parts->header->base);
	for (unsigned int i = 0; i < 3; i++) {
		add_record(bytes, &parts->conn[i]->base);
		unit_bytes_add(bytes, parts->queue[i], parts->queue_len[i]);
	}
	add_record(bytes, &parts->trailer->base);
	unit_bytes_add(bytes, no_checksum, 4);
	set_checksum(bytes);
}

static void free_parts(struct parts *parts)
{
	holdfast__header__free_unpacked(parts->header, NULL);
	for (unsigned int i = 0; i < 3; i++)
		holdfast__connection__free_unpacked(parts->conn[i], NULL);
	holdfast__trailer__free_unpacked(parts->trailer, NULL);
}

/* Gives a message a field, number 1000, that no version has. */
static void add_unknown(ProtobufCMessage *message)
{
	ProtobufCMessageUnknownField *field = calloc(1, sizeof(*field));

	assert_non_null(field);
	field->tag = 1000;
	field->wire_type = PROTOBUF_C_WIRE_TYPE_VARINT;
	field->len = 1;
	field->data = malloc(1);
	assert_non_null(field->data);
	field->data[0] = 1;
	message->unknown_fields = field;
	message->n_unknown_fields = 1;
}

static void set_ip(Holdfast__Endpoint *endpoint, const char *ip, size_t len)
{
	endpoint->ip.data = realloc(endpoint->ip.data, len + !len);
	assert_non_null(endpoint->ip.data);
	memcpy(endpoint->ip.data, ip, len);
	endpoint->ip.len = len;
}

static void set_writer(struct parts *p, const char *writer)
{
	free(p->header->writer);
	p->header->writer = strdup(writer);
	assert_non_null(p->header->writer);
}

static void set_levels(Holdfast__Holder *holder, size_t levels)
{
	holder->pid = realloc(holder->pid, (levels + 1) * sizeof(*holder->pid));
	assert_non_null(holder->pid);
	for (size_t i = 0; i < levels; i++)
		holder->pid[i] = 1;
	holder->n_pid = levels;
}

static void set_holders(Holdfast__Connection *conn, size_t n)
{
	for (size_t i = 0; i < conn->n_holders; i++)
		holdfast__holder__free_unpacked(conn->holders[i], NULL);
	conn->holders = realloc(conn->holders, (n + 1) * sizeof(*conn->holders));
	assert_non_null(conn->holders);
	for (size_t i = 0; i < n; i++) {
		conn->holders[i] = malloc(sizeof(**conn->holders));
		assert_non_null(conn->holders[i]);
		holdfast__holder__init(conn->holders[i]);
		set_levels(conn->holders[i], 1);
		conn->holders[i]->fd = (uint32_t)(1000 + i);
	}
	conn->n_holders = n;
}

static void set_listeners(Holdfast__Header *header, size_t n)
{
	for (size_t i = 0; i < header->n_listeners; i++)
		holdfast__listener__free_unpacked(header->listeners[i], NULL);
	header->listeners = realloc(header->listeners, (n + 1) * sizeof(*header->listeners));
	assert_non_null(header->listeners);
	for (size_t i = 0; i < n; i++) {
		header->listeners[i] = malloc(sizeof(**header->listeners));
		assert_non_null(header->listeners[i]);
		holdfast__listener__init(header->listeners[i]);
	}
	header->n_listeners = n;
}

#define DROP(type, field)                                                                          \
	do {                                                                                       \
		holdfast__##type##__free_unpacked((field), NULL);                                  \
		(field) = NULL;                                                                    \
	} while (0)

#define ALL_V6  "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\7"
#define MULTI_6 "\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
#define GLOBAL  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define ZERO_16 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

/* One wrong thing each. The list below says what the error must name. */
#define BREAK(name, ...)                                                                           \
	static void name(struct parts *p)                                                          \
	{                                                                                          \
		__VA_ARGS__;                                                                       \
	}

/* clang-format off: one a line */
BREAK(header_id_short, p->header->id.len = 15)
BREAK(header_id_none, p->header->id.len = 0)
BREAK(header_id_long, p->header->id.data = realloc(p->header->id.data, 17);
	assert_non_null(p->header->id.data); p->header->id.data[16] = 1; p->header->id.len = 17)
BREAK(header_id_zero, memset(p->header->id.data, 0, HF_ID_SIZE))
BREAK(header_writer_long,
	set_writer(p, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"))
BREAK(header_writer_newline, set_writer(p, "holdfast\n"))
BREAK(header_writer_escape, set_writer(p, "\033[2J"))
BREAK(header_writer_8bit, set_writer(p, "h\xc3\xb6ldfast"))
BREAK(header_writer_delete, set_writer(p, "\177"))
BREAK(header_count, p->header->connections = HF_MAX_CONNS + 1)
BREAK(header_count_max, p->header->connections = UINT32_MAX)
BREAK(header_more, p->header->connections = 4)
BREAK(header_fewer, p->header->connections = 2)
BREAK(header_unknown, add_unknown(&p->header->base))
BREAK(listener_many, set_listeners(p->header, HF_MAX_LISTENERS + 1))
BREAK(listener_family, p->header->listeners[1]->family = 5)
BREAK(listener_no_local, DROP(endpoint, p->header->listeners[1]->local))
BREAK(listener_port_0, p->header->listeners[1]->local->port = 0)
BREAK(listener_port_large, p->header->listeners[1]->local->port = 65536)
BREAK(listener_ip, p->header->listeners[1]->local->ip.len = 3)
BREAK(listener_unknown, add_unknown(&p->header->listeners[1]->base))
BREAK(listener_local_unknown, add_unknown(&p->header->listeners[1]->local->base))

BREAK(family_0, p->conn[0]->family = 0)
BREAK(family_5, p->conn[1]->family = 5)
BREAK(family_other, p->conn[1]->family = 4)
BREAK(state_0, p->conn[1]->state = 0)
BREAK(state_fin_wait, p->conn[1]->state = HF_TCP_FIN_WAIT1)
BREAK(state_listen, p->conn[1]->state = HF_TCP_LISTEN)
BREAK(state_13, p->conn[1]->state = HF_TCP_STATES)
BREAK(state_max, p->conn[1]->state = UINT32_MAX)
BREAK(local_none, DROP(endpoint, p->conn[1]->local))
BREAK(local_ip_none, p->conn[1]->local->ip.len = 0)
BREAK(local_ip_short, p->conn[0]->local->ip.len = 3)
BREAK(local_ip_long, set_ip(p->conn[0]->local, GLOBAL, 16))
BREAK(local_unspecified, set_ip(p->conn[1]->local, ZERO_16, 16))
BREAK(local_unspecified_4, set_ip(p->conn[0]->local, ZERO_16, 4))
BREAK(local_multicast, set_ip(p->conn[1]->local, MULTI_6, 16))
BREAK(local_port_0, p->conn[1]->local->port = 0)
BREAK(local_port_large, p->conn[1]->local->port = 65536)
BREAK(local_port_wraps, p->conn[1]->local->port = 65536 + 80)
BREAK(local_scope_4, p->conn[0]->local->scope_id = 1)
BREAK(local_scope_global, set_ip(p->conn[1]->local, GLOBAL, 16))
BREAK(local_unknown, add_unknown(&p->conn[1]->local->base))
BREAK(peer_none, DROP(endpoint, p->conn[1]->peer))
BREAK(peer_ip_short, p->conn[1]->peer->ip.len = 4)
BREAK(peer_unspecified, set_ip(p->conn[1]->peer, ZERO_16, 16))
BREAK(peer_multicast_4, set_ip(p->conn[0]->peer, "\xe0\0\0\1", 4))
BREAK(peer_multicast_6, set_ip(p->conn[1]->peer, MULTI_6, 16))
BREAK(peer_port_0, p->conn[1]->peer->port = 0)
BREAK(peer_port_large, p->conn[1]->peer->port = UINT32_MAX)
BREAK(peer_scope_global, set_ip(p->conn[1]->peer, GLOBAL, 16))
BREAK(peer_not_mapped, set_ip(p->conn[2]->peer, GLOBAL, 16))
BREAK(peer_unknown, add_unknown(&p->conn[1]->peer->base))
BREAK(receive_none, DROP(queue, p->conn[1]->receive))
BREAK(receive_long, p->conn[1]->receive->length = HF_MAX_QUEUE + 1)
BREAK(receive_max, p->conn[1]->receive->length = UINT32_MAX)
BREAK(receive_unknown, add_unknown(&p->conn[1]->receive->base))
BREAK(receive_absent, p->conn[2]->receive->length = HF_MAX_QUEUE)
BREAK(send_none, DROP(queue, p->conn[1]->send))
BREAK(send_long, p->conn[1]->send->length = HF_MAX_QUEUE + 1)
BREAK(send_max, p->conn[1]->send->length = UINT32_MAX)
BREAK(send_unknown, add_unknown(&p->conn[1]->send->base))
BREAK(send_absent, p->conn[2]->send->length = HF_MAX_QUEUE)
BREAK(unsent_long, p->conn[1]->unsent = 17)
BREAK(unsent_max, p->conn[0]->unsent = UINT32_MAX)
BREAK(mss_0, p->conn[1]->mss_clamp = 0)
BREAK(mss_large, p->conn[1]->mss_clamp = 65536)
BREAK(snd_wscale_15, p->conn[1]->snd_wscale = 15)
BREAK(snd_wscale_256, p->conn[1]->snd_wscale = 256 + 7)
BREAK(rcv_wscale_15, p->conn[1]->rcv_wscale = 15)
BREAK(rcv_wscale_256, p->conn[1]->rcv_wscale = 256 + 7)
BREAK(snd_wscale_without, p->conn[2]->snd_wscale = 1)
BREAK(rcv_wscale_without, p->conn[2]->rcv_wscale = 1)
BREAK(usec_without, p->conn[2]->usec_timestamps = true)
BREAK(window_none, DROP(window, p->conn[1]->window))
BREAK(window_max, p->conn[1]->window->max_window = p->conn[1]->window->snd_wnd - 1)
BREAK(window_wl1,
	p->conn[1]->window->snd_wl1 = p->conn[1]->receive->seq + p->conn[1]->window->rcv_wnd + 1)
BREAK(window_wup, p->conn[1]->window->rcv_wup = p->conn[1]->receive->seq + 1)
BREAK(window_unknown, add_unknown(&p->conn[1]->window->base))
BREAK(holders_none, set_holders(p->conn[1], 0))
BREAK(holders_many, set_holders(p->conn[1], HF_MAX_HOLDERS + 1))
BREAK(holders_unknown, add_unknown(&p->conn[1]->holders[0]->base))
BREAK(holder_no_level, p->conn[1]->holders[2]->n_pid = 0)
BREAK(holder_levels, set_levels(p->conn[1]->holders[2], HF_MAX_PID_LEVELS + 1))
BREAK(holder_levels_many, set_levels(p->conn[1]->holders[2], 1000))
BREAK(holder_pid_0, p->conn[1]->holders[1]->pid[1] = 0)
BREAK(holder_pid_large, p->conn[1]->holders[1]->pid[0] = 1u << 31)
BREAK(holder_fd_large, p->conn[1]->holders[1]->fd = 1u << 31)
BREAK(conn_unknown, add_unknown(&p->conn[1]->base))
BREAK(twice_holder, set_holders(p->conn[0], 1); set_holders(p->conn[2], 1))
BREAK(twice_holder_one, p->conn[1]->holders[1]->fd = 4; set_levels(p->conn[1]->holders[1], 1))
BREAK(twice_tuple, set_ip(p->conn[2]->local, (const char *)p->conn[1]->local->ip.data, 16);
	set_ip(p->conn[2]->peer, (const char *)p->conn[1]->peer->ip.data, 16);
	p->conn[2]->local->scope_id = 5; p->conn[2]->peer->scope_id = 5;
	p->conn[2]->peer->port = p->conn[1]->peer->port)
BREAK(trailer_more, p->trailer->connections++)
BREAK(trailer_fewer, p->trailer->connections--)
BREAK(trailer_bytes_more, p->trailer->queue_bytes++)
BREAK(trailer_bytes_wide, p->trailer->queue_bytes += 1ull << 32)
BREAK(trailer_unknown, add_unknown(&p->trailer->base))
/* clang-format on */

#define CASE(function, record, field) {#function, function, record, field}

static const struct {
	const char *name;
	void (*apply)(struct parts *parts);
	const char *record, *field;
} broken[] = {
	CASE(header_id_short, "header", "id: "),
	CASE(header_id_none, "header", "id: "),
	CASE(header_id_long, "header", "id: "),
	CASE(header_id_zero, "header", "id: "),
	CASE(header_writer_long, "header", "writer: "),
	CASE(header_writer_newline, "header", "writer: "),
	CASE(header_writer_escape, "header", "writer: "),
	CASE(header_writer_8bit, "header", "writer: "),
	CASE(header_writer_delete, "header", "writer: "),
	CASE(header_count, "header", "connections: "),
	CASE(header_count_max, "header", "connections: "),
	CASE(header_more, "connection 4", ""), /* what it finds there is the trailer */
	CASE(header_fewer, "trailer", ""),     /* and here a connection */
	CASE(header_unknown, "header", "a field that this version does not know"),
	CASE(listener_many, "header", "listeners: too many"),
	CASE(listener_family, "header", "listeners: family: "),
	CASE(listener_no_local, "header", "listeners: local: "),
	CASE(listener_port_0, "header", "listeners: local: the port"),
	CASE(listener_port_large, "header", "listeners: local: the port"),
	CASE(listener_ip, "header", "listeners: local: the address"),
	CASE(listener_unknown, "header", "listeners: has a field"),
	CASE(listener_local_unknown, "header", "listeners: local: has a field"),
	CASE(family_0, "connection 1: ", "family: "),
	CASE(family_5, "connection 2: ", "family: "),
	CASE(family_other, "connection 2: ", "local: the address does not fit"),
	CASE(state_0, "connection 2: ", "state: 0"),
	CASE(state_fin_wait, "connection 2: ", "state: 4 (FIN-WAIT-1)"),
	CASE(state_listen, "connection 2: ", "state: 10 (LISTEN)"),
	CASE(state_13, "connection 2: ", "state: is no TCP state"),
	CASE(state_max, "connection 2: ", "state: is no TCP state"),
	CASE(local_none, "connection 2: ", "local: missing"),
	CASE(local_ip_none, "connection 2: ", "local: the address"),
	CASE(local_ip_short, "connection 1: ", "local: the address"),
	CASE(local_ip_long, "connection 1: ", "local: the address"),
	CASE(local_unspecified, "connection 2: ", "local: the address is unspecified"),
	CASE(local_unspecified_4, "connection 1: ", "local: the address is unspecified"),
	CASE(local_multicast, "connection 2: ", "local: the address is a multicast"),
	CASE(local_port_0, "connection 2: ", "local: the port"),
	CASE(local_port_large, "connection 2: ", "local: the port"),
	CASE(local_port_wraps, "connection 2: ", "local: the port"),
	CASE(local_scope_4, "connection 1: ", "local: a scope id"),
	CASE(local_scope_global, "connection 2: ", "local: a scope id"),
	CASE(local_unknown, "connection 2: ", "local: has a field"),
	CASE(peer_none, "connection 2: ", "peer: missing"),
	CASE(peer_ip_short, "connection 2: ", "peer: the address"),
	CASE(peer_unspecified, "connection 2: ", "peer: the address is unspecified"),
	CASE(peer_multicast_4, "connection 1: ", "peer: the address is a multicast"),
	CASE(peer_multicast_6, "connection 2: ", "peer: the address is a multicast"),
	CASE(peer_port_0, "connection 2: ", "peer: the port"),
	CASE(peer_port_large, "connection 2: ", "peer: the port"),
	CASE(peer_scope_global, "connection 2: ", "peer: a scope id"),
	CASE(peer_not_mapped, "connection 3: ", "peer: only one"),
	CASE(peer_unknown, "connection 2: ", "peer: has a field"),
	CASE(receive_none, "connection 2: ", "receive: missing"),
	CASE(receive_long, "connection 2: ", "receive: the queue is longer"),
	CASE(receive_max, "connection 2: ", "receive: the queue is longer"),
	CASE(receive_unknown, "connection 2: ", "receive: "),
	CASE(receive_absent, "connection 3: ", "receive: the file ends"),
	CASE(send_none, "connection 2: ", "send: missing"),
	CASE(send_long, "connection 2: ", "send: the queue is longer"),
	CASE(send_max, "connection 2: ", "send: the queue is longer"),
	CASE(send_unknown, "connection 2: ", "send: "),
	CASE(send_absent, "connection 3: ", "send: the file ends"),
	CASE(unsent_long, "connection 2: ", "unsent: "),
	CASE(unsent_max, "connection 1: ", "unsent: "),
	CASE(mss_0, "connection 2: ", "mss_clamp: "),
	CASE(mss_large, "connection 2: ", "mss_clamp: "),
	CASE(snd_wscale_15, "connection 2: ", "wscale: "),
	CASE(snd_wscale_256, "connection 2: ", "wscale: "),
	CASE(rcv_wscale_15, "connection 2: ", "wscale: "),
	CASE(rcv_wscale_256, "connection 2: ", "wscale: "),
	CASE(snd_wscale_without, "connection 3: ", "wscale: "),
	CASE(rcv_wscale_without, "connection 3: ", "wscale: "),
	CASE(usec_without, "connection 3: ", "usec_timestamps: "),
	CASE(window_none, "connection 2: ", "window: missing"),
	CASE(window_max, "connection 2: ", "window: max_window"),
	CASE(window_wl1, "connection 2: ", "window: snd_wl1"),
	CASE(window_wup, "connection 2: ", "window: rcv_wup"),
	CASE(window_unknown, "connection 2: ", "window: "),
	CASE(holders_none, "connection 2: ", "holders: none or too many"),
	CASE(holders_many, "connection 2: ", "holders: none or too many"),
	CASE(holders_unknown, "connection 2: ", "holders: has a field"),
	CASE(holder_no_level, "connection 2: ", "holders: a pid"),
	CASE(holder_levels, "connection 2: ", "holders: a pid"),
	CASE(holder_levels_many, "connection 2: ", "holders: a pid"),
	CASE(holder_pid_0, "connection 2: ", "holders: a pid out of range"),
	CASE(holder_pid_large, "connection 2: ", "holders: a pid out of range"),
	CASE(holder_fd_large, "connection 2: ", "holders: a file descriptor out of range"),
	CASE(conn_unknown, "connection 2: ", "a field that this version does not know"),
	CASE(twice_holder, "holders: ", "twice"),
	CASE(twice_holder_one, "holders: ", "twice"),
	CASE(twice_tuple, "connections: ", "[fe80::1%5]:80 -> [fe80::2%5]:40001 is there twice"),
	CASE(trailer_more, "trailer", "sums"),
	CASE(trailer_fewer, "trailer", "sums"),
	CASE(trailer_bytes_more, "trailer", "sums"),
	CASE(trailer_bytes_wide, "trailer", "sums"),
	CASE(trailer_unknown, "trailer", "a field that this version does not know"),
};

static void test_broken_fields(void **state)
{
	struct sample sample;
	struct unit_bytes good;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &good);
	for (size_t i = 0; i < UNIT_COUNT(broken); i++) {
		struct parts parts;
		struct unit_bytes bytes;
		struct hf_image image;
		struct hf_error err = HF_ERROR_INIT;

		take_apart(&good, &parts);
		put_together(&parts, &bytes); /* nothing changed: the same file */
		assert_int_equal(bytes.len, good.len);
		assert_memory_equal(bytes.data, good.data, good.len);
		unit_bytes_clear(&bytes);
		broken[i].apply(&parts);
		put_together(&parts, &bytes);
		if (read_image(&bytes, bytes.len, &image, &err) == 0)
			fail_msg("%s was accepted", broken[i].name);
		assert_refused(&bytes, bytes.len, -EBADMSG, broken[i].record, broken[i].field);
		unit_bytes_clear(&bytes);
		free_parts(&parts);
	}
	unit_bytes_clear(&good);
}

/* Values at their limit, which must still be good. */
/* clang-format off */
BREAK(limit_writer, set_writer(p, "~123456789 bcdef0123456789abcdef0123456789abcdef0123456789abcde"))
BREAK(limit_ports, p->conn[1]->local->port = 65535; p->conn[1]->peer->port = 1)
BREAK(limit_mss, p->conn[0]->mss_clamp = 1; p->conn[1]->mss_clamp = 65535)
BREAK(limit_wscale, p->conn[1]->snd_wscale = 14; p->conn[1]->rcv_wscale = 14)
BREAK(limit_unsent_0, p->conn[1]->unsent = 0)
BREAK(limit_window, p->conn[1]->window->max_window = p->conn[1]->window->snd_wnd;
	p->conn[1]->window->snd_wl1 = p->conn[1]->receive->seq + p->conn[1]->window->rcv_wnd;
	p->conn[1]->window->rcv_wup = p->conn[1]->receive->seq)
BREAK(limit_window_wraps, p->conn[1]->receive->seq = 5; p->conn[1]->window->snd_wl1 = 0xfffffff0;
	p->conn[1]->window->rcv_wup = 0xfffffffe)
BREAK(limit_holders, set_holders(p->conn[1], HF_MAX_HOLDERS))
BREAK(limit_link_local_no_scope, p->conn[1]->local->scope_id = 0; p->conn[1]->peer->scope_id = 0)
BREAK(limit_same_local, set_ip(p->conn[2]->local, ALL_V6, 16); set_ip(p->conn[2]->peer, ALL_V6, 16))
BREAK(limit_same_fd, p->conn[2]->holders[0]->fd = 3; p->conn[2]->holders[0]->pid[0] = 2)
/* clang-format on */

static void test_limits(void **state)
{
	static void (*const limits[])(struct parts *parts) = {limit_writer, limit_ports, limit_mss,
		limit_wscale, limit_unsent_0, limit_window, limit_window_wraps, limit_holders,
		limit_link_local_no_scope, limit_same_local, limit_same_fd};
	struct sample sample;
	struct unit_bytes good;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &good);
	for (size_t i = 0; i < UNIT_COUNT(limits); i++) {
		struct parts parts;
		struct unit_bytes bytes;
		struct hf_image image;
		struct hf_error err = HF_ERROR_INIT;

		take_apart(&good, &parts);
		limits[i](&parts);
		put_together(&parts, &bytes);
		if (read_image(&bytes, bytes.len, &image, &err) != 0)
			fail_msg("limit %zu: %s", i, err.text);
		hf_image_clear(&image);
		unit_bytes_clear(&bytes);
		free_parts(&parts);
	}
	unit_bytes_clear(&good);
}

/* Records that are no messages, and lengths that promise what is not there. */
static void test_broken_records(void **state)
{
	struct sample sample;
	struct unit_bytes good, bytes = {.data = NULL};
	uint8_t length[4];

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &good);

	unit_bytes_add(&bytes, good.data, START);
	unit_bytes_add(&bytes, "\4\0\0\0\xff\xff\xff\xff", 8);
	assert_refused(&bytes, bytes.len, -EBADMSG, "header", "not a valid message");

	bytes.len = START; /* an empty message is valid; the id is missing */
	unit_bytes_add(&bytes, "\0\0\0\0", 4);
	assert_refused(&bytes, bytes.len, -EBADMSG, "header", "id: ");

	bytes.len = START;
	hf_put_le32(length, HF_MAX_RECORD + 1);
	unit_bytes_add(&bytes, length, 4);
	assert_refused(&bytes, bytes.len, -EBADMSG, "header", "length: 4194305 exceeds");

	bytes.len = START;
	unit_bytes_add(&bytes, "\xff\xff\xff\xff", 4);
	assert_refused(&bytes, bytes.len, -EBADMSG, "header", "length: 4294967295 exceeds");

	bytes.len = START; /* within the limit, but the file ends long before */
	hf_put_le32(length, HF_MAX_RECORD);
	unit_bytes_add(&bytes, length, 4);
	assert_refused(&bytes, bytes.len, -EBADMSG, "header", "content: the file ends");

	bytes.len = 0; /* the second record */
	unit_bytes_add(&bytes, good.data, START + 4 + hf_get_le32(good.data + START));
	hf_put_le32(length, HF_MAX_RECORD + 1);
	unit_bytes_add(&bytes, length, 4);
	assert_refused(&bytes, bytes.len, -EBADMSG, "connection 1", "length: 4194305 exceeds");

	unit_bytes_clear(&bytes);
	unit_bytes_clear(&good);
}

struct failing {
	struct unit_bytes *bytes;
	size_t fails_at;
};

static ssize_t failing_read(void *context, void *data, size_t len)
{
	struct failing *failing = context;
	size_t left = failing->fails_at - failing->bytes->at;

	if (left == 0)
		return -EIO;
	return unit_bytes_read(failing->bytes, data, len < left ? len : left);
}

static int failing_write(void *context, const void *data, size_t len)
{
	struct failing *failing = context;

	if (failing->bytes->len + len > failing->fails_at)
		return -ENOSPC;
	unit_bytes_add(failing->bytes, data, len);
	return 0;
}

/* The disk fails, at every place: its own error comes through, not "the image is bad". */
static void test_read_error(void **state)
{
	struct sample sample;
	struct unit_bytes bytes;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &bytes);
	for (size_t at = 0; at <= bytes.len; at++) {
		struct unit_bytes view = {.data = bytes.data, .len = bytes.len};
		struct failing failing = {.bytes = &view, .fails_at = at};
		struct hf_input in = {.read = failing_read, .context = &failing};
		struct hf_image image = {0};
		struct hf_error err = HF_ERROR_INIT;

		assert_int_equal(hf_image_read(&in, &image, &err), -EIO);
		assert_int_equal(err.code, -EIO);
		assert_contains(err.text, "cannot read");
		assert_null(image.conns);
		assert_null(image.listeners);
	}
	unit_bytes_clear(&bytes);
}

static int write_all(const struct sample *sample, const struct hf_output *out, struct hf_error *err)
{
	struct hf_image_writer writer;
	int ret = hf_image_write_header(&writer, out, &sample->image, err);

	for (uint32_t i = 0; ret == 0 && i < sample->image.n_conns; i++)
		ret = hf_image_write_conn(
			&writer, &sample->conns[i], sample->recv[i], sample->send[i], err);
	return ret < 0 ? ret : hf_image_write_end(&writer, err);
}

static void test_write_error(void **state)
{
	struct sample sample;
	struct unit_bytes good, bytes = {.data = NULL};

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &good);
	for (size_t at = 0; at <= good.len; at++) {
		struct failing failing = {.bytes = &bytes, .fails_at = at};
		struct hf_output out = {.write = failing_write, .context = &failing};
		struct hf_error err = HF_ERROR_INIT;

		bytes.len = 0;
		if (at == good.len) {
			assert_int_equal(write_all(&sample, &out, &err), 0);
			assert_memory_equal(bytes.data, good.data, good.len);
			continue;
		}
		assert_int_equal(write_all(&sample, &out, &err), -ENOSPC);
		assert_int_equal(err.code, -ENOSPC);
		assert_contains(err.text, "cannot write holdfast.img");
	}
	unit_bytes_clear(&bytes);
	unit_bytes_clear(&good);
}

/* What a reader would refuse is not written. */
static void test_writer_refuses(void **state)
{
	struct unit_bytes bytes = {.data = NULL};
	struct hf_output out = {.write = unit_bytes_write, .context = &bytes};
	struct hf_image_writer writer;
	struct hf_error err = HF_ERROR_INIT;
	struct sample sample;

	(void)state;
	make_sample(&sample);
	sample.image.n_conns = HF_MAX_CONNS + 1;
	assert_int_equal(hf_image_write_header(&writer, &out, &sample.image, &err), -EINVAL);
	assert_contains(err.text, "1048577 connections");
	sample.image.n_conns = 0;
	sample.image.n_listeners = HF_MAX_LISTENERS + 1;
	assert_int_equal(hf_image_write_header(&writer, &out, &sample.image, &err), -EINVAL);
	assert_contains(err.text, "65537 listeners");
	assert_int_equal(bytes.len, 0);

	make_sample(&sample);
	sample.image.n_conns = 1;
	assert_int_equal(hf_image_write_header(&writer, &out, &sample.image, NULL), 0);
	assert_int_equal(hf_image_write_end(&writer, &err), -EINVAL);
	assert_contains(err.text, "0 of the announced 1");
	sample.conns[0].state = HF_TCP_CLOSE_WAIT;
	assert_int_equal(
		hf_image_write_conn(&writer, &sample.conns[0], NULL, NULL, &err), -EBADMSG);
	assert_contains(err.text, "CLOSE-WAIT");
	sample.conns[0].state = HF_TCP_ESTABLISHED;
	sample.conns[0].n_holders = 0;
	assert_int_equal(
		hf_image_write_conn(&writer, &sample.conns[0], NULL, NULL, &err), -EBADMSG);
	assert_contains(err.text, "holders");
	sample.conns[0].n_holders = 1;
	assert_int_equal(hf_image_write_conn(&writer, &sample.conns[0], NULL, NULL, NULL), 0);
	assert_int_equal(hf_image_write_conn(
				 &writer, &sample.conns[1], sample.recv[1], sample.send[1], &err),
		-EINVAL);
	assert_contains(err.text, "more than the announced 1");
	assert_int_equal(hf_image_write_end(&writer, NULL), 0);
	unit_bytes_clear(&bytes);
}

/* A connection within all limits can still be too much for one record. */
static void test_writer_record_limit(void **state)
{
	struct unit_bytes bytes = {.data = NULL};
	struct hf_output out = {.write = unit_bytes_write, .context = &bytes};
	struct hf_holder *holders = calloc(HF_MAX_HOLDERS, sizeof(*holders));
	struct hf_image_writer writer;
	struct hf_error err = HF_ERROR_INIT;
	struct sample sample;
	size_t before;

	(void)state;
	assert_non_null(holders);
	for (uint32_t i = 0; i < HF_MAX_HOLDERS; i++) {
		holders[i] = (struct hf_holder){.levels = HF_MAX_PID_LEVELS, .fd = i};
		for (uint32_t level = 0; level < HF_MAX_PID_LEVELS; level++)
			holders[i].pid[level] = INT32_MAX;
	}
	make_sample(&sample);
	sample.image.n_conns = 1;
	sample.conns[0].holders = holders;
	sample.conns[0].n_holders = HF_MAX_HOLDERS;
	assert_int_equal(hf_image_write_header(&writer, &out, &sample.image, NULL), 0);
	before = bytes.len;
	assert_int_equal(hf_image_write_conn(&writer, &sample.conns[0], NULL, NULL, &err), -EINVAL);
	assert_contains(err.text, "too long");
	assert_int_equal(bytes.len, before);
	unit_bytes_clear(&bytes);
	free(holders);
}

/* What the reader cannot hand to the check, since it is refused before, but the dump can. */
static void test_conn_check(void **state)
{
	struct hf_error err = HF_ERROR_INIT;
	struct hf_holder *holders = calloc(HF_MAX_HOLDERS + 1, sizeof(*holders));
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);

	(void)state;
	assert_non_null(holders);
	assert_int_equal(hf_conn_check(&conn, &err), 0);
	assert_int_equal(err.code, 0);

	conn.local.ip[15] = 1;
	assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
	assert_string_equal(err.text, "local: the address is longer than an IPv4 address");

	conn = unit_conn(&holder);
	conn.family = (enum hf_family)10; /* AF_INET6, not ours */
	assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
	assert_string_equal(err.text, "family: neither 4 nor 6");

	conn = unit_conn(&holder);
	holder.levels = HF_MAX_PID_LEVELS + 1;
	for (uint32_t i = 0; i < HF_MAX_PID_LEVELS; i++)
		holder.pid[i] = 1;
	assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
	assert_string_equal(err.text, "holders: a pid with no level or too many");

	conn = unit_conn(&holder);
	for (uint32_t i = 0; i <= HF_MAX_HOLDERS; i++)
		holders[i] = (struct hf_holder){.levels = 1, .pid = {1}, .fd = i};
	conn.holders = holders;
	conn.n_holders = HF_MAX_HOLDERS;
	assert_int_equal(hf_conn_check(&conn, &err), 0);
	conn.n_holders = HF_MAX_HOLDERS + 1;
	assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
	assert_string_equal(err.text, "holders: none or too many");
	free(holders);
}

static void test_id_format(void **state)
{
	static const uint8_t id[HF_ID_SIZE] = {
		0x00, 0x01, 0x10, 0x7f, 0x80, 0x9a, 0xbc, 0xde, 0xf0, [15] = 0xff};
	char buf[HF_ID_TEXT];

	(void)state;
	assert_ptr_equal(hf_id_format(buf, id), buf);
	assert_string_equal(buf, "0001107f809abcdef0000000000000ff");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_no_connections),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_truncated_where),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_broken_fields),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_broken_records),
		cmocka_unit_test(test_read_error),
		cmocka_unit_test(test_write_error),
		cmocka_unit_test(test_writer_refuses),
		cmocka_unit_test(test_writer_record_limit),
		cmocka_unit_test(test_conn_check),
		cmocka_unit_test(test_id_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
