// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/lock_keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tcp_state.h"

static uint8_t *put_address(uint8_t *at, const struct hf_lock_set *row, enum hf_family family,
	const uint8_t ip[16], uint16_t port)
{
	/* The IPv4 part of an IPv4-mapped address is its end. */
	memcpy(at, row->address_len == 4 && family == HF_FAMILY_IPV6 ? ip + 12 : ip,
		row->address_len);
	at += row->address_len;
	at[0] = (uint8_t)(port >> 8);
	at[1] = (uint8_t)port;
	at[2] = at[3] = 0;
	return at + 4;
}

static struct hf_lock_setkey *new_key(struct hf_lock_keylist *list)
{
	if (list->n == list->room) {
		uint32_t room = list->room ? 2 * list->room : 64;
		struct hf_lock_setkey *grown = realloc(list->keys, room * sizeof(*grown));

		if (!grown)
			return NULL;
		list->keys = grown;
		list->room = room;
	}
	return &list->keys[list->n++];
}

enum hf_lock_set_kind hf_lock_kind(const struct hf_conn *conn)
{
	return hf_conn_is_ipv4_on_wire(conn) ? HF_SET_CONN4 : HF_SET_CONN6;
}

static int take_conn(struct hf_lock_keylists *lists, const struct hf_conn *conn)
{
	enum hf_lock_set_kind kind = hf_lock_kind(conn);
	struct hf_lock_setkey *key = new_key(&lists->of[kind]);
	uint8_t *at;

	if (!key)
		return -ENOMEM;
	at = put_address(
		key->bytes, &hf_lock_sets[kind], conn->family, conn->peer.ip, conn->peer.port);
	at = put_address(at, &hf_lock_sets[kind], conn->family, conn->local.ip, conn->local.port);
	key->len = (uint8_t)(at - key->bytes);
	return 0;
}

static int take_listener_at(struct hf_lock_keylists *lists, enum hf_lock_set_kind kind,
	enum hf_family family, const uint8_t ip[16], uint16_t port)
{
	struct hf_lock_setkey *key = new_key(&lists->of[kind]);

	if (!key)
		return -ENOMEM;
	key->len = (uint8_t)(put_address(key->bytes, &hf_lock_sets[kind], family, ip, port) -
			     key->bytes);
	return 0;
}

/* A listener on every address of a family: by its port, or on each address that is known. */
static int take_listener_everywhere(struct hf_lock_keylists *lists, enum hf_family family,
	uint16_t port, const struct hf_image *image, enum hf_lock_place place)
{
	static const uint8_t any[16];
	bool v4 = family == HF_FAMILY_IPV4;
	int ret = 0;

	if (place == HF_LOCK_NETNS)
		return take_listener_at(lists, v4 ? HF_SET_PORT4 : HF_SET_PORT6, family, any, port);
	for (uint32_t i = 0; i < image->n_addresses && ret == 0; i++)
		if (image->addresses[i].family == family)
			ret = take_listener_at(lists, v4 ? HF_SET_LISTEN4 : HF_SET_LISTEN6, family,
				image->addresses[i].ip, port);
	return ret;
}

static int take_listener(struct hf_lock_keylists *lists, const struct hf_conn *listener,
	const struct hf_image *image, enum hf_lock_place place)
{
	static const uint8_t any[16];
	const struct hf_endpoint *local = &listener->local;
	bool v4 = hf_endpoint_ipv4(listener->family, local) != NULL;
	int ret;

	if (memcmp(local->ip, any, sizeof(any)) != 0)
		return take_listener_at(lists, v4 ? HF_SET_LISTEN4 : HF_SET_LISTEN6,
			listener->family, local->ip, local->port);
	ret = take_listener_everywhere(lists, listener->family, local->port, image, place);
	if (ret == 0 && listener->family == HF_FAMILY_IPV6 && !listener->v6only)
		ret = take_listener_everywhere(lists, HF_FAMILY_IPV4, local->port, image, place);
	return ret;
}

/* Closed sockets get no packets: there is nothing to hold. */
static int take(struct hf_lock_keylists *lists, const struct hf_conn *conn,
	const struct hf_image *image, enum hf_lock_place place)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

	if (place == HF_LOCK_HOST && hf_ip_is_loopback(conn->family, conn->local.ip))
		return 0;
	if (conn->state == HF_TCP_LISTEN)
		return take_listener(lists, conn, image, place);
	return row && row->connected ? take_conn(lists, conn) : 0;
}

/* Translation is the host's. */
static int take_alias(struct hf_lock_keylists *lists, const struct hf_alias *alias)
{
	const struct hf_conn conn = {
		.family = alias->family, .local = alias->local, .peer = alias->peer};
	bool v4 = hf_endpoint_ipv4(alias->family, &alias->local) != NULL;

	if (alias->peer.port)
		return take_conn(lists, &conn);
	return take_listener_at(lists, v4 ? HF_SET_LISTEN4 : HF_SET_LISTEN6, alias->family,
		alias->local.ip, alias->local.port);
}

int hf_lock_keys_take(
	struct hf_lock_keylists *lists, const struct hf_image *image, enum hf_lock_place place)
{
	int ret = 0;

	for (uint32_t i = 0; place == HF_LOCK_HOST && i < image->n_aliases && ret == 0; i++)
		ret = take_alias(lists, &image->aliases[i]);

	for (uint32_t i = 0; i < image->n_conns && ret == 0; i++)
		ret = take(lists, &image->conns[i], image, place);
	return ret;
}

uint32_t hf_lock_keys_count(const struct hf_lock_keylists *lists)
{
	uint32_t n = 0;

	for (int kind = 0; kind < HF_LOCK_SETS; kind++)
		n += lists->of[kind].n;
	return n;
}

void hf_lock_keys_clear(struct hf_lock_keylists *lists)
{
	for (int kind = 0; kind < HF_LOCK_SETS; kind++)
		free(lists->of[kind].keys);
	memset(lists, 0, sizeof(*lists));
}
