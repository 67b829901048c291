// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Images in which one field is wrong: each is refused, and the error names record and field.
 *
 * With HOLDFAST_CORPUS=DIR in the environment the images are written there, for tests/fuzz/corpus.
 */
#include "tests/unit/image_sample.h"

#include <stdio.h>

#define CORPUS_FILE 16384 /* bytes; a fuzzer gets nowhere with larger ones */

static void save(const char *kind, const char *name, const struct unit_bytes *bytes)
{
	const char *dir = getenv("HOLDFAST_CORPUS");
	char path[512];
	FILE *file;

	if (!dir || bytes->len > CORPUS_FILE)
		return;
	snprintf(path, sizeof(path), "%s/%s-%s", dir, kind, name);
	for (char *c = path + strlen(dir); *c; c++)
		if (*c == '_')
			*c = '-';
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes->data, 1, bytes->len, file), bytes->len);
	assert_int_equal(fclose(file), 0);
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

static void set_holders(Holdfast__Socket *conn, size_t n)
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

static void set_pending(Holdfast__Header *header, size_t n)
{
	for (size_t i = 0; i < header->n_pending; i++)
		holdfast__pending__free_unpacked(header->pending[i], NULL);
	header->pending = realloc(header->pending, (n + 1) * sizeof(*header->pending));
	assert_non_null(header->pending);
	for (size_t i = 0; i < n; i++) {
		header->pending[i] = malloc(sizeof(**header->pending));
		assert_non_null(header->pending[i]);
		holdfast__pending__init(header->pending[i]);
	}
	header->n_pending = n;
}

/* A part that the record does not have. */
static Holdfast__Endpoint *new_endpoint(void)
{
	Holdfast__Endpoint *endpoint = malloc(sizeof(*endpoint));

	assert_non_null(endpoint);
	holdfast__endpoint__init(endpoint);
	set_ip(endpoint, "\xc0\0\2\1", 4);
	endpoint->port = 1;
	return endpoint;
}

#define NEW_PART(Type, type)                                                                       \
	static Holdfast__##Type *new_##type(void)                                                  \
	{                                                                                          \
		Holdfast__##Type *part = malloc(sizeof(*part));                                    \
                                                                                                   \
		assert_non_null(part);                                                             \
		holdfast__##type##__init(part);                                                    \
		return part;                                                                       \
	}

NEW_PART(Queue, queue)
NEW_PART(Window, window)
NEW_PART(Urgent, urgent)
NEW_PART(Option, option)

/* As many options, all different, each with a value of `len` bytes. */
static void set_options(Holdfast__Socket *socket, size_t n, size_t len)
{
	for (size_t i = 0; i < socket->n_options; i++)
		holdfast__option__free_unpacked(socket->options[i], NULL);
	socket->options = realloc(socket->options, (n + 1) * sizeof(*socket->options));
	assert_non_null(socket->options);
	for (size_t i = 0; i < n; i++) {
		socket->options[i] = new_option();
		socket->options[i]->name = (uint32_t)i;
		socket->options[i]->value.data = calloc(1, len + 1);
		socket->options[i]->value.len = len;
		assert_non_null(socket->options[i]->value.data);
	}
	socket->n_options = n;
}

#define DROP(type, field)                                                                          \
	do {                                                                                       \
		holdfast__##type##__free_unpacked((field), NULL);                                  \
		(field) = NULL;                                                                    \
	} while (0)

#define ALL_V6   "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\7"
#define MULTI_6  "\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
#define GLOBAL   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define MAPPED_9 "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\x09"
#define ZERO_16  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

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
BREAK(header_count, p->header->sockets = HF_MAX_CONNS + 1)
BREAK(header_count_max, p->header->sockets = UINT32_MAX)
BREAK(header_more, p->header->sockets = N_SAMPLE + 1)
BREAK(header_fewer, p->header->sockets = N_SAMPLE - 1)
BREAK(header_unknown, add_unknown(&p->header->base))
static void set_address(ProtobufCBinaryData *address, const void *ip, size_t len)
{
	free(address->data);
	address->data = malloc(len + 1);
	assert_non_null(address->data);
	memcpy(address->data, ip, len);
	address->len = len;
}

static void set_addresses(Holdfast__Header *header, size_t n)
{
	header->addresses = realloc(header->addresses, n * sizeof(*header->addresses));
	assert_non_null(header->addresses);
	for (size_t i = header->n_addresses; i < n; i++) {
		header->addresses[i] = (ProtobufCBinaryData){0};
		set_address(&header->addresses[i], (const uint8_t[4]){192, 0, 2, 9}, 4);
	}
	header->n_addresses = n;
}

BREAK(addresses_many, set_addresses(p->header, HF_MAX_ADDRESSES + 1))
BREAK(address_short, p->header->addresses[0].len = 3)
BREAK(address_empty, p->header->addresses[0].len = 0)
BREAK(address_long, set_address(&p->header->addresses[0], ZERO_16, 15))
BREAK(address_zero, set_address(&p->header->addresses[1], ZERO_16, 16))
BREAK(address_loopback, set_address(&p->header->addresses[0], (const uint8_t[4]){127, 9}, 4))

static void set_aliases(Holdfast__Header *header, size_t n)
{
	header->aliases = realloc(header->aliases, n * sizeof(*header->aliases));
	assert_non_null(header->aliases);
	for (size_t i = header->n_aliases; i < n; i++) {
		header->aliases[i] = malloc(sizeof(**header->aliases));
		assert_non_null(header->aliases[i]);
		holdfast__alias__init(header->aliases[i]);
	}
	header->n_aliases = n;
}

BREAK(aliases_many, set_aliases(p->header, HF_MAX_ALIASES + 1))
BREAK(alias_family, p->header->aliases[0]->family = 5)
BREAK(alias_family_other, p->header->aliases[0]->family = 6)
BREAK(alias_no_local, DROP(endpoint, p->header->aliases[1]->local))
BREAK(alias_local_port_0, p->header->aliases[2]->local->port = 0)
BREAK(alias_local_zero, set_ip(p->header->aliases[2]->local, ZERO_16, 4))
BREAK(alias_peer_port_0, p->header->aliases[0]->peer->port = 0)
BREAK(alias_peer_zero, set_ip(p->header->aliases[0]->peer, ZERO_16, 4))
BREAK(alias_inside_port_0, p->header->aliases[1]->inside->port = 0)
BREAK(alias_inside_multicast, set_ip(p->header->aliases[1]->inside, MULTI_6, 16))
BREAK(alias_inside_short, p->header->aliases[1]->inside->ip.len = 4)
BREAK(alias_inside_listener, p->header->aliases[2]->inside = new_endpoint())
BREAK(alias_inside_unknown, add_unknown(&p->header->aliases[1]->inside->base))
BREAK(alias_unknown, add_unknown(&p->header->aliases[1]->base))
BREAK(pending_many, set_pending(p->header, HF_MAX_PENDING + 1))
BREAK(pending_family, p->header->pending[1]->family = 5)
BREAK(pending_state_0, p->header->pending[1]->state = 0)
BREAK(pending_state_closed, p->header->pending[1]->state = HF_TCP_CLOSE)
BREAK(pending_state_listen, p->header->pending[1]->state = HF_TCP_LISTEN)
BREAK(pending_state_13, p->header->pending[1]->state = HF_TCP_STATES)
BREAK(pending_state_max, p->header->pending[1]->state = UINT32_MAX)
BREAK(pending_no_local, DROP(endpoint, p->header->pending[1]->local))
BREAK(pending_no_peer, DROP(endpoint, p->header->pending[1]->peer))
BREAK(pending_port_0, p->header->pending[0]->peer->port = 0)
BREAK(pending_port_large, p->header->pending[1]->local->port = 65536)
BREAK(pending_ip, p->header->pending[1]->local->ip.len = 3)
BREAK(pending_unspecified, set_ip(p->header->pending[0]->local, ZERO_16, 4))
BREAK(pending_unknown, add_unknown(&p->header->pending[1]->base))
BREAK(pending_local_unknown, add_unknown(&p->header->pending[1]->local->base))

BREAK(family_0, p->socket[ON_IPV4]->family = 0)
BREAK(family_5, p->socket[LINK_LOCAL]->family = 5)
BREAK(family_other, p->socket[LINK_LOCAL]->family = 4)
BREAK(state_0, p->socket[LINK_LOCAL]->state = 0)
BREAK(state_time_wait, p->socket[LINK_LOCAL]->state = HF_TCP_TIME_WAIT)
BREAK(state_syn_recv, p->socket[LINK_LOCAL]->state = HF_TCP_SYN_RECV)
BREAK(state_listen, p->socket[LINK_LOCAL]->state = HF_TCP_LISTEN)
BREAK(state_13, p->socket[LINK_LOCAL]->state = HF_TCP_STATES)
BREAK(state_max, p->socket[LINK_LOCAL]->state = UINT32_MAX)
BREAK(closed_beyond, p->socket[WAS_RESET]->closed = HF_CLOSED_KINDS)
BREAK(closed_max, p->socket[WAS_RESET]->closed = UINT32_MAX)
BREAK(closed_open, p->socket[ON_IPV4]->closed = HF_CLOSED_RESET)
BREAK(shutdown_4, p->socket[ON_IPV4]->shutdown = 4)
BREAK(shutdown_256, p->socket[ON_IPV4]->shutdown = 256)
BREAK(v6only_open, p->socket[LINK_LOCAL]->v6only = true)
BREAK(v6only_4, p->socket[LISTEN_ONE]->v6only = true)
BREAK(listen_port_0, p->socket[LISTEN_ONE]->local->port = 0)
BREAK(listen_scope, p->socket[LISTEN_ANY]->local->scope_id = 1)
BREAK(listen_no_local, DROP(endpoint, p->socket[LISTEN_ONE]->local))
BREAK(listen_peer, p->socket[LISTEN_ONE]->peer = new_endpoint())
BREAK(listen_receive, p->socket[LISTEN_ONE]->receive = new_queue())
BREAK(listen_send, p->socket[LISTEN_ONE]->send = new_queue())
BREAK(listen_window, p->socket[LISTEN_ONE]->window = new_window())
BREAK(listen_urgent, p->socket[LISTEN_ONE]->urgent = new_urgent())
BREAK(listen_mss, p->socket[LISTEN_ONE]->mss_clamp = 536)
BREAK(connecting_receive, p->socket[CONNECTING]->receive = new_queue())
BREAK(connecting_no_send, DROP(queue, p->socket[CONNECTING]->send))
BREAK(connecting_bytes, p->socket[CONNECTING]->send->length = 1)
BREAK(reset_no_receive, DROP(queue, p->socket[WAS_RESET]->receive))
BREAK(reset_seq, p->socket[WAS_RESET]->receive->seq = 1)
BREAK(reset_peer, p->socket[WAS_RESET]->peer = new_endpoint())
BREAK(reset_local, p->socket[WAS_RESET]->local->port = 0)
BREAK(unused_peer, p->socket[UNUSED]->peer = new_endpoint())
BREAK(unused_v6, p->socket[UNUSED]->family = HF_FAMILY_IPV6)
BREAK(fin_unsent_not, p->socket[FIN_QUEUED]->fin_unsent = false)
BREAK(fin_unsent_open, p->socket[LINK_LOCAL]->fin_unsent = true)
BREAK(urgent_at, p->socket[WAS_RESET]->urgent->at = 7)
BREAK(urgent_max, p->socket[WAS_RESET]->urgent->at = UINT32_MAX)
BREAK(urgent_empty, p->socket[ON_IPV4]->urgent = new_urgent())
BREAK(urgent_unknown, add_unknown(&p->socket[WAS_RESET]->urgent->base))
BREAK(options_many, set_options(p->socket[LISTEN_ANY], HF_MAX_OPTIONS + 1, 0))
BREAK(options_twice, p->socket[LISTEN_ANY]->options[1]->name = 18;
	p->socket[LISTEN_ANY]->options[1]->value.len = 4)
BREAK(option_strange, p->socket[LISTEN_ANY]->options[0]->level = 7)
BREAK(option_short, p->socket[LISTEN_ANY]->options[0]->value.len = 3)
BREAK(option_of_criu, p->socket[LISTEN_ANY]->options[0]->level = 1;
	p->socket[LISTEN_ANY]->options[0]->name = 9)
BREAK(options_unknown, add_unknown(&p->socket[LISTEN_ANY]->options[1]->base))
BREAK(option_level, p->socket[LISTEN_ANY]->options[1]->level = 65536)
BREAK(option_name, p->socket[LISTEN_ANY]->options[1]->name = 65536 + 18)
BREAK(option_long, set_options(p->socket[LISTEN_ANY], 1, HF_OPTION_SIZE + 1))
BREAK(option_longer, set_options(p->socket[LISTEN_ANY], 1, UINT16_MAX + 5))
BREAK(local_none, DROP(endpoint, p->socket[LINK_LOCAL]->local))
BREAK(local_ip_none, p->socket[LINK_LOCAL]->local->ip.len = 0)
BREAK(local_ip_short, p->socket[ON_IPV4]->local->ip.len = 3)
BREAK(local_ip_long, set_ip(p->socket[ON_IPV4]->local, GLOBAL, 16))
BREAK(local_unspecified, set_ip(p->socket[LINK_LOCAL]->local, ZERO_16, 16))
BREAK(local_unspecified_4, set_ip(p->socket[ON_IPV4]->local, ZERO_16, 4))
BREAK(local_multicast, set_ip(p->socket[LINK_LOCAL]->local, MULTI_6, 16))
BREAK(local_port_0, p->socket[LINK_LOCAL]->local->port = 0)
BREAK(local_port_large, p->socket[LINK_LOCAL]->local->port = 65536)
BREAK(local_port_wraps, p->socket[LINK_LOCAL]->local->port = 65536 + 80)
BREAK(local_scope_4, p->socket[ON_IPV4]->local->scope_id = 1)
BREAK(local_scope_global, set_ip(p->socket[LINK_LOCAL]->local, GLOBAL, 16))
BREAK(local_unknown, add_unknown(&p->socket[LINK_LOCAL]->local->base))
BREAK(peer_none, DROP(endpoint, p->socket[LINK_LOCAL]->peer))
BREAK(peer_ip_short, p->socket[LINK_LOCAL]->peer->ip.len = 4)
BREAK(peer_unspecified, set_ip(p->socket[LINK_LOCAL]->peer, ZERO_16, 16))
BREAK(peer_multicast_4, set_ip(p->socket[ON_IPV4]->peer, "\xe0\0\0\1", 4))
BREAK(peer_multicast_6, set_ip(p->socket[LINK_LOCAL]->peer, MULTI_6, 16))
BREAK(peer_port_0, p->socket[LINK_LOCAL]->peer->port = 0)
BREAK(peer_port_large, p->socket[LINK_LOCAL]->peer->port = UINT32_MAX)
BREAK(peer_scope_global, set_ip(p->socket[LINK_LOCAL]->peer, GLOBAL, 16))
BREAK(peer_not_mapped, set_ip(p->socket[MAPPED]->peer, GLOBAL, 16))
BREAK(peer_unknown, add_unknown(&p->socket[LINK_LOCAL]->peer->base))
BREAK(receive_none, DROP(queue, p->socket[LINK_LOCAL]->receive))
BREAK(receive_long, p->socket[LINK_LOCAL]->receive->length = HF_MAX_QUEUE + 1)
BREAK(receive_max, p->socket[LINK_LOCAL]->receive->length = UINT32_MAX)
BREAK(receive_unknown, add_unknown(&p->socket[LINK_LOCAL]->receive->base))
BREAK(receive_absent, p->socket[MAPPED]->receive->length = HF_MAX_QUEUE)
BREAK(send_none, DROP(queue, p->socket[LINK_LOCAL]->send))
BREAK(send_long, p->socket[LINK_LOCAL]->send->length = HF_MAX_QUEUE + 1)
BREAK(send_max, p->socket[LINK_LOCAL]->send->length = UINT32_MAX)
BREAK(send_unknown, add_unknown(&p->socket[LINK_LOCAL]->send->base))
BREAK(send_absent, p->socket[MAPPED]->send->length = HF_MAX_QUEUE)
BREAK(unsent_long, p->socket[LINK_LOCAL]->unsent = 17)
BREAK(unsent_max, p->socket[ON_IPV4]->unsent = UINT32_MAX)
BREAK(mss_0, p->socket[LINK_LOCAL]->mss_clamp = 0)
BREAK(mss_large, p->socket[LINK_LOCAL]->mss_clamp = 65536)
BREAK(snd_wscale_15, p->socket[LINK_LOCAL]->snd_wscale = 15)
BREAK(snd_wscale_256, p->socket[LINK_LOCAL]->snd_wscale = 256 + 7)
BREAK(rcv_wscale_15, p->socket[LINK_LOCAL]->rcv_wscale = 15)
BREAK(rcv_wscale_256, p->socket[LINK_LOCAL]->rcv_wscale = 256 + 7)
BREAK(snd_wscale_without, p->socket[MAPPED]->snd_wscale = 1)
BREAK(rcv_wscale_without, p->socket[MAPPED]->rcv_wscale = 1)
BREAK(usec_without, p->socket[MAPPED]->usec_timestamps = true)
BREAK(window_none, DROP(window, p->socket[LINK_LOCAL]->window))
BREAK(window_max,
	p->socket[LINK_LOCAL]->window->max_window = p->socket[LINK_LOCAL]->window->snd_wnd - 1)
BREAK(window_wl1, p->socket[LINK_LOCAL]->window->snd_wl1 = p->socket[LINK_LOCAL]->receive->seq +
							   p->socket[LINK_LOCAL]->window->rcv_wnd +
							   1)
BREAK(window_wup, p->socket[LINK_LOCAL]->window->rcv_wup = p->socket[LINK_LOCAL]->receive->seq + 1)
BREAK(window_unknown, add_unknown(&p->socket[LINK_LOCAL]->window->base))
BREAK(holders_none, set_holders(p->socket[LINK_LOCAL], 0))
BREAK(holders_many, set_holders(p->socket[LINK_LOCAL], HF_MAX_HOLDERS + 1))
BREAK(holders_unknown, add_unknown(&p->socket[LINK_LOCAL]->holders[0]->base))
BREAK(holder_no_level, p->socket[LINK_LOCAL]->holders[2]->n_pid = 0)
BREAK(holder_levels, set_levels(p->socket[LINK_LOCAL]->holders[2], HF_MAX_PID_LEVELS + 1))
BREAK(holder_levels_many, set_levels(p->socket[LINK_LOCAL]->holders[2], 1000))
BREAK(holder_pid_0, p->socket[LINK_LOCAL]->holders[1]->pid[1] = 0)
BREAK(holder_pid_large, p->socket[LINK_LOCAL]->holders[1]->pid[0] = 1u << 31)
BREAK(holder_fd_large, p->socket[LINK_LOCAL]->holders[1]->fd = 1u << 31)
BREAK(conn_unknown, add_unknown(&p->socket[LINK_LOCAL]->base))
BREAK(twice_holder, set_holders(p->socket[ON_IPV4], 1); set_holders(p->socket[MAPPED], 1))
BREAK(twice_holder_one, p->socket[LINK_LOCAL]->holders[1]->fd = 4;
	set_levels(p->socket[LINK_LOCAL]->holders[1], 1))
BREAK(twice_tuple,
	set_ip(p->socket[MAPPED]->local, (const char *)p->socket[LINK_LOCAL]->local->ip.data, 16);
	set_ip(p->socket[MAPPED]->peer, (const char *)p->socket[LINK_LOCAL]->peer->ip.data, 16);
	p->socket[MAPPED]->local->scope_id = 5; p->socket[MAPPED]->peer->scope_id = 5;
	p->socket[MAPPED]->peer->port = p->socket[LINK_LOCAL]->peer->port)
BREAK(twice_on_wire, set_ip(p->socket[MAPPED]->peer, MAPPED_9, 16);
	p->socket[MAPPED]->local->port = 50000; p->socket[MAPPED]->peer->port = 443)
BREAK(trailer_more, p->trailer->sockets++)
BREAK(trailer_fewer, p->trailer->sockets--)
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
	CASE(header_count, "header", "sockets: "),
	CASE(header_count_max, "header", "sockets: "),
	CASE(header_more, "socket 11", ""), /* what it finds there is the trailer */
	CASE(header_fewer, "trailer", ""),  /* and here a connection */
	CASE(header_unknown, "header", "a field that this version does not know"),
	CASE(addresses_many, "header", "addresses: too many"),
	CASE(address_short, "header", "addresses: one has neither"),
	CASE(address_empty, "header", "addresses: one has neither"),
	CASE(address_long, "header", "addresses: one has neither"),
	CASE(address_zero, "header", "address 2: ip: is unspecified"),
	CASE(address_loopback, "header", "address 1: ip: is a loopback address"),
	CASE(aliases_many, "header", "aliases: too many"),
	CASE(alias_family, "header", "alias 1: family: "),
	CASE(alias_family_other, "header", "alias 1: local: "),
	CASE(alias_no_local, "header", "alias 2: local: missing"),
	CASE(alias_local_port_0, "header", "alias 3: local: the port is 0"),
	CASE(alias_local_zero, "header", "alias 3: local: is unspecified"),
	CASE(alias_peer_port_0, "header", "alias 1: peer: the port is 0"),
	CASE(alias_peer_zero, "header", "alias 1: peer: "),
	CASE(alias_inside_port_0, "header", "alias 2: inside: the port is 0"),
	CASE(alias_inside_multicast, "header", "alias 2: inside: "),
	CASE(alias_inside_short, "header", "alias 2: inside: "),
	CASE(alias_inside_listener, "header", "alias 3: inside: of a listener"),
	CASE(alias_inside_unknown, "header", "alias 2: inside: has a field"),
	CASE(alias_unknown, "header", "alias 2: content: has a field"),
	CASE(pending_many, "header", "pending: too many"),
	CASE(pending_family, "header", "pending 2: family: "),
	CASE(pending_state_0, "header", "pending 2: state: "),
	CASE(pending_state_closed, "header", "pending 2: state: "),
	CASE(pending_state_listen, "header", "pending 2: state: "),
	CASE(pending_state_13, "header", "pending 2: state: is no TCP state"),
	CASE(pending_state_max, "header", "pending 2: state: is no TCP state"),
	CASE(pending_no_local, "header", "pending 2: local: missing"),
	CASE(pending_no_peer, "header", "pending 2: peer: missing"),
	CASE(pending_port_0, "header", "pending 1: peer: the port is 0"),
	CASE(pending_port_large, "header", "pending 2: local: the port"),
	CASE(pending_ip, "header", "pending 2: local: the address"),
	CASE(pending_unspecified, "header", "pending 1: local: the address is unspecified"),
	CASE(pending_unknown, "header", "pending 2: content: has a field"),
	CASE(pending_local_unknown, "header", "pending 2: local: has a field"),
	CASE(family_0, "socket 1: ", "family: "),
	CASE(family_5, "socket 2: ", "family: "),
	CASE(family_other, "socket 2: ", "local: the address does not fit"),
	CASE(state_0, "socket 2: ", "state: 0"),
	CASE(state_time_wait, "socket 2: ", "state: 6 (TIME-WAIT)"),
	CASE(state_syn_recv, "socket 2: ", "state: 3 (SYN-RECEIVED)"),
	CASE(state_listen, "socket 2: ", "peer: there, although"),
	CASE(state_13, "socket 2: ", "state: is no TCP state"),
	CASE(state_max, "socket 2: ", "state: is no TCP state"),
	CASE(closed_beyond, "socket 8: ", "closed: "),
	CASE(closed_max, "socket 8: ", "closed: "),
	CASE(closed_open, "socket 1: ", "closed: a socket in state ESTABLISHED has none"),
	CASE(shutdown_4, "socket 1: ", "shutdown: "),
	CASE(shutdown_256, "socket 1: ", "shutdown: "),
	CASE(v6only_open, "socket 2: ", "v6only: a socket in state ESTABLISHED"),
	CASE(v6only_4, "socket 5: ", "v6only: set on an IPv4 address"),
	CASE(listen_port_0, "socket 5: ", "local: the port is 0"),
	CASE(listen_scope, "socket 4: ", "local: a scope id"),
	CASE(listen_no_local, "socket 5: ", "local: missing"),
	CASE(listen_peer, "socket 5: ", "peer: there, although"),
	CASE(listen_receive, "socket 5: ", "receive: there, although"),
	CASE(listen_send, "socket 5: ", "send: there, although"),
	CASE(listen_window, "socket 5: ", "window: there, although"),
	CASE(listen_urgent, "socket 5: ", "urgent: there, although"),
	CASE(listen_mss, "socket 5: ", "negotiated options: a socket in state LISTEN"),
	CASE(connecting_receive, "socket 9: ", "receive: there, although"),
	CASE(connecting_no_send, "socket 9: ", "send: missing"),
	CASE(connecting_bytes, "socket 9: ", "send: a socket in state SYN-SENT"),
	CASE(reset_no_receive, "socket 8: ", "receive: missing"),
	CASE(reset_seq, "socket 8: ", "receive: a socket in state CLOSED"),
	CASE(reset_peer, "socket 8: ", "peer: there, although"),
	CASE(reset_local, "socket 8: ", "local: the port is 0"),
	CASE(unused_peer, "socket 10: ", "peer: there, although"),
	CASE(unused_v6, "socket 10: ", "local: the address does not fit"),
	CASE(fin_unsent_not, "socket 7: ", "fin_unsent: a FIN was sent"),
	CASE(fin_unsent_open, "socket 2: ", "fin_unsent: a socket in state ESTABLISHED"),
	CASE(urgent_at, "socket 8: ", "urgent: the mark lies after"),
	CASE(urgent_max, "socket 8: ", "urgent: the mark lies after"),
	CASE(urgent_empty, "socket 1: ", "urgent: the mark lies after"),
	CASE(urgent_unknown, "socket 8: ", "urgent: has a field"),
	CASE(options_many, "socket 4: ", "options: too many"),
	CASE(options_twice, "socket 4: ", "option TCP_USER_TIMEOUT: is there twice"),
	CASE(option_strange, "socket 4: ", "option 18 of level 7: is unknown"),
	CASE(option_short, "socket 4: ", "option TCP_USER_TIMEOUT: has a wrong length"),
	CASE(option_of_criu, "socket 4: ", "option SO_KEEPALIVE: is not one that holdfast carries"),
	CASE(options_unknown, "socket 4: ", "options: has a field"),
	CASE(option_level, "socket 4: ", "options: a level or name"),
	CASE(option_name, "socket 4: ", "options: a level or name"),
	CASE(option_long, "socket 4: ", "options: a value that is too long"),
	CASE(option_longer, "socket 4: ", "options: a value that is too long"),
	CASE(local_none, "socket 2: ", "local: missing"),
	CASE(local_ip_none, "socket 2: ", "local: the address"),
	CASE(local_ip_short, "socket 1: ", "local: the address"),
	CASE(local_ip_long, "socket 1: ", "local: the address"),
	CASE(local_unspecified, "socket 2: ", "local: the address is unspecified"),
	CASE(local_unspecified_4, "socket 1: ", "local: the address is unspecified"),
	CASE(local_multicast, "socket 2: ", "local: the address is a multicast"),
	CASE(local_port_0, "socket 2: ", "local: the port"),
	CASE(local_port_large, "socket 2: ", "local: the port"),
	CASE(local_port_wraps, "socket 2: ", "local: the port"),
	CASE(local_scope_4, "socket 1: ", "local: a scope id"),
	CASE(local_scope_global, "socket 2: ", "local: a scope id"),
	CASE(local_unknown, "socket 2: ", "local: has a field"),
	CASE(peer_none, "socket 2: ", "peer: missing"),
	CASE(peer_ip_short, "socket 2: ", "peer: the address"),
	CASE(peer_unspecified, "socket 2: ", "peer: the address is unspecified"),
	CASE(peer_multicast_4, "socket 1: ", "peer: the address is a multicast"),
	CASE(peer_multicast_6, "socket 2: ", "peer: the address is a multicast"),
	CASE(peer_port_0, "socket 2: ", "peer: the port"),
	CASE(peer_port_large, "socket 2: ", "peer: the port"),
	CASE(peer_scope_global, "socket 2: ", "peer: a scope id"),
	CASE(peer_not_mapped, "socket 3: ", "peer: only one"),
	CASE(peer_unknown, "socket 2: ", "peer: has a field"),
	CASE(receive_none, "socket 2: ", "receive: missing"),
	CASE(receive_long, "socket 2: ", "receive: the queue is longer"),
	CASE(receive_max, "socket 2: ", "receive: the queue is longer"),
	CASE(receive_unknown, "socket 2: ", "receive: "),
	CASE(receive_absent, "socket 3: ", "receive: the file ends"),
	CASE(send_none, "socket 2: ", "send: missing"),
	CASE(send_long, "socket 2: ", "send: the queue is longer"),
	CASE(send_max, "socket 2: ", "send: the queue is longer"),
	CASE(send_unknown, "socket 2: ", "send: "),
	CASE(send_absent, "socket 3: ", "send: the file ends"),
	CASE(unsent_long, "socket 2: ", "unsent: "),
	CASE(unsent_max, "socket 1: ", "unsent: "),
	CASE(mss_0, "socket 2: ", "mss_clamp: "),
	CASE(mss_large, "socket 2: ", "mss_clamp: "),
	CASE(snd_wscale_15, "socket 2: ", "wscale: "),
	CASE(snd_wscale_256, "socket 2: ", "wscale: "),
	CASE(rcv_wscale_15, "socket 2: ", "wscale: "),
	CASE(rcv_wscale_256, "socket 2: ", "wscale: "),
	CASE(snd_wscale_without, "socket 3: ", "wscale: "),
	CASE(rcv_wscale_without, "socket 3: ", "wscale: "),
	CASE(usec_without, "socket 3: ", "usec_timestamps: "),
	CASE(window_none, "socket 2: ", "window: missing"),
	CASE(window_max, "socket 2: ", "window: max_window"),
	CASE(window_wl1, "socket 2: ", "window: snd_wl1"),
	CASE(window_wup, "socket 2: ", "window: rcv_wup"),
	CASE(window_unknown, "socket 2: ", "window: "),
	CASE(holders_none, "socket 2: ", "holders: none or too many"),
	CASE(holders_many, "socket 2: ", "holders: none or too many"),
	CASE(holders_unknown, "socket 2: ", "holders: has a field"),
	CASE(holder_no_level, "socket 2: ", "holders: a pid"),
	CASE(holder_levels, "socket 2: ", "holders: a pid"),
	CASE(holder_levels_many, "socket 2: ", "holders: a pid"),
	CASE(holder_pid_0, "socket 2: ", "holders: a pid out of range"),
	CASE(holder_pid_large, "socket 2: ", "holders: a pid out of range"),
	CASE(holder_fd_large, "socket 2: ", "holders: a file descriptor out of range"),
	CASE(conn_unknown, "socket 2: ", "a field that this version does not know"),
	CASE(twice_holder, "holders: ", "twice"),
	CASE(twice_holder_one, "holders: ", "twice"),
	CASE(twice_tuple, "sockets: ", "[fe80::1%5]:80 -> [fe80::2%5]:40001 is there twice"),
	CASE(twice_on_wire, "sockets: ", "is there twice"),
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
	save("good", "sample", &good);
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
		save("bad", broken[i].name, &bytes);
		unit_bytes_clear(&bytes);
		free_parts(&parts);
	}
	unit_bytes_clear(&good);
}

/* Values at their limit, which must still be good. */
/* clang-format off */
BREAK(limit_writer, set_writer(p, "~123456789 bcdef0123456789abcdef0123456789abcdef0123456789abcde"))
BREAK(limit_ports, p->socket[LINK_LOCAL]->local->port = 65535; p->socket[LINK_LOCAL]->peer->port = 1)
BREAK(limit_mss, p->socket[ON_IPV4]->mss_clamp = 1; p->socket[LINK_LOCAL]->mss_clamp = 65535)
BREAK(limit_wscale, p->socket[LINK_LOCAL]->snd_wscale = 14; p->socket[LINK_LOCAL]->rcv_wscale = 14)
BREAK(limit_unsent_0, p->socket[LINK_LOCAL]->unsent = 0)
BREAK(limit_window, p->socket[LINK_LOCAL]->window->max_window = p->socket[LINK_LOCAL]->window->snd_wnd;
	p->socket[LINK_LOCAL]->window->snd_wl1 = p->socket[LINK_LOCAL]->receive->seq + p->socket[LINK_LOCAL]->window->rcv_wnd;
	p->socket[LINK_LOCAL]->window->rcv_wup = p->socket[LINK_LOCAL]->receive->seq)
BREAK(limit_window_wraps, p->socket[LINK_LOCAL]->receive->seq = 5; p->socket[LINK_LOCAL]->window->snd_wl1 = 0xfffffff0;
	p->socket[LINK_LOCAL]->window->rcv_wup = 0xfffffffe)
BREAK(limit_holders, set_holders(p->socket[LINK_LOCAL], HF_MAX_HOLDERS))
BREAK(limit_link_local_no_scope, p->socket[LINK_LOCAL]->local->scope_id = 0; p->socket[LINK_LOCAL]->peer->scope_id = 0)
BREAK(limit_same_local, set_ip(p->socket[MAPPED]->local, ALL_V6, 16); set_ip(p->socket[MAPPED]->peer, ALL_V6, 16))
BREAK(limit_same_mapped, set_ip(p->socket[MAPPED]->peer, MAPPED_9, 16);
	p->socket[MAPPED]->local->port = 50000; p->socket[MAPPED]->peer->port = 444)
BREAK(limit_urgent, p->socket[WAS_RESET]->urgent->at = 0;
	p->socket[WAS_RESET]->urgent->taken = false)
BREAK(limit_listen_local, p->socket[LISTEN_ONE]->local->ip.len = 4;
	memset(p->socket[LISTEN_ONE]->local->ip.data, 0xff, 4))
BREAK(limit_closed_kinds, p->socket[WAS_RESET]->closed = HF_CLOSED_FINISHED;
	p->socket[UNUSED]->closed = HF_CLOSED_REFUSED)
BREAK(limit_same_fd, p->socket[MAPPED]->holders[0]->fd = 3; p->socket[MAPPED]->holders[0]->pid[0] = 2)
/* clang-format on */

static void test_limits(void **state)
{
	static const struct {
		const char *name;
		void (*apply)(struct parts *parts);
	} limits[] = {
		{"writer", limit_writer},
		{"ports", limit_ports},
		{"mss", limit_mss},
		{"wscale", limit_wscale},
		{"unsent_0", limit_unsent_0},
		{"window", limit_window},
		{"window_wraps", limit_window_wraps},
		{"holders", limit_holders},
		{"link_local_no_scope", limit_link_local_no_scope},
		{"same_local", limit_same_local},
		{"same_mapped", limit_same_mapped},
		{"urgent", limit_urgent},
		{"listen_local", limit_listen_local},
		{"closed_kinds", limit_closed_kinds},
		{"same_fd", limit_same_fd},
	};
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
		limits[i].apply(&parts);
		put_together(&parts, &bytes);
		if (read_image(&bytes, bytes.len, &image, &err) != 0)
			fail_msg("limit %s: %s", limits[i].name, err.text);
		hf_image_clear(&image);
		save("good-limit", limits[i].name, &bytes);
		unit_bytes_clear(&bytes);
		free_parts(&parts);
	}
	unit_bytes_clear(&good);
}

/* An image of one socket, written and read. */
static void check_alone(const struct sample *all, unsigned int i, const char *name)
{
	struct sample sample;
	struct unit_bytes bytes;
	struct hf_image image;

	make_sample(&sample);
	sample.image.n_conns = 1;
	sample.conns[0] = all->conns[i];
	memcpy(sample.recv[0], all->recv[i], sizeof(all->recv[i]));
	memcpy(sample.send[0], all->send[i], sizeof(all->send[i]));
	write_sample(&sample, &bytes);
	assert_int_equal(read_image(&bytes, bytes.len, &image, NULL), 0);
	assert_same_as_sample(&image, &sample, &bytes);
	hf_image_clear(&image);
	save("good", name, &bytes);
	unit_bytes_clear(&bytes);
}

static void test_alone(void **state)
{
	static const char *const names[N_SAMPLE] = {"ipv4", "link_local", "mapped", "listen_any",
		"listen_one", "listen_too", "fin_queued", "was_reset", "connecting", "unused"};
	static const struct {
		enum hf_tcp_state state;
		const char *name;
	} others[] = {
		{HF_TCP_FIN_WAIT2, "fin_wait2"},
		{HF_TCP_CLOSE_WAIT, "close_wait"},
		{HF_TCP_LAST_ACK, "last_ack"},
		{HF_TCP_CLOSING, "closing"},
	};
	struct sample all;

	(void)state;
	make_sample(&all);
	for (unsigned int i = 0; i < N_SAMPLE; i++)
		check_alone(&all, i, names[i]);
	all.conns[ON_IPV4].recv.len = 3;
	all.conns[ON_IPV4].urgent.present = true;
	for (size_t i = 0; i < UNIT_COUNT(others); i++) {
		all.conns[ON_IPV4].state = others[i].state;
		check_alone(&all, ON_IPV4, others[i].name);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_broken_fields),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
