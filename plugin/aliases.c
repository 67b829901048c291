// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/aliases.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/tcp_state.h"
#include "sys/conntrack.h"

/* The addresses of a connection as they are in packets, IPv4 as IPv4-mapped; without holes. */
struct tuple {
	uint8_t local[16], peer[16];
	uint16_t local_port, peer_port;
};

struct search {
	struct hf_image *image;
	struct tuple *tuples; /* sorted */
	size_t n;
	uint32_t room;
};

static void set_ip(uint8_t to[16], enum hf_family family, const struct hf_endpoint *from)
{
	const uint8_t *v4 = hf_endpoint_ipv4(family, from);

	if (!v4) {
		memcpy(to, from->ip, 16);
		return;
	}
	memset(to, 0, 10);
	memset(to + 10, 0xff, 2);
	memcpy(to + 12, v4, 4);
}

static struct tuple make(
	enum hf_family family, const struct hf_endpoint *local, const struct hf_endpoint *peer)
{
	struct tuple tuple = {.local_port = local->port, .peer_port = peer->port};

	set_ip(tuple.local, family, local);
	set_ip(tuple.peer, family, peer);
	return tuple;
}

static int compare(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct tuple));
}

static bool is_ours(const struct search *search, enum hf_family family,
	const struct hf_endpoint *local, const struct hf_endpoint *peer)
{
	const struct tuple tuple = make(family, local, peer);

	return bsearch(&tuple, search->tuples, search->n, sizeof(tuple), compare) != NULL;
}

static bool is_same(const struct hf_endpoint *one, const struct hf_endpoint *other)
{
	return one->port == other->port && memcmp(one->ip, other->ip, sizeof(one->ip)) == 0;
}

static bool has(const struct hf_image *image, const struct hf_alias *alias)
{
	for (uint32_t i = 0; i < image->n_aliases; i++)
		if (!image->aliases[i].peer.port && image->aliases[i].family == alias->family &&
			is_same(&image->aliases[i].local, &alias->local))
			return true;
	return false;
}

static int add(struct search *search, const struct hf_alias *alias)
{
	struct hf_image *image = search->image;

	if (image->n_aliases == HF_MAX_ALIASES)
		return 0;
	if (image->n_aliases == search->room) {
		uint32_t room = search->room ? 2 * search->room : 64;
		struct hf_alias *grown = realloc(image->aliases, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		image->aliases = grown;
		search->room = room;
	}
	image->aliases[image->n_aliases++] = *alias;
	return 0;
}

static bool is_listened(const struct hf_image *image, uint16_t port)
{
	for (uint32_t i = 0; i < image->n_conns; i++)
		if (image->conns[i].state == HF_TCP_LISTEN && image->conns[i].local.port == port)
			return true;
	return false;
}

static struct hf_endpoint inside(const struct hf_endpoint *outside, const struct hf_endpoint *peer)
{
	return is_same(outside, peer) ? (struct hf_endpoint){0} : *peer;
}

/* One that came in to a published address. Where it got another source as well (masquerading), that
 * is done last: there is a part of the way on which only the target is translated. */
static int take_incoming(struct search *search, const struct hf_translation *found)
{
	struct hf_alias alias = {0};
	int ret = 0;

	alias.family = found->family;
	alias.local = found->answer_from;
	alias.peer = found->from;
	if (!is_same(&found->from, &found->answer_to))
		ret = add(search, &alias);
	alias.local = found->to;
	alias.inside = inside(&found->from, &found->answer_to);
	if (ret == 0)
		ret = add(search, &alias);
	memset(&alias.peer, 0, sizeof(alias.peer));
	memset(&alias.inside, 0, sizeof(alias.inside));
	if (ret == 0 && is_listened(search->image, found->answer_from.port) &&
		!has(search->image, &alias))
		ret = add(search, &alias);
	return ret;
}

/* One that went out, with the host's address. */
static int take_outgoing(struct search *search, const struct hf_translation *found)
{
	struct hf_alias alias = {0};

	alias.family = found->family;
	alias.local = found->answer_to;
	alias.peer = found->answer_from;
	alias.inside = inside(&found->answer_from, &found->to);
	return add(search, &alias);
}

static int take(const struct hf_translation *found, void *context)
{
	struct search *search = context;

	if (is_ours(search, found->family, &found->answer_from, &found->answer_to))
		return take_incoming(search, found);
	if (is_ours(search, found->family, &found->from, &found->to))
		return take_outgoing(search, found);
	return 0;
}

static void restart(void *context)
{
	struct search *search = context;

	search->image->n_aliases = 0;
}

static void collect_tuples(struct search *search)
{
	for (uint32_t i = 0; i < search->image->n_conns; i++) {
		const struct hf_conn *conn = &search->image->conns[i];

		if (hf_tcp_row(conn->state, conn->closed)->connected)
			search->tuples[search->n++] = make(conn->family, &conn->local, &conn->peer);
	}
	if (search->n)
		qsort(search->tuples, search->n, sizeof(*search->tuples), compare);
}

int hf_aliases_find(int host, struct hf_image *image, struct hf_error *err)
{
	hf_autofree struct tuple *tuples = malloc(((size_t)image->n_conns + 1) * sizeof(*tuples));
	struct search search = {.image = image, .tuples = tuples};

	if (!tuples)
		return hf_error_sys(err, -ENOMEM, "cannot look for translated connections");
	collect_tuples(&search);
	if (search.n == 0)
		return 0;
	return hf_conntrack_translations(host, take, restart, &search, err);
}
