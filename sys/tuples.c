// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/tuples.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/tcp_state.h"
#include "sys/netns_list.h"
#include "sys/processes.h"

/* Address family, addresses and ports, without holes: compared as bytes. */
struct tuple {
	uint32_t family;
	uint32_t ports;
	uint8_t local[16];
	uint8_t peer[16];
};

static struct tuple make(
	enum hf_family family, const struct hf_endpoint *local, const struct hf_endpoint *peer)
{
	struct tuple tuple = {.family = family, .ports = (uint32_t)local->port << 16 | peer->port};

	memcpy(tuple.local, local->ip, sizeof(tuple.local));
	memcpy(tuple.peer, peer->ip, sizeof(tuple.peer));
	return tuple;
}

static int compare(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct tuple));
}

/* The sorted tuples of all connections; the caller frees. */
static struct tuple *sorted_tuples(const struct hf_image *image, size_t *n)
{
	struct tuple *tuples = malloc(((size_t)image->n_conns + 1) * sizeof(*tuples));

	*n = 0;
	if (!tuples)
		return NULL;
	for (uint32_t i = 0; i < image->n_conns; i++) {
		const struct hf_conn *conn = &image->conns[i];

		if (hf_tcp_row(conn->state, conn->closed)->connected)
			tuples[(*n)++] = make(conn->family, &conn->local, &conn->peer);
	}
	if (*n)
		qsort(tuples, *n, sizeof(*tuples), compare);
	return tuples;
}

/* Calls each() for every socket with a tuple of the image; what it returns is summed up. */
static int for_each(int netns, const struct hf_image *image,
	int (*each)(int netns, const struct hf_diag_socket *sock), struct hf_error *err)
{
	struct hf_diag diag = {0};
	size_t n;
	hf_autofree struct tuple *tuples = sorted_tuples(image, &n);
	int sum = 0;
	int ret = tuples ? hf_sock_diag(netns, &diag, err)
			 : hf_error_sys(err, -ENOMEM, "cannot look for the connections");

	for (size_t i = 0; ret == 0 && n > 0 && i < diag.n; i++) {
		const struct hf_diag_socket *sock = &diag.sockets[i];
		const struct tuple tuple = make(sock->family, &sock->local, &sock->peer);

		if (bsearch(&tuple, tuples, n, sizeof(tuple), compare))
			sum += each(netns, sock);
	}
	hf_diag_clear(&diag);
	return ret < 0 ? ret : sum;
}

static int is_live(int netns, const struct hf_diag_socket *sock)
{
	(void)netns;
	return sock->inode != 0;
}

/* Should it fail, the connection will say so. */
static int clear(int netns, const struct hf_diag_socket *sock)
{
	if (sock->inode == 0)
		hf_sock_destroy(netns, sock);
	return 0;
}

int hf_tuples_live(int netns, const struct hf_image *image, struct hf_error *err)
{
	return for_each(netns, image, is_live, err);
}

int hf_tuples_live_elsewhere(uint64_t inode, const struct hf_image *image, struct hf_error *err)
{
	struct hf_processes processes = {0};
	struct hf_netns_list list = {0};
	int ret = hf_processes_read(&processes, err), sum = 0;

	if (ret == 0)
		hf_netns_list(&processes, &list, NULL);
	for (size_t i = 0; i < list.n; i++) {
		int n = list.all[i].inode == inode ? 0
						   : hf_tuples_live(list.all[i].fd, image, NULL);

		sum += n > 0 ? n : 0;
	}
	hf_netns_list_clear(&list);
	hf_processes_clear(&processes);
	return ret < 0 ? ret : sum;
}

int hf_tuples_clear(int netns, const struct hf_image *image, struct hf_error *err)
{
	return for_each(netns, image, clear, err);
}
