// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/image_sample.h"

#include "lib/crc32c.h"

int read_image(
	const struct unit_bytes *bytes, size_t len, struct hf_image *image, struct hf_error *err)
{
	struct unit_bytes view = {.data = bytes->data, .len = len, .step = bytes->step};
	struct hf_input in = {.read = unit_bytes_read, .context = &view};

	memset(image, 0, sizeof(*image));
	return hf_image_read(&in, image, err);
}

void assert_refused(
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

/* A socket without anything but its one holder. */
static struct hf_conn bare(struct hf_holder *holder, enum hf_tcp_state state, uint32_t fd)
{
	*holder = (struct hf_holder){.levels = 1, .pid = {1}, .fd = fd};
	return (struct hf_conn){.family = HF_FAMILY_IPV4,
		.state = state,
		.inode = 1000 + fd,
		.holders = holder,
		.n_holders = 1};
}

static void make_link_local(struct hf_conn *conn, struct hf_holder holders[3])
{
	*conn = unit_conn(&holders[0]);
	holders[1] = (struct hf_holder){.levels = 2, .pid = {10, 2}, .fd = 0};
	holders[2] = (struct hf_holder){.levels = HF_MAX_PID_LEVELS, .fd = INT32_MAX};
	for (uint32_t i = 0; i < HF_MAX_PID_LEVELS; i++)
		holders[2].pid[i] = INT32_MAX - i;
	holders[0].fd = 4;
	conn->n_holders = 3;
	conn->family = HF_FAMILY_IPV6;
	conn->shutdown = HF_SHUTDOWN_RECV;
	conn->local = unit_link_local(1, 80, 5);
	conn->peer = unit_link_local(2, 40001, 5);
	conn->recv.len = 5;
	conn->send.len = 16;
	conn->unsent = 16;
	conn->usec_timestamps = true;
	conn->reuseaddr = false;
}

static void make_mapped(struct hf_conn *conn, struct hf_holder *holder)
{
	*conn = unit_conn(holder);
	holder->fd = 5;
	conn->family = HF_FAMILY_IPV6;
	conn->local = unit_mapped(1, 80);
	conn->peer = unit_mapped(3, 40002);
	conn->send.len = 1;
	conn->has_wscale = false;
	conn->snd_wscale = 0;
	conn->rcv_wscale = 0;
	conn->has_sack = false;
	conn->has_timestamps = false;
	conn->inode = UINT64_MAX;
	conn->peer_paused = true;
	conn->rtt_us = UINT32_MAX;
}

static void make_listeners(struct sample *sample)
{
	struct hf_conn *any = &sample->conns[LISTEN_ANY];

	*any = bare(sample->holders[LISTEN_ANY], HF_TCP_LISTEN, 6);
	any->family = HF_FAMILY_IPV6;
	any->v6only = true;
	any->local.port = 80;
	any->reuseaddr = true;
	/* TCP_USER_TIMEOUT, and two keys of TCP_FASTOPEN_KEY */
	sample->options[0] = (struct hf_option){6, 18, 4, {0xb8, 0x0b}};
	sample->options[1] = (struct hf_option){6, 33, 32, {0}};
	memset(sample->options[1].value, 0xa5, 32);
	any->options = sample->options;
	any->n_options = 2;
	for (uint32_t i = LISTEN_ONE; i <= LISTEN_TOO; i++) {
		sample->conns[i] = bare(sample->holders[i], HF_TCP_LISTEN, 7 + i);
		sample->conns[i].local = unit_v4(1, 8080);
	}
}

static void make_closing(struct sample *sample)
{
	struct hf_conn *fin = &sample->conns[FIN_QUEUED], *reset = &sample->conns[WAS_RESET];
	struct hf_conn *syn = &sample->conns[CONNECTING];

	*fin = unit_conn(sample->holders[FIN_QUEUED]);
	fin->holders->fd = 20;
	fin->state = HF_TCP_FIN_WAIT1;
	fin->shutdown = HF_SHUTDOWN_SEND;
	fin->peer.port = 40003;
	fin->send.len = 9;
	fin->unsent = 4;
	fin->fin_unsent = true;
	fin->peer_silent = true;
	fin->rtt_us = 1;

	*reset = bare(sample->holders[WAS_RESET], HF_TCP_CLOSE, 21);
	reset->closed = HF_CLOSED_RESET;
	reset->shutdown = HF_SHUTDOWN_RECV | HF_SHUTDOWN_SEND;
	reset->local = unit_v4(1, 80);
	reset->recv.len = 7;
	reset->urgent = (struct hf_urgent){true, true, 6};

	*syn = bare(sample->holders[CONNECTING], HF_TCP_SYN_SENT, 22);
	syn->local = unit_v4(1, 50000);
	syn->peer = unit_v4(9, 443);
	syn->send.seq = 0x70000007;
	syn->usec_timestamps = true;
	syn->timestamp = 0x80000008;
	sample->conns[UNUSED] = bare(sample->holders[UNUSED], HF_TCP_CLOSE, 23);
}

void make_sample(struct sample *sample)
{
	memset(sample, 0, sizeof(*sample));
	sample->conns[ON_IPV4] = unit_conn(sample->holders[ON_IPV4]);
	make_link_local(&sample->conns[LINK_LOCAL], sample->holders[LINK_LOCAL]);
	make_mapped(&sample->conns[MAPPED], sample->holders[MAPPED]);
	make_listeners(sample);
	make_closing(sample);
	sample->pending[0] = (struct hf_pending){
		HF_FAMILY_IPV4, HF_TCP_SYN_RECV, unit_v4(1, 8080), unit_v4(7, 1)};
	sample->pending[1] = (struct hf_pending){
		HF_FAMILY_IPV6, HF_TCP_CLOSE_WAIT, unit_v6(1, 80), unit_v6(7, 65535)};
	sample->addresses[0] = (struct hf_address){HF_FAMILY_IPV4, {192, 0, 2, 1}};
	sample->addresses[1] = (struct hf_address){HF_FAMILY_IPV6, {0x20, 1, 0xd, 0xb8, [15] = 1}};
	sample->aliases[0] = (struct hf_alias){
		HF_FAMILY_IPV4, unit_v4(77, 8080), unit_v4(2, 40000), {.port = 0}};
	sample->aliases[1] = (struct hf_alias){
		HF_FAMILY_IPV6, unit_v6(77, 8080), unit_v6(2, 40009), unit_v6(3, 65535)};
	sample->aliases[2] = (struct hf_alias){.family = HF_FAMILY_IPV4, .local = unit_v4(77, 1)};
	for (uint8_t i = 0; i < 16; i++)
		for (uint8_t k = 0; k < N_SAMPLE; k++) {
			sample->recv[k][i] = (uint8_t)(0x10 + 0x50 * k + i);
			sample->send[k][i] = (uint8_t)(0x30 + 0x50 * k + i);
		}
	sample->image = (struct hf_image){.created = UINT64_MAX - 5,
		.writer = "holdfast 0.1.0",
		.netns_shared = true,
		.peers_paused = true,
		.pending = sample->pending,
		.n_pending = 2,
		.addresses = sample->addresses,
		.n_addresses = 2,
		.aliases = sample->aliases,
		.n_aliases = 3,
		.conns = sample->conns,
		.n_conns = N_SAMPLE};
	for (uint8_t i = 0; i < HF_ID_SIZE; i++)
		sample->image.id[i] = (uint8_t)(0xa0 + i);
}

void write_sample(const struct sample *sample, struct unit_bytes *bytes)
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

static void assert_same_endpoint(const struct hf_endpoint *a, const struct hf_endpoint *b)
{
	assert_memory_equal(a->ip, b->ip, sizeof(a->ip));
	assert_int_equal(a->port, b->port);
	assert_int_equal(a->scope_id, b->scope_id);
}

static void assert_same_arrays(const struct hf_conn *a, const struct hf_conn *b)
{
	assert_int_equal(a->n_holders, b->n_holders);
	for (uint32_t i = 0; i < a->n_holders; i++) {
		assert_int_equal(a->holders[i].levels, b->holders[i].levels);
		assert_memory_equal(
			a->holders[i].pid, b->holders[i].pid, sizeof(a->holders[i].pid));
		assert_int_equal(a->holders[i].fd, b->holders[i].fd);
	}
	assert_int_equal(a->n_options, b->n_options);
	for (uint32_t i = 0; i < a->n_options; i++) {
		assert_int_equal(a->options[i].level, b->options[i].level);
		assert_int_equal(a->options[i].name, b->options[i].name);
		assert_int_equal(a->options[i].len, b->options[i].len);
		assert_memory_equal(
			a->options[i].value, b->options[i].value, sizeof(a->options[i].value));
	}
}

void assert_same_conn(const struct hf_conn *a, const struct hf_conn *b)
{
	assert_int_equal(a->family, b->family);
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->closed, b->closed);
	assert_int_equal(a->shutdown, b->shutdown);
	assert_int_equal(a->v6only, b->v6only);
	assert_same_endpoint(&a->local, &b->local);
	assert_same_endpoint(&a->peer, &b->peer);
	assert_int_equal(a->recv.seq, b->recv.seq);
	assert_int_equal(a->recv.len, b->recv.len);
	assert_int_equal(a->send.seq, b->send.seq);
	assert_int_equal(a->send.len, b->send.len);
	assert_int_equal(a->unsent, b->unsent);
	assert_int_equal(a->fin_unsent, b->fin_unsent);
	assert_int_equal(a->urgent.present, b->urgent.present);
	assert_int_equal(a->urgent.taken, b->urgent.taken);
	assert_int_equal(a->urgent.at, b->urgent.at);
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
	assert_int_equal(a->peer_paused, b->peer_paused);
	assert_int_equal(a->peer_silent, b->peer_silent);
	assert_int_equal(a->rtt_us, b->rtt_us);
	assert_int_equal(a->reuseaddr, b->reuseaddr);
	assert_true(a->inode == b->inode);
	assert_same_arrays(a, b);
}

void assert_same_as_sample(
	const struct hf_image *image, const struct sample *sample, const struct unit_bytes *bytes)
{
	const struct hf_image *want = &sample->image;
	uint64_t queue_bytes = 0;

	assert_int_equal(image->version, HF_IMAGE_VERSION);
	assert_memory_equal(image->id, want->id, HF_ID_SIZE);
	assert_true(image->created == want->created);
	assert_string_equal(image->writer, want->writer);
	assert_int_equal(image->netns_shared, want->netns_shared);
	assert_int_equal(image->peers_paused, want->peers_paused);
	assert_int_equal(image->n_pending, want->n_pending);
	for (uint32_t i = 0; i < want->n_pending; i++) {
		assert_int_equal(image->pending[i].family, want->pending[i].family);
		assert_int_equal(image->pending[i].state, want->pending[i].state);
		assert_same_endpoint(&image->pending[i].local, &want->pending[i].local);
		assert_same_endpoint(&image->pending[i].peer, &want->pending[i].peer);
	}
	assert_int_equal(image->n_addresses, want->n_addresses);
	for (uint32_t i = 0; i < want->n_addresses; i++) {
		assert_int_equal(image->addresses[i].family, want->addresses[i].family);
		assert_memory_equal(image->addresses[i].ip, want->addresses[i].ip, 16);
	}
	assert_int_equal(image->n_aliases, want->n_aliases);
	for (uint32_t i = 0; i < want->n_aliases; i++) {
		assert_int_equal(image->aliases[i].family, want->aliases[i].family);
		assert_same_endpoint(&image->aliases[i].local, &want->aliases[i].local);
		assert_same_endpoint(&image->aliases[i].peer, &want->aliases[i].peer);
		assert_same_endpoint(&image->aliases[i].inside, &want->aliases[i].inside);
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

void set_checksum(struct unit_bytes *bytes)
{
	hf_put_le32(bytes->data + bytes->len - 4, hf_crc32c(0, bytes->data, bytes->len - 4));
}

static const uint8_t *next_record(const uint8_t **at, size_t *len)
{
	const uint8_t *record = *at + 4;

	*len = hf_get_le32(*at);
	*at += 4 + *len;
	return record;
}

void take_apart(const struct unit_bytes *bytes, struct parts *parts)
{
	const uint8_t *at = bytes->data + START, *record;
	size_t len;

	memset(parts, 0, sizeof(*parts));
	record = next_record(&at, &len);
	parts->header = holdfast__header__unpack(NULL, len, record);
	assert_non_null(parts->header);
	for (unsigned int i = 0; i < N_SAMPLE; i++) {
		record = next_record(&at, &len);
		parts->socket[i] = holdfast__socket__unpack(NULL, len, record);
		assert_non_null(parts->socket[i]);
		if (parts->socket[i]->receive)
			parts->queue_len[i] += parts->socket[i]->receive->length;
		if (parts->socket[i]->send)
			parts->queue_len[i] += parts->socket[i]->send->length;
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

void put_together(const struct parts *parts, struct unit_bytes *bytes)
{
	static const uint8_t no_checksum[4];

	memset(bytes, 0, sizeof(*bytes));
	unit_bytes_add(bytes, "HOLDFAST\1\0\0\0", START);
	add_record(bytes, &parts->header->base);
	for (unsigned int i = 0; i < N_SAMPLE; i++) {
		add_record(bytes, &parts->socket[i]->base);
		unit_bytes_add(bytes, parts->queue[i], parts->queue_len[i]);
	}
	add_record(bytes, &parts->trailer->base);
	unit_bytes_add(bytes, no_checksum, 4);
	set_checksum(bytes);
}

void free_parts(struct parts *parts)
{
	holdfast__header__free_unpacked(parts->header, NULL);
	for (unsigned int i = 0; i < N_SAMPLE; i++)
		holdfast__socket__free_unpacked(parts->socket[i], NULL);
	holdfast__trailer__free_unpacked(parts->trailer, NULL);
}
