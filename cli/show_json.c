// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast show --json */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "cli/json.h"
#include "cli/show.h"
#include "lib/tcp_state.h"

static void put_queue(yajl_gen gen, const char *name, const struct hf_queue *queue)
{
	hf_json_text(gen, name);
	yajl_gen_map_open(gen);
	hf_json_number(gen, "seq", queue->seq);
	hf_json_number(gen, "length", queue->len);
	yajl_gen_map_close(gen);
}

static void put_holders(yajl_gen gen, const struct hf_conn *conn)
{
	hf_json_text(gen, "holders");
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < conn->n_holders; i++) {
		yajl_gen_map_open(gen);
		hf_json_text(gen, "pid");
		yajl_gen_array_open(gen);
		for (uint32_t level = 0; level < conn->holders[i].levels; level++)
			yajl_gen_integer(gen, conn->holders[i].pid[level]);
		yajl_gen_array_close(gen);
		hf_json_number(gen, "fd", conn->holders[i].fd);
		yajl_gen_map_close(gen);
	}
	yajl_gen_array_close(gen);
}

static void put_window(yajl_gen gen, const struct hf_window *window)
{
	hf_json_text(gen, "window");
	yajl_gen_map_open(gen);
	hf_json_number(gen, "snd_wl1", window->snd_wl1);
	hf_json_number(gen, "snd_wnd", window->snd_wnd);
	hf_json_number(gen, "max_window", window->max_window);
	hf_json_number(gen, "rcv_wnd", window->rcv_wnd);
	hf_json_number(gen, "rcv_wup", window->rcv_wup);
	yajl_gen_map_close(gen);
}

static void put_options(yajl_gen gen, const struct hf_conn *conn)
{
	char text[HF_OPTION_TEXT];

	hf_json_text(gen, "options");
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < conn->n_options; i++)
		hf_json_text(gen, hf_option_format(text, &conn->options[i]));
	yajl_gen_array_close(gen);
}

static void put_endpoint(
	yajl_gen gen, const char *name, enum hf_family family, const struct hf_endpoint *endpoint)
{
	char text[HF_ENDPOINT_TEXT];

	hf_json_string(gen, name, hf_endpoint_format(text, family, endpoint));
}

static void put_urgent(yajl_gen gen, const struct hf_conn *conn)
{
	if (!conn->urgent.present)
		return;
	hf_json_text(gen, "urgent");
	yajl_gen_map_open(gen);
	hf_json_bool(gen, "taken", conn->urgent.taken);
	hf_json_number(gen, "at", conn->urgent.at);
	yajl_gen_map_close(gen);
}

static void put_send(yajl_gen gen, const struct hf_conn *conn)
{
	put_queue(gen, "send", &conn->send);
	hf_json_number(gen, "unsent", conn->unsent);
	hf_json_bool(gen, "fin_unsent", conn->fin_unsent);
}

static void put_stream(yajl_gen gen, const struct hf_conn *conn)
{
	hf_json_number(gen, "mss_clamp", conn->mss_clamp);
	hf_json_bool(gen, "wscale", conn->has_wscale);
	hf_json_number(gen, "snd_wscale", conn->snd_wscale);
	hf_json_number(gen, "rcv_wscale", conn->rcv_wscale);
	hf_json_bool(gen, "sack", conn->has_sack);
	hf_json_bool(gen, "timestamps", conn->has_timestamps);
	hf_json_bool(gen, "usec_timestamps", conn->usec_timestamps);
	hf_json_number(gen, "timestamp", conn->timestamp);
	put_window(gen, &conn->window);
}

static void put_conn(yajl_gen gen, const struct hf_conn *conn)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);
	char text[HF_STATE_TEXT];

	yajl_gen_map_open(gen);
	hf_json_string(gen, "state", hf_show_state(text, conn));
	put_endpoint(gen, "local", conn->family, &conn->local);
	if (row->connected)
		put_endpoint(gen, "peer", conn->family, &conn->peer);
	if (conn->state == HF_TCP_LISTEN)
		hf_json_bool(gen, "v6only", conn->v6only);
	hf_json_number(gen, "shutdown", conn->shutdown);
	if (row->received)
		put_queue(gen, "receive", &conn->recv);
	put_urgent(gen, conn);
	if (row->connected)
		put_send(gen, conn);
	if (row->stream)
		put_stream(gen, conn);
	hf_json_bool(gen, "reuseaddr", conn->reuseaddr);
	put_options(gen, conn);
	put_holders(gen, conn);
	yajl_gen_map_close(gen);
}

enum group { CONNECTIONS, LISTENERS, CLOSED };

static enum group group_of(const struct hf_conn *conn)
{
	if (hf_tcp_row(conn->state, conn->closed)->connected)
		return CONNECTIONS;
	return conn->state == HF_TCP_LISTEN ? LISTENERS : CLOSED;
}

static void put_group(
	yajl_gen gen, const char *name, const struct hf_image *image, enum group group)
{
	hf_json_text(gen, name);
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < image->n_conns; i++)
		if (group_of(&image->conns[i]) == group)
			put_conn(gen, &image->conns[i]);
	yajl_gen_array_close(gen);
}

static void put_addresses(yajl_gen gen, const struct hf_image *image)
{
	hf_json_text(gen, "addresses");
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < image->n_addresses; i++) {
		const struct hf_address *address = &image->addresses[i];
		char text[INET6_ADDRSTRLEN] = "?";

		inet_ntop(address->family == HF_FAMILY_IPV4 ? AF_INET : AF_INET6, address->ip, text,
			sizeof(text));
		hf_json_text(gen, text);
	}
	yajl_gen_array_close(gen);
}

static void put_pending(yajl_gen gen, const struct hf_image *image)
{
	hf_json_text(gen, "pending");
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < image->n_pending; i++) {
		const struct hf_pending *pending = &image->pending[i];

		yajl_gen_map_open(gen);
		hf_json_string(gen, "state", hf_tcp_state_name(pending->state));
		put_endpoint(gen, "local", pending->family, &pending->local);
		put_endpoint(gen, "peer", pending->family, &pending->peer);
		yajl_gen_map_close(gen);
	}
	yajl_gen_array_close(gen);
}

static void put_image(yajl_gen gen, const struct hf_image *image)
{
	char id[HF_ID_TEXT];

	yajl_gen_map_open(gen);
	hf_json_number(gen, "version", image->version);
	hf_json_string(gen, "id", hf_id_format(id, image->id));
	hf_json_number(gen, "created", image->created);
	hf_json_string(gen, "writer", image->writer);
	hf_json_bool(gen, "netns_shared", image->netns_shared);
	hf_json_bool(gen, "peers_paused", image->peers_paused);
	hf_json_number(gen, "queue_bytes", image->queue_bytes);
	put_group(gen, "listeners", image, LISTENERS);
	put_group(gen, "closed", image, CLOSED);
	put_group(gen, "connections", image, CONNECTIONS);
	put_addresses(gen, image);
	put_pending(gen, image);
	yajl_gen_map_close(gen);
}

int hf_show_json(const struct hf_image *image)
{
	yajl_gen gen = hf_json_begin();

	if (!gen)
		return -1;
	put_image(gen, image);
	return hf_json_end(gen);
}
