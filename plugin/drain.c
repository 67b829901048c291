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

/* What is left of a listing are the container's orphans. */
static int list(int netns, const struct ports *ports, struct hf_diag *diag, struct hf_error *err)
{
	size_t n = 0;
	int ret;

	hf_diag_clear(diag);
	ret = hf_sock_diag(netns, diag, err);
	for (size_t i = 0; i < diag->n; i++)
		if (hf_is_orphan(&diag->sockets[i]) && is_ours(&diag->sockets[i], ports))
			diag->sockets[n++] = diag->sockets[i];
	diag->n = n;
	return ret;
}

/* An orphan whose peer is in the container too: that does not read now. */
static bool is_inside(const struct hf_diag_socket *orphan, const struct hf_image *image)
{
	for (uint32_t i = 0; i < image->n_conns; i++) {
		const struct hf_conn *conn = &image->conns[i];

		if (conn->local.port == orphan->peer.port &&
			conn->peer.port == orphan->local.port &&
			memcmp(conn->local.ip, orphan->peer.ip, sizeof(orphan->peer.ip)) == 0)
			return true;
	}
	return false;
}

static bool may_drain(const struct hf_diag *diag, const struct hf_image *image)
{
	for (size_t i = 0; i < diag->n; i++)
		if (!is_inside(&diag->sockets[i], image))
			return true;
	return false;
}

/* Their peers get an RST after the restore, as those of connections that nobody accepted. */
static int add_pending(struct hf_image *image, const struct hf_diag *diag, struct hf_error *err)
{
	struct hf_pending *grown;

	if (diag->n == 0 || diag->n > HF_MAX_PENDING - image->n_pending)
		return 0;
	grown = realloc(image->pending, (image->n_pending + diag->n) * sizeof(*grown));
	if (!grown)
		return hf_error_sys(err, -ENOMEM, "cannot note the orphans");
	image->pending = grown;
	for (size_t i = 0; i < diag->n; i++) {
		const struct hf_diag_socket *sock = &diag->sockets[i];

		grown[image->n_pending++] =
			(struct hf_pending){sock->family, sock->state, sock->local, sock->peer};
	}
	return 0;
}

static void describe(struct hf_orphans *orphans, const struct hf_diag *diag)
{
	orphans->n = (uint32_t)diag->n;
	for (size_t i = 0; i < diag->n; i++) {
		const struct hf_diag_socket *sock = &diag->sockets[i];
		const struct hf_pending pending = {
			sock->family, sock->state, sock->local, sock->peer};
		char text[HF_CONN_TEXT];

		orphans->bytes += bytes_of(sock);
		if (i < HF_ORPHANS_NAMED)
			snprintf(orphans->named[i], sizeof(orphans->named[i]), "%s (%u bytes)",
				hf_pending_format(text, &pending), bytes_of(sock));
	}
}

int hf_drain_orphans(int netns, struct hf_image *image, unsigned int timeout_ms,
	struct hf_orphans *orphans, struct hf_error *err)
{
	uint64_t start = hf_now_us();
	struct hf_diag diag = {0};
	struct ports ports;
	int ret = set_ports(&ports, image, err);

	memset(orphans, 0, sizeof(*orphans));
	while (ret == 0) {
		ret = list(netns, &ports, &diag, err);
		if (ret < 0 || !may_drain(&diag, image) ||
			hf_now_us() - start >= timeout_ms * 1000ull)
			break;
		usleep(POLL_US);
		orphans->waited_us = hf_now_us() - start;
	}
	if (ret == 0)
		ret = add_pending(image, &diag, err);
	describe(orphans, &diag);
	hf_diag_clear(&diag);
	free(ports.used);
	return ret;
}
