// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast show: what an image holds, as a table or as JSON. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <yajl/yajl_gen.h>

#include "cli/verbs.h"
#include "lib/cleanup.h"
#include "sys/image_file.h"

static void print_table(const struct hf_image *image)
{
	char id[HF_ID_TEXT], local[HF_ENDPOINT_TEXT], peer[HF_ENDPOINT_TEXT];

	printf("checkpoint %s, written by %s: %u connections, %" PRIu64 " bytes in queues\n",
		hf_id_format(id, image->id), image->writer, image->n_conns, image->queue_bytes);
	for (uint32_t i = 0; i < image->n_listeners; i++)
		printf("listening  %s\n", hf_endpoint_format(local, image->listeners[i].family,
						  &image->listeners[i].local));
	if (image->n_conns)
		printf("%-12s %-28s %-28s %9s %9s %9s %5s  %s\n", "STATE", "LOCAL", "PEER",
			"RECV-Q", "SEND-Q", "UNSENT", "MSS", "OPTIONS");
	for (uint32_t i = 0; i < image->n_conns; i++) {
		const struct hf_conn *conn = &image->conns[i];

		printf("%-12s %-28s %-28s %9u %9u %9u %5u ", hf_tcp_state_name(conn->state),
			hf_endpoint_format(local, conn->family, &conn->local),
			hf_endpoint_format(peer, conn->family, &conn->peer), conn->recv.len,
			conn->send.len, conn->unsent, conn->mss_clamp);
		if (conn->has_wscale)
			printf(" wscale:%u,%u", conn->snd_wscale, conn->rcv_wscale);
		printf("%s%s\n", conn->has_sack ? " sack" : "",
			conn->usec_timestamps  ? " ts(us)"
			: conn->has_timestamps ? " ts"
					       : "");
	}
}

static void key(yajl_gen gen, const char *name)
{
	yajl_gen_string(gen, (const unsigned char *)name, strlen(name));
}

static void put_string(yajl_gen gen, const char *name, const char *value)
{
	key(gen, name);
	yajl_gen_string(gen, (const unsigned char *)value, strlen(value));
}

static void put_number(yajl_gen gen, const char *name, uint64_t value)
{
	key(gen, name);
	yajl_gen_integer(gen, (long long)value);
}

static void put_bool(yajl_gen gen, const char *name, bool value)
{
	key(gen, name);
	yajl_gen_bool(gen, value);
}

static void put_queue(yajl_gen gen, const char *name, const struct hf_queue *queue)
{
	key(gen, name);
	yajl_gen_map_open(gen);
	put_number(gen, "seq", queue->seq);
	put_number(gen, "length", queue->len);
	yajl_gen_map_close(gen);
}

static void put_holders(yajl_gen gen, const struct hf_conn *conn)
{
	key(gen, "holders");
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < conn->n_holders; i++) {
		yajl_gen_map_open(gen);
		key(gen, "pid");
		yajl_gen_array_open(gen);
		for (uint32_t level = 0; level < conn->holders[i].levels; level++)
			yajl_gen_integer(gen, conn->holders[i].pid[level]);
		yajl_gen_array_close(gen);
		put_number(gen, "fd", conn->holders[i].fd);
		yajl_gen_map_close(gen);
	}
	yajl_gen_array_close(gen);
}

static void put_window(yajl_gen gen, const struct hf_window *window)
{
	key(gen, "window");
	yajl_gen_map_open(gen);
	put_number(gen, "snd_wl1", window->snd_wl1);
	put_number(gen, "snd_wnd", window->snd_wnd);
	put_number(gen, "max_window", window->max_window);
	put_number(gen, "rcv_wnd", window->rcv_wnd);
	put_number(gen, "rcv_wup", window->rcv_wup);
	yajl_gen_map_close(gen);
}

static void put_conn(yajl_gen gen, const struct hf_conn *conn)
{
	char text[HF_ENDPOINT_TEXT];

	yajl_gen_map_open(gen);
	put_string(gen, "state", hf_tcp_state_name(conn->state));
	put_string(gen, "local", hf_endpoint_format(text, conn->family, &conn->local));
	put_string(gen, "peer", hf_endpoint_format(text, conn->family, &conn->peer));
	put_queue(gen, "receive", &conn->recv);
	put_queue(gen, "send", &conn->send);
	put_number(gen, "unsent", conn->unsent);
	put_number(gen, "mss_clamp", conn->mss_clamp);
	put_bool(gen, "wscale", conn->has_wscale);
	put_number(gen, "snd_wscale", conn->snd_wscale);
	put_number(gen, "rcv_wscale", conn->rcv_wscale);
	put_bool(gen, "sack", conn->has_sack);
	put_bool(gen, "timestamps", conn->has_timestamps);
	put_bool(gen, "usec_timestamps", conn->usec_timestamps);
	put_number(gen, "timestamp", conn->timestamp);
	put_window(gen, &conn->window);
	put_bool(gen, "reuseaddr", conn->reuseaddr);
	put_holders(gen, conn);
	yajl_gen_map_close(gen);
}

static int print_json(const struct hf_image *image)
{
	char text[HF_ENDPOINT_TEXT], id[HF_ID_TEXT];
	yajl_gen gen = yajl_gen_alloc(NULL);
	const unsigned char *buf;
	size_t len;
	int ret = HF_EXIT_FAILURE;

	if (!gen)
		return ret;
	yajl_gen_config(gen, yajl_gen_beautify, 1);
	yajl_gen_map_open(gen);
	put_number(gen, "version", image->version);
	put_string(gen, "id", hf_id_format(id, image->id));
	put_number(gen, "created", image->created);
	put_string(gen, "writer", image->writer);
	put_bool(gen, "netns_shared", image->netns_shared);
	put_number(gen, "queue_bytes", image->queue_bytes);
	key(gen, "listeners");
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < image->n_listeners; i++)
		key(gen, hf_endpoint_format(
				 text, image->listeners[i].family, &image->listeners[i].local));
	yajl_gen_array_close(gen);
	key(gen, "connections");
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < image->n_conns; i++)
		put_conn(gen, &image->conns[i]);
	yajl_gen_array_close(gen);
	yajl_gen_map_close(gen);
	if (yajl_gen_get_buf(gen, &buf, &len) == yajl_gen_status_ok &&
		fwrite(buf, 1, len, stdout) == len)
		ret = HF_EXIT_OK;
	yajl_gen_free(gen);
	return ret;
}

int hf_verb_show(int argc, char **argv)
{
	bool json = argc >= 2 && strcmp(argv[1], "--json") == 0;
	const char *path = argc == 2 + json ? argv[1 + json] : NULL;
	struct hf_error err = HF_ERROR_INIT;
	struct hf_image image = {0};
	hf_autoclose int dir = -1;
	hf_autoclose int file = -1;
	int ret;

	if (!path || path[0] == '-') {
		fprintf(stderr, "usage: holdfast show [--json] DIR\n");
		return HF_EXIT_USAGE;
	}
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		fprintf(stderr, "holdfast: %s: %s\n", path, strerror(errno));
		return HF_EXIT_FAILURE;
	}
	file = hf_image_file_open(dir, &err);
	if (file == -ENOENT)
		hf_error_set(&err, -ENOENT, "no %s: this checkpoint was made without holdfast",
			HF_IMAGE_NAME);
	if (file < 0 || hf_image_file_read(file, &image, &err) < 0) {
		fprintf(stderr, "holdfast: %s: %s\n", path, err.text);
		return HF_EXIT_FAILURE;
	}
	ret = HF_EXIT_OK;
	if (json)
		ret = print_json(&image);
	else
		print_table(&image);
	hf_image_clear(&image);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "holdfast: cannot write: %s\n", strerror(errno));
		ret = HF_EXIT_FAILURE;
	}
	return ret;
}
