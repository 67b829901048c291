// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/drain.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/clock.h"
#include "sys/sock_diag.h"

#define POLL_US 1000

/* Which local ports are the container's; NULL in `used` where all are. */
struct ports {
	uint8_t *used; /* one bit a port */
};

static int set_ports(struct ports *ports, const struct hf_image *image, struct hf_error *err)
{
	ports->used = NULL;
	if (!image->netns_shared)
		return 0;
	ports->used = calloc(1, (UINT16_MAX + 1) / CHAR_BIT);
	if (!ports->used)
		return hf_error_sys(err, -ENOMEM, "cannot look for orphans");
	for (uint32_t i = 0; i < image->n_conns; i++) {
		uint16_t port = image->conns[i].local.port;

		ports->used[port / CHAR_BIT] |= (uint8_t)(1u << port % CHAR_BIT);
	}
	return 0;
}

bool hf_is_orphan(const struct hf_diag_socket *sock)
{
	return sock->inode == 0 && sock->unacked > 0 &&
	       (sock->state == HF_TCP_FIN_WAIT1 || sock->state == HF_TCP_CLOSING ||
		       sock->state == HF_TCP_LAST_ACK);
}

static bool is_ours(const struct hf_diag_socket *sock, const struct ports *ports)
{
	uint16_t port = sock->local.port;

	return !ports->used || (ports->used[port / CHAR_BIT] & 1u << port % CHAR_BIT);
}

/* Without the FIN, which is queued in all states of an orphan. */
static uint32_t bytes_of(const struct hf_diag_socket *sock)
{
	return sock->unacked - 1;
}

static void name_one(struct hf_orphans *orphans, const struct hf_diag_socket *sock)
{
	struct hf_conn conn = {.family = sock->family,
		.state = sock->state,
		.local = sock->local,
		.peer = sock->peer};
	char text[HF_CONN_TEXT];

	snprintf(orphans->named[orphans->n], sizeof(orphans->named[0]), "%s (%u bytes)",
		hf_conn_format(text, &conn), bytes_of(sock));
}

static int count(
	int netns, const struct ports *ports, struct hf_orphans *orphans, struct hf_error *err)
{
	struct hf_diag diag = {0};
	int ret = hf_sock_diag(netns, &diag, err);

	orphans->n = 0;
	orphans->bytes = 0;
	for (size_t i = 0; ret == 0 && i < diag.n && diag.sockets[i].inode == 0; i++) {
		if (!hf_is_orphan(&diag.sockets[i]) || !is_ours(&diag.sockets[i], ports))
			continue;
		if (orphans->n < HF_ORPHANS_NAMED)
			name_one(orphans, &diag.sockets[i]);
		orphans->n++;
		orphans->bytes += bytes_of(&diag.sockets[i]);
	}
	hf_diag_clear(&diag);
	return ret;
}

int hf_drain_orphans(int netns, const struct hf_image *image, unsigned int timeout_ms,
	struct hf_orphans *orphans, struct hf_error *err)
{
	uint64_t start = hf_now_us();
	struct ports ports;
	int ret = set_ports(&ports, image, err);

	memset(orphans, 0, sizeof(*orphans));
	while (ret == 0) {
		ret = count(netns, &ports, orphans, err);
		if (ret < 0 || orphans->n == 0 || hf_now_us() - start >= timeout_ms * 1000ull)
			break;
		orphans->waited_us = hf_now_us() - start + 1;
		usleep(POLL_US);
	}
	free(ports.used);
	return ret;
}
