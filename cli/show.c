// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast show: what an image holds, as a table or as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/checkpoint.h"
#include "cli/output.h"
#include "cli/show.h"
#include "cli/verbs.h"
#include "lib/tcp_state.h"

static bool is_connected(const struct hf_conn *conn)
{
	return hf_tcp_row(conn->state, conn->closed)->connected;
}

static void print_sockopts(const struct hf_conn *conn)
{
	char text[HF_OPTION_TEXT];

	for (uint32_t i = 0; i < conn->n_options; i++)
		printf("%s%s", i ? " " : "    ", hf_option_format(text, &conn->options[i]));
	if (conn->n_options)
		putchar('\n');
}

static void print_connection(const struct hf_conn *conn)
{
	char local[HF_ENDPOINT_TEXT], peer[HF_ENDPOINT_TEXT];

	printf("%-12s %-28s %-28s %9u %9u %9u %5u ", hf_tcp_state_name(conn->state),
		hf_endpoint_format(local, conn->family, &conn->local),
		hf_endpoint_format(peer, conn->family, &conn->peer), conn->recv.len, conn->send.len,
		conn->unsent, conn->mss_clamp);
	if (conn->has_wscale)
		printf(" wscale:%u,%u", conn->snd_wscale, conn->rcv_wscale);
	printf("%s%s%s%s\n", conn->has_sack ? " sack" : "",
		conn->usec_timestamps  ? " ts(us)"
		: conn->has_timestamps ? " ts"
				       : "",
		conn->fin_unsent ? " fin-unsent" : "", conn->urgent.present ? " urgent" : "");
	print_sockopts(conn);
}

static void print_connections(const struct hf_image *image)
{
	if (hf_image_count_connected(image))
		printf("%-12s %-28s %-28s %9s %9s %9s %5s  %s\n", "STATE", "LOCAL", "PEER",
			"RECV-Q", "SEND-Q", "UNSENT", "MSS", "OPTIONS");
	for (uint32_t i = 0; i < image->n_conns; i++)
		if (is_connected(&image->conns[i]))
			print_connection(&image->conns[i]);
}

/* Listeners and closed sockets: they have no peer, and few have a queue. */
static void print_others(const struct hf_image *image, enum hf_tcp_state state)
{
	for (uint32_t i = 0; i < image->n_conns; i++) {
		const struct hf_conn *conn = &image->conns[i];
		char text[HF_STATE_TEXT], local[HF_ENDPOINT_TEXT];

		if (conn->state != state)
			continue;
		printf("%-20s %s%s", hf_show_state(text, conn),
			hf_endpoint_format(local, conn->family, &conn->local),
			conn->v6only ? " v6only" : "");
		if (conn->recv.len)
			printf(" recv-q:%u", conn->recv.len);
		printf("%s\n", conn->urgent.present ? " urgent" : "");
		print_sockopts(conn);
	}
}

static bool was_closed(const struct hf_pending *pending)
{
	return pending->state == HF_TCP_FIN_WAIT1 || pending->state == HF_TCP_CLOSING ||
	       pending->state == HF_TCP_LAST_ACK;
}

static void print_pending(const struct hf_image *image)
{
	char text[HF_CONN_TEXT];

	for (uint32_t i = 0; i < image->n_pending; i++)
		printf("%s, not kept: %s (%s)\n",
			was_closed(&image->pending[i]) ? "closed and still sending"
						       : "not accepted",
			hf_pending_format(text, &image->pending[i]),
			hf_tcp_state_name(image->pending[i].state));
}

static void print_table(const struct hf_image *image)
{
	char id[HF_ID_TEXT];
	uint32_t connected = hf_image_count_connected(image);

	printf("checkpoint %s, written by %s: %u connections, %u other sockets, %" PRIu64
	       " bytes in queues\n",
		hf_id_format(id, image->id), image->writer, connected, image->n_conns - connected,
		image->queue_bytes);
	print_others(image, HF_TCP_LISTEN);
	print_others(image, HF_TCP_CLOSE);
	print_connections(image);
	print_pending(image);
}

int hf_verb_show(int argc, char **argv)
{
	bool json = argc >= 2 && strcmp(argv[1], "--json") == 0;
	const char *path = argc == 2 + json ? argv[1 + json] : NULL;
	struct hf_error err = HF_ERROR_INIT;
	struct hf_image image = {0};
	int ret;

	if (!path || path[0] == '-') {
		fprintf(stderr, "usage: holdfast show [--json] CHECKPOINT\n");
		return HF_EXIT_USAGE;
	}
	if (hf_checkpoint_read(path, &image, &err) < 0) {
		fprintf(stderr, "holdfast: %s\n", err.text);
		return HF_EXIT_FAILURE;
	}
	ret = HF_EXIT_OK;
	if (json)
		ret = hf_show_json(&image) < 0 ? HF_EXIT_FAILURE : HF_EXIT_OK;
	else
		print_table(&image);
	hf_image_clear(&image);
	return hf_output_flush() < 0 ? HF_EXIT_FAILURE : ret;
}
