// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/aliases.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/tcp_state.h"
#include "sys/conntrack.h"

struct search {
	struct hf_image *image;
	uint32_t room;
};

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

static bool is_at(const struct hf_endpoint *endpoint, enum hf_family family,
	const struct hf_endpoint *packets)
{
	const uint8_t *v4 = hf_endpoint_ipv4(family, endpoint);

	return endpoint->port == packets->port &&
	       memcmp(v4 ? v4 : endpoint->ip, packets->ip, v4 ? 4 : 16) == 0;
}

static int take(const struct hf_conn *conn, const struct hf_translation *found, void *context)
{
	if (is_at(&conn->local, conn->family, &found->answer_from) &&
		is_at(&conn->peer, conn->family, &found->answer_to))
		return take_incoming(context, found);
	return take_outgoing(context, found);
}

int hf_aliases_find(int host, struct hf_image *image, struct hf_error *err)
{
	struct search search = {.image = image};

	return hf_conntrack_translations(host, image->conns, image->n_conns, take, &search, err);
}
