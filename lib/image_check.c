// SPDX-License-Identifier: GPL-2.0-or-later
/* What an image must be as a whole: its header, and its records against each other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/image_format.h"

static int bad(struct hf_error *err, const char *field, const char *why)
{
	return hf_error_set(err, -EBADMSG, "%s: %s", field, why);
}

static int check_writer(const struct hf_image *image, struct hf_error *err)
{
	if (!memchr(image->writer, '\0', sizeof(image->writer)))
		return bad(err, "writer", "is too long");
	for (const char *c = image->writer; *c; c++)
		if (*c < ' ' || *c > '~')
			return bad(err, "writer", "has a character that cannot be printed");
	return 0;
}

static int check_pending(const struct hf_pending *pending, struct hf_error *err)
{
	int ret = hf_check_family(pending->family, err);

	if (ret < 0)
		return ret;
	if (pending->state < HF_TCP_ESTABLISHED || pending->state >= HF_TCP_STATES ||
		pending->state == HF_TCP_LISTEN || pending->state == HF_TCP_CLOSE)
		return bad(err, "state", "is not that of a connection");
	return hf_check_connected(pending->family, &pending->local, &pending->peer, err);
}

static int check_address(const struct hf_address *address, struct hf_error *err)
{
	static const uint8_t none[16];
	int ret = hf_check_family(address->family, err);

	if (ret < 0)
		return ret;
	if (memcmp(address->ip, none, sizeof(none)) == 0)
		return bad(err, "ip", "is unspecified");
	if (hf_ip_is_loopback(address->family, address->ip))
		return bad(err, "ip", "is a loopback address");
	return 0;
}

static int check_inside(const struct hf_alias *alias, struct hf_error *err)
{
	struct hf_error why = HF_ERROR_INIT;
	int ret = hf_check_connected(alias->family, &alias->local, &alias->inside, &why);

	return ret < 0 ? bad(err, "inside", why.text) : 0;
}

static int check_alias(const struct hf_alias *alias, struct hf_error *err)
{
	static const uint8_t none[16];
	int ret = hf_check_family(alias->family, err);

	if (ret == 0 && alias->peer.port)
		ret = hf_check_connected(alias->family, &alias->local, &alias->peer, err);
	if (ret == 0 && alias->inside.port)
		ret = check_inside(alias, err);
	if (ret < 0 || alias->peer.port)
		return ret;
	if (alias->inside.port)
		return bad(err, "inside", "of a listener");
	if (ret == 0 && alias->local.port == 0)
		ret = bad(err, "local", "the port is 0");
	if (ret == 0 && memcmp(alias->local.ip, none, sizeof(none)) == 0)
		ret = bad(err, "local", "is unspecified");
	return ret;
}

int hf_image_check_header(const struct hf_image *image, uint32_t n_conns, struct hf_error *err)
{
	static const uint8_t no_id[HF_ID_SIZE];
	int ret = check_writer(image, err);

	if (ret < 0)
		return ret;
	if (memcmp(image->id, no_id, sizeof(no_id)) == 0)
		return bad(err, "id", "is not a 128-bit id");
	if (n_conns > HF_MAX_CONNS)
		return hf_error_set(err, -EBADMSG, "sockets: %u, but an image holds at most %u",
			n_conns, HF_MAX_CONNS);
	if (image->n_pending > HF_MAX_PENDING)
		return hf_error_set(err, -EBADMSG, "pending: %u, but an image holds at most %u",
			image->n_pending, HF_MAX_PENDING);
	for (uint32_t i = 0; i < image->n_pending; i++) {
		ret = check_pending(&image->pending[i], err);
		if (ret < 0)
			return hf_error_context(err, ret, "pending %u", i + 1);
	}
	if (image->n_addresses > HF_MAX_ADDRESSES)
		return hf_error_set(err, -EBADMSG, "addresses: %u, but an image holds at most %u",
			image->n_addresses, HF_MAX_ADDRESSES);
	for (uint32_t i = 0; i < image->n_addresses; i++) {
		ret = check_address(&image->addresses[i], err);
		if (ret < 0)
			return hf_error_context(err, ret, "address %u", i + 1);
	}
	if (image->n_aliases > HF_MAX_ALIASES)
		return hf_error_set(err, -EBADMSG, "aliases: %u, but an image holds at most %u",
			image->n_aliases, HF_MAX_ALIASES);
	for (uint32_t i = 0; i < image->n_aliases; i++) {
		ret = check_alias(&image->aliases[i], err);
		if (ret < 0)
			return hf_error_context(err, ret, "alias %u", i + 1);
	}
	return 0;
}

static int compare_numbers(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

/* Addresses as they are in packets: an IPv4-mapped one equals the IPv4 one. */
static int compare_endpoints(const struct hf_conn *a, const struct hf_endpoint *of_a,
	const struct hf_conn *b, const struct hf_endpoint *of_b)
{
	const uint8_t *v4_a = hf_endpoint_ipv4(a->family, of_a);
	const uint8_t *v4_b = hf_endpoint_ipv4(b->family, of_b);
	int order;

	if (!v4_a != !v4_b)
		return v4_a ? -1 : 1;
	order = v4_a ? memcmp(v4_a, v4_b, 4) : memcmp(of_a->ip, of_b->ip, sizeof(of_a->ip));
	if (!order)
		order = compare_numbers(of_a->port, of_b->port);
	return order ? order : compare_numbers(of_a->scope_id, of_b->scope_id);
}

static int compare_tuples(const void *left, const void *right)
{
	const struct hf_conn *a = *(const struct hf_conn *const *)left;
	const struct hf_conn *b = *(const struct hf_conn *const *)right;
	int order = compare_endpoints(a, &a->local, b, &b->local);

	return order ? order : compare_endpoints(a, &a->peer, b, &b->peer);
}

static int compare_holders(const void *left, const void *right)
{
	const struct hf_holder *a = *(const struct hf_holder *const *)left;
	const struct hf_holder *b = *(const struct hf_holder *const *)right;
	int order = memcmp(a->pid, b->pid, sizeof(a->pid));

	return order ? order : compare_numbers(a->fd, b->fd);
}

static bool is_connected(const struct hf_conn *conn)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);

	return row && row->connected;
}

/* Listeners may share an address (SO_REUSEPORT), and closed sockets have no peer. */
static int check_tuples(const struct hf_image *image, const void **sorted, struct hf_error *err)
{
	size_t n = 0;

	for (uint32_t i = 0; i < image->n_conns; i++)
		if (is_connected(&image->conns[i]))
			sorted[n++] = &image->conns[i];
	qsort(sorted, n, sizeof(*sorted), compare_tuples);
	for (size_t i = 1; i < n; i++) {
		char text[HF_CONN_TEXT];

		if (compare_tuples(&sorted[i - 1], &sorted[i]) == 0)
			return hf_error_set(err, -EBADMSG, "sockets: %s is there twice",
				hf_conn_format(text, sorted[i]));
	}
	return 0;
}

static int check_all_holders(
	const struct hf_image *image, const void **sorted, struct hf_error *err)
{
	size_t n = 0;

	for (uint32_t i = 0; i < image->n_conns; i++)
		for (uint32_t k = 0; k < image->conns[i].n_holders; k++)
			sorted[n++] = &image->conns[i].holders[k];
	qsort(sorted, n, sizeof(*sorted), compare_holders);
	for (size_t i = 1; i < n; i++)
		if (compare_holders(&sorted[i - 1], &sorted[i]) == 0)
			return bad(err, "holders", "a file descriptor is there twice");
	return 0;
}

int hf_image_check_unique(const struct hf_image *image, struct hf_error *err)
{
	size_t room = 1;
	hf_autofree const void **sorted = NULL;
	int ret;

	for (uint32_t i = 0; i < image->n_conns; i++)
		room += 1 + (size_t)image->conns[i].n_holders;
	sorted = calloc(room, sizeof(*sorted));
	if (!sorted)
		return hf_error_sys(err, -ENOMEM, "cannot check the sockets");
	ret = check_tuples(image, sorted, err);
	return ret < 0 ? ret : check_all_holders(image, sorted, err);
}

uint32_t hf_image_count_connected(const struct hf_image *image)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < image->n_conns; i++)
		n += is_connected(&image->conns[i]);
	return n;
}
