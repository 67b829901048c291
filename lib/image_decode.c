// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/image_decode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/image_format.h"

static int bad(struct hf_error *err, const char *field, const char *why)
{
	return hf_error_set(err, -EBADMSG, "%s: %s", field, why);
}

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
	if (hf_has_unknown_fields(&from->base))
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

static int get_pending(const Holdfast__Pending *from, struct hf_pending *to, struct hf_error *err)
{
	int ret;

	if (hf_has_unknown_fields(&from->base))
		return bad(err, "content", "has a field that this version does not know");
	ret = get_family(from->family, &to->family, err);
	if (ret == 0)
		ret = get_endpoint(from->local, to->family, &to->local, "local", err);
	if (ret == 0)
		ret = get_endpoint(from->peer, to->family, &to->peer, "peer", err);
	if (from->state >= HF_TCP_STATES && ret == 0)
		ret = bad(err, "state", "is no TCP state");
	to->state = (enum hf_tcp_state)from->state;
	return ret;
}

static int get_all_pending(
	const Holdfast__Header *from, struct hf_image *image, struct hf_error *err)
{
	if (from->n_pending > HF_MAX_PENDING)
		return bad(err, "pending", "too many");
	image->pending = calloc(from->n_pending + 1, sizeof(*image->pending));
	if (!image->pending)
		return hf_error_sys(err, -ENOMEM, "cannot read the pending connections");
	for (size_t i = 0; i < from->n_pending; i++) {
		int ret = get_pending(from->pending[i], &image->pending[i], err);

		if (ret < 0)
			return hf_error_context(err, ret, "pending %zu", i + 1);
		image->n_pending++;
	}
	return 0;
}

static int get_netns_addresses(
	const Holdfast__Header *from, struct hf_image *image, struct hf_error *err)
{
	if (from->n_addresses > HF_MAX_ADDRESSES)
		return bad(err, "addresses", "too many");
	image->addresses = calloc(from->n_addresses + 1, sizeof(*image->addresses));
	if (!image->addresses)
		return hf_error_sys(err, -ENOMEM, "cannot read the addresses");
	for (size_t i = 0; i < from->n_addresses; i++) {
		struct hf_address *to = &image->addresses[image->n_addresses++];
		const ProtobufCBinaryData *ip = &from->addresses[i];

		if (ip->len != 4 && ip->len != 16)
			return bad(err, "addresses", "one has neither 4 nor 16 bytes");
		to->family = ip->len == 4 ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6;
		memcpy(to->ip, ip->data, ip->len);
	}
	return 0;
}

static int get_alias(const Holdfast__Alias *from, struct hf_alias *to, struct hf_error *err)
{
	int ret;

	if (hf_has_unknown_fields(&from->base))
		return bad(err, "content", "has a field that this version does not know");
	ret = get_family(from->family, &to->family, err);
	if (ret == 0)
		ret = get_endpoint(from->local, to->family, &to->local, "local", err);
	if (ret == 0 && from->peer)
		ret = get_endpoint(from->peer, to->family, &to->peer, "peer", err);
	if (ret == 0 && from->peer && to->peer.port == 0)
		ret = bad(err, "peer", "the port is 0");
	if (ret == 0 && from->inside)
		ret = get_endpoint(from->inside, to->family, &to->inside, "inside", err);
	if (ret == 0 && from->inside && to->inside.port == 0)
		ret = bad(err, "inside", "the port is 0");
	return ret;
}

static int get_aliases(const Holdfast__Header *from, struct hf_image *image, struct hf_error *err)
{
	if (from->n_aliases > HF_MAX_ALIASES)
		return bad(err, "aliases", "too many");
	image->aliases = calloc(from->n_aliases + 1, sizeof(*image->aliases));
	if (!image->aliases)
		return hf_error_sys(err, -ENOMEM, "cannot read the aliases");
	for (size_t i = 0; i < from->n_aliases; i++) {
		int ret = get_alias(from->aliases[i], &image->aliases[image->n_aliases++], err);

		if (ret < 0)
			return hf_error_context(err, ret, "alias %zu", i + 1);
	}
	return 0;
}

int hf_decode_header(const Holdfast__Header *from, struct hf_image *image, struct hf_error *err)
{
	int ret;

	if (from->id.len != HF_ID_SIZE)
		return bad(err, "id", "is not a 128-bit id");
	if (strlen(from->writer) >= sizeof(image->writer))
		return bad(err, "writer", "is too long");
	memcpy(image->id, from->id.data, HF_ID_SIZE);
	snprintf(image->writer, sizeof(image->writer), "%s", from->writer);
	image->created = from->created;
	image->netns_shared = from->netns_shared;
	image->peers_paused = from->peers_paused;
	ret = get_all_pending(from, image, err);
	if (ret == 0)
		ret = get_netns_addresses(from, image, err);
	if (ret == 0)
		ret = get_aliases(from, image, err);
	return ret < 0 ? ret : hf_image_check_header(image, from->sockets, err);
}

static int get_holders(const Holdfast__Socket *from, struct hf_conn *to, struct hf_error *err)
{
	if (from->n_holders == 0 || from->n_holders > HF_MAX_HOLDERS)
		return bad(err, "holders", "none or too many");
	to->holders = calloc(from->n_holders, sizeof(*to->holders));
	if (!to->holders)
		return hf_error_sys(err, -ENOMEM, "cannot read the holders");
	for (size_t i = 0; i < from->n_holders; i++) {
		const Holdfast__Holder *holder = from->holders[i];

		if (hf_has_unknown_fields(&holder->base))
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

static int get_options(const Holdfast__Socket *from, struct hf_conn *to, struct hf_error *err)
{
	if (from->n_options > HF_MAX_OPTIONS)
		return bad(err, "options", "too many");
	if (from->n_options == 0)
		return 0;
	to->options = calloc(from->n_options, sizeof(*to->options));
	if (!to->options)
		return hf_error_sys(err, -ENOMEM, "cannot read the options");
	for (size_t i = 0; i < from->n_options; i++) {
		const Holdfast__Option *option = from->options[i];

		if (hf_has_unknown_fields(&option->base))
			return bad(err, "options", "has a field that this version does not know");
		if (option->level > UINT16_MAX || option->name > UINT16_MAX)
			return bad(err, "options", "a level or name above 65535");
		if (option->value.len > HF_OPTION_SIZE)
			return bad(err, "options", "a value that is too long");
		to->options[i].level = (uint16_t)option->level;
		to->options[i].name = (uint16_t)option->name;
		to->options[i].len = (uint16_t)option->value.len;
		if (option->value.len)
			memcpy(to->options[i].value, option->value.data, option->value.len);
		to->n_options++;
	}
	return 0;
}

/* A message inside a record is there when, and only when, the state has that part. */
static int check_part(
	const ProtobufCMessage *part, bool wanted, const char *field, struct hf_error *err)
{
	if (!part)
		return wanted ? bad(err, field, "missing") : 0;
	if (!wanted)
		return bad(err, field, "there, although the state has none");
	return hf_has_unknown_fields(part)
		       ? bad(err, field, "has a field that this version does not know")
		       : 0;
}

#define PART(message) ((message) ? &(message)->base : NULL)

static int get_state(const Holdfast__Socket *from, struct hf_conn *to, struct hf_error *err)
{
	if (from->state >= HF_TCP_STATES)
		return bad(err, "state", "is no TCP state");
	if (from->closed >= HF_CLOSED_KINDS)
		return bad(err, "closed", "is no kind of closed socket");
	if (from->shutdown > UINT8_MAX)
		return bad(err, "shutdown", "is no set of directions");
	to->state = (enum hf_tcp_state)from->state;
	to->closed = (enum hf_closed)from->closed;
	to->shutdown = (uint8_t)from->shutdown;
	if (!hf_tcp_row(to->state, to->closed))
		return hf_error_set(err, -EBADMSG, "state: %u (%s) cannot be restored",
			(unsigned int)to->state, hf_tcp_state_name(to->state));
	return 0;
}

static int get_addresses(const Holdfast__Socket *from, struct hf_conn *to, struct hf_error *err)
{
	bool connected = hf_tcp_row(to->state, to->closed)->connected;
	int ret = get_family(from->family, &to->family, err);

	to->v6only = from->v6only;
	if (ret == 0)
		ret = get_endpoint(from->local, to->family, &to->local, "local", err);
	if (ret == 0)
		ret = check_part(PART(from->peer), connected, "peer", err);
	if (ret == 0 && connected)
		ret = get_endpoint(from->peer, to->family, &to->peer, "peer", err);
	return ret;
}

static int get_queues(const Holdfast__Socket *from, struct hf_conn *to, struct hf_error *err)
{
	const struct hf_tcp_row *row = hf_tcp_row(to->state, to->closed);
	int ret = check_part(PART(from->receive), hf_has_receive(row), "receive", err);

	if (ret == 0)
		ret = check_part(PART(from->send), hf_has_send(row), "send", err);
	if (ret == 0)
		ret = check_part(
			PART(from->urgent), from->urgent && hf_has_receive(row), "urgent", err);
	if (ret < 0)
		return ret;
	if (from->receive)
		to->recv = (struct hf_queue){from->receive->seq, from->receive->length};
	if (from->send)
		to->send = (struct hf_queue){from->send->seq, from->send->length};
	to->unsent = from->unsent;
	to->fin_unsent = from->fin_unsent;
	if (from->urgent)
		to->urgent = (struct hf_urgent){true, from->urgent->taken, from->urgent->at};
	return 0;
}

static int get_stream(const Holdfast__Socket *from, struct hf_conn *to, struct hf_error *err)
{
	const struct hf_tcp_row *row = hf_tcp_row(to->state, to->closed);
	const Holdfast__Window *window = from->window;
	int ret = check_part(PART(window), hf_has_window(row), "window", err);

	if (ret < 0)
		return ret;
	if (from->snd_wscale > UINT8_MAX || from->rcv_wscale > UINT8_MAX)
		return bad(err, "wscale", "a window scale above 14");
	to->mss_clamp = from->mss_clamp;
	to->has_wscale = from->wscale;
	to->snd_wscale = (uint8_t)from->snd_wscale;
	to->rcv_wscale = (uint8_t)from->rcv_wscale;
	to->has_sack = from->sack;
	to->has_timestamps = from->timestamps;
	to->usec_timestamps = from->usec_timestamps;
	to->timestamp = from->timestamp;
	to->peer_paused = from->peer_paused;
	to->peer_silent = from->peer_silent;
	to->rtt_us = from->rtt_us;
	if (window)
		to->window = (struct hf_window){window->snd_wl1, window->snd_wnd,
			window->max_window, window->rcv_wnd, window->rcv_wup};
	return 0;
}

int hf_decode_socket(const Holdfast__Socket *from, struct hf_conn *to, struct hf_error *err)
{
	int ret = get_state(from, to, err);

	if (ret == 0)
		ret = get_addresses(from, to, err);
	if (ret == 0)
		ret = get_queues(from, to, err);
	if (ret == 0)
		ret = get_stream(from, to, err);
	if (ret == 0)
		ret = get_options(from, to, err);
	if (ret == 0)
		ret = get_holders(from, to, err);
	to->reuseaddr = from->reuseaddr;
	to->inode = from->inode;
	return ret < 0 ? ret : hf_conn_check(to, err);
}
