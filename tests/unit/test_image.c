// SPDX-License-Identifier: GPL-2.0-or-later
/* Images as a whole: written and read again, cut short, damaged, and disks that fail. */
#include "tests/unit/image_sample.h"

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
	sample.image.n_pending = 0;
	sample.image.netns_shared = false;
	sample.image.peers_paused = false;
	sample.image.writer[0] = '\0';
	write_sample(&sample, &bytes);
	assert_int_equal(read_image(&bytes, bytes.len, &image, NULL), 0);
	assert_same_as_sample(&image, &sample, &bytes);
	hf_image_clear(&image);
	unit_bytes_clear(&bytes);
}

/* What an image did not have at first is not in it where it says nothing. */
static void test_without_peers(void **state)
{
	struct unit_bytes with, without;
	struct sample sample;
	struct hf_image image;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &with);
	sample.conns[MAPPED].peer_paused = false;
	sample.conns[MAPPED].rtt_us = 0;
	sample.conns[FIN_QUEUED].peer_silent = false;
	sample.conns[FIN_QUEUED].rtt_us = 0;
	write_sample(&sample, &without);
	/* Fields 26 to 28 have tags of two bytes. */
	assert_int_equal(with.len - without.len, 3 + 2 + 5 + 3 + 2 + 1);
	assert_int_equal(read_image(&without, without.len, &image, NULL), 0);
	assert_same_as_sample(&image, &sample, &without);
	hf_image_clear(&image);
	unit_bytes_clear(&with);
	unit_bytes_clear(&without);
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
	assert_refused(&bytes, header_end, -EBADMSG, "socket 1", "length");
	assert_refused(&bytes, second - 1, -EBADMSG, "socket 2", "content");
	assert_refused(&bytes, second + 4, -EBADMSG, "socket 2", "receive");
	assert_refused(&bytes, second_end - 1, -EBADMSG, "socket 2", "send");
	assert_refused(&bytes, second_end, -EBADMSG, "socket 3", "length");
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
	assert_refused(&bytes, bytes.len, -EBADMSG, "socket 1", "length: 4194305 exceeds");

	unit_bytes_clear(&bytes);
	unit_bytes_clear(&good);
}

/* A record full of empty sub-messages, each `size` bytes of `tag` and a length of 0. */
static void add_empty_messages(struct unit_bytes *bytes, const char *tag, size_t size)
{
	size_t len = HF_MAX_RECORD / size * size;
	uint8_t *record = calloc(1, 4 + len);

	assert_non_null(record);
	hf_put_le32(record, (uint32_t)len);
	for (size_t at = 0; at < len; at += size)
		memcpy(record + 4 + at, tag, size - 1);
	unit_bytes_add(bytes, record, 4 + len);
	free(record);
}

/* As many as there may be, each of them whole. */
static void test_most_pending(void **state)
{
	struct hf_pending *pending = calloc(HF_MAX_PENDING, sizeof(*pending));
	struct sample sample;
	struct unit_bytes bytes;
	struct hf_image image;
	struct hf_error err = HF_ERROR_INIT;

	(void)state;
	assert_non_null(pending);
	for (uint32_t i = 0; i < HF_MAX_PENDING; i++)
		pending[i] = (struct hf_pending){HF_FAMILY_IPV6, HF_TCP_ESTABLISHED,
			unit_v6((uint8_t)i, 65535), unit_v6((uint8_t)(i >> 8), 65535)};
	make_sample(&sample);
	sample.image.pending = pending;
	sample.image.n_pending = HF_MAX_PENDING;
	write_sample(&sample, &bytes);
	if (read_image(&bytes, bytes.len, &image, &err) != 0)
		fail_msg("%s", err.text);
	assert_same_as_sample(&image, &sample, &bytes);
	hf_image_clear(&image);
	unit_bytes_clear(&bytes);
	free(pending);
}

/* A small file must not take much memory: its messages are counted before they are made. */
static void test_memory(void **state)
{
	struct sample sample;
	struct unit_bytes good, bytes = {.data = NULL};

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &good);
	unit_bytes_add(&bytes, good.data, START);
	add_empty_messages(&bytes, "\x32", 2); /* Header.pending */
	assert_refused(&bytes, bytes.len, -EBADMSG, "header", "takes too much memory");

	bytes.len = 0;
	unit_bytes_add(&bytes, good.data, START + 4 + hf_get_le32(good.data + START));
	add_empty_messages(&bytes, "\xca\x01", 3); /* Socket.holders */
	assert_refused(&bytes, bytes.len, -EBADMSG, "socket 1", "takes too much memory");
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
		assert_null(image.pending);
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
	sample.image.n_conns = 1;
	assert_int_equal(hf_image_write_header(&writer, &out, &sample.image, NULL), 0);
	assert_int_equal(hf_image_write_end(&writer, &err), -EINVAL);
	assert_contains(err.text, "0 of the announced 1");
	sample.conns[0].state = HF_TCP_TIME_WAIT;
	assert_int_equal(
		hf_image_write_conn(&writer, &sample.conns[0], NULL, NULL, &err), -EBADMSG);
	assert_contains(err.text, "TIME-WAIT");
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

static void assert_header_refused(const struct hf_image *image, const char *text)
{
	struct unit_bytes bytes = {.data = NULL};
	struct hf_output out = {.write = unit_bytes_write, .context = &bytes};
	struct hf_image_writer writer;
	struct hf_error err = HF_ERROR_INIT;

	assert_int_equal(hf_image_write_header(&writer, &out, image, &err), -EBADMSG);
	assert_contains(err.text, text);
	assert_int_equal(bytes.len, 0);
	unit_bytes_clear(&bytes);
}

/* The reader's own check of the header. */
static void test_writer_refuses_header(void **state)
{
	struct sample sample;
	struct hf_image *image = &sample.image;

	(void)state;
	make_sample(&sample);
	image->n_conns = HF_MAX_CONNS + 1;
	assert_header_refused(image, "sockets: 1048577, but");
	make_sample(&sample);
	image->n_pending = HF_MAX_PENDING + 1;
	assert_header_refused(image, "pending: 65537, but");
	make_sample(&sample);
	sample.pending[1].peer.port = 0;
	assert_header_refused(image, "pending 2: peer: the port is 0");
	make_sample(&sample);
	sample.pending[0].family = (enum hf_family)10;
	assert_header_refused(image, "pending 1: family: ");
	make_sample(&sample);
	image->n_addresses = HF_MAX_ADDRESSES + 1;
	assert_header_refused(image, "addresses: 1025, but");
	make_sample(&sample);
	sample.addresses[1].family = (enum hf_family)5;
	assert_header_refused(image, "address 2: family: ");
	make_sample(&sample);
	memset(sample.addresses[0].ip, 0, 16);
	assert_header_refused(image, "address 1: ip: is unspecified");
	make_sample(&sample);
	sample.addresses[0].ip[0] = 127;
	assert_header_refused(image, "address 1: ip: is a loopback address");
	make_sample(&sample);
	memset(image->id, 0, sizeof(image->id));
	assert_header_refused(image, "id: ");
	make_sample(&sample);
	image->writer[3] = '\n';
	assert_header_refused(image, "writer: has a character");
	make_sample(&sample);
	memset(image->writer, 'w', sizeof(image->writer));
	assert_header_refused(image, "writer: is too long");
}

/* A socket within all limits can still be too much for one record. */
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

/* One byte of a queue; every second one is in the output before the writer hears of it. */
static void write_byte(struct hf_image_writer *writer, struct unit_bytes *bytes, uint8_t byte)
{
	static unsigned int turn;

	if (turn++ % 2) {
		assert_int_equal(hf_image_write_bytes(writer, &byte, 1, NULL), 0);
		return;
	}
	assert_int_equal(unit_bytes_write(bytes, &byte, 1), 0);
	assert_int_equal(hf_image_count_bytes(writer, &byte, 1, NULL), 0);
}

/* Queues in pieces give the same file as those in memory. */
static void test_pieces(void **state)
{
	struct unit_bytes whole, bytes = {.data = NULL};
	struct hf_output out = {.write = unit_bytes_write, .context = &bytes};
	struct hf_image_writer writer;
	struct sample sample;

	(void)state;
	make_sample(&sample);
	write_sample(&sample, &whole);
	assert_int_equal(hf_image_write_header(&writer, &out, &sample.image, NULL), 0);
	for (uint32_t i = 0; i < sample.image.n_conns; i++) {
		const struct hf_conn *conn = &sample.conns[i];

		assert_int_equal(hf_image_write_record(&writer, conn, NULL), 0);
		for (uint32_t k = 0; k < conn->recv.len; k++)
			write_byte(&writer, &bytes, ((const uint8_t *)sample.recv[i])[k]);
		for (uint32_t k = 0; k < conn->send.len; k++)
			write_byte(&writer, &bytes, ((const uint8_t *)sample.send[i])[k]);
	}
	assert_int_equal(hf_image_write_end(&writer, NULL), 0);
	assert_int_equal(bytes.len, whole.len);
	assert_memory_equal(bytes.data, whole.data, whole.len);
	unit_bytes_clear(&bytes);
	unit_bytes_clear(&whole);
}

/* Neither more bytes than the record says, nor anything else before the last of them. */
static void test_pieces_count(void **state)
{
	static const uint8_t data[64];
	struct unit_bytes bytes = {.data = NULL};
	struct hf_output out = {.write = unit_bytes_write, .context = &bytes};
	struct hf_error err = HF_ERROR_INIT;
	struct hf_image_writer writer;
	struct sample sample;
	size_t before;

	(void)state;
	make_sample(&sample);
	sample.image.n_conns = 2;
	sample.conns[0].recv.len = 20;
	sample.conns[0].send.len = sample.conns[0].unsent = 30;
	assert_int_equal(hf_image_write_header(&writer, &out, &sample.image, NULL), 0);
	assert_int_equal(hf_image_write_bytes(&writer, data, 1, &err), -EINVAL);
	assert_contains(err.text, "more bytes");
	assert_int_equal(hf_image_write_record(&writer, &sample.conns[0], NULL), 0);
	assert_int_equal(hf_image_write_bytes(&writer, data, 20, NULL), 0);
	assert_int_equal(hf_image_count_bytes(&writer, data, 29, NULL), 0);
	before = bytes.len;
	assert_int_equal(hf_image_write_record(&writer, &sample.conns[1], &err), -EINVAL);
	assert_contains(err.text, "1 bytes of the queues are missing");
	assert_int_equal(hf_image_write_bytes(&writer, data, 2, NULL), -EINVAL);
	assert_int_equal(hf_image_count_bytes(&writer, data, 2, NULL), -EINVAL);
	writer.announced = 1;
	assert_int_equal(hf_image_write_end(&writer, &err), -EINVAL);
	assert_contains(err.text, "1 bytes of the queues are missing");
	assert_int_equal(bytes.len, before);
	assert_int_equal(hf_image_write_bytes(&writer, data, 1, NULL), 0);
	assert_int_equal(hf_image_write_bytes(&writer, NULL, 0, NULL), 0);
	assert_int_equal(hf_image_write_end(&writer, NULL), 0);
	unit_bytes_clear(&bytes);
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
		cmocka_unit_test(test_without_peers),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_truncated_where),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_broken_records),
		cmocka_unit_test(test_most_pending),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_read_error),
		cmocka_unit_test(test_write_error),
		cmocka_unit_test(test_writer_refuses),
		cmocka_unit_test(test_writer_refuses_header),
		cmocka_unit_test(test_writer_record_limit),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_pieces_count),
		cmocka_unit_test(test_id_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
