// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/sock_options.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "sys/netns.h"

/* The longest extension header: its length field counts 8 bytes more, up to 255 times. */
#define EXTHDR_SIZE 2048

/* ENOPROTOOPT from the option's level, EOPNOTSUPP where it exists but not for TCP sockets. */
static bool is_unknown(int ret)
{
	return ret == -ENOPROTOOPT || ret == -EOPNOTSUPP;
}

/* With room for the longest, so that one that is too long for the image is not cut silently. */
static int get_header(int sock, const struct hf_sockopt *row, struct hf_option *option)
{
	uint8_t value[EXTHDR_SIZE];
	socklen_t len = sizeof(value);

	if (getsockopt(sock, row->level, row->number, value, &len) < 0)
		return -errno;
	if (len > sizeof(option->value))
		return -EOVERFLOW;
	memcpy(option->value, value, len);
	option->len = (uint16_t)len;
	return 0;
}

/* Without room to spare: a later kernel may have more to say than the image takes. */
static int get_value(int sock, const struct hf_sockopt *row, struct hf_option *option)
{
	socklen_t len = hf_sockopt_max_len(row);

	if (getsockopt(sock, row->level, row->number, option->value, &len) < 0)
		return -errno;
	option->len = (uint16_t)len;
	return 0;
}

/*
 * While TCP_MAXSEG is not set, a socket that was disconnected says the segment size of its last
 * connection in its place (kernel mss_cache). TCP_INFO always says the latter, and 0 of a listener.
 */
static bool is_cached_mss(int sock, const struct hf_sockopt *row, const struct hf_option *option)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	return row->level == IPPROTO_TCP && row->number == TCP_MAXSEG &&
	       getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       hf_sockopt_integer(row, option) == info.tcpi_snd_mss;
}

/*
 * Returns 1 if the option has a value that is not its base, 0 if not, or a negative errno:
 * -EOVERFLOW if the value is too long for the image.
 */
static int read_one(int sock, const struct hf_sockopt *row, enum hf_family family,
	struct hf_sockopt_set *unknown, struct hf_option *option)
{
	int ret = row->type == HF_SOCKOPT_EXTHDR ? get_header(sock, row, option)
						 : get_value(sock, row, option);

	if (is_unknown(ret)) {
		hf_sockopt_set_add(unknown, hf_sockopt_index(row));
		return 0;
	}
	if (ret < 0)
		return ret;
	option->level = row->level;
	option->name = row->number;
	hf_sockopt_normalize(row, option);
	if (option->len == 0)
		return 0;
	if (!hf_sockopt_has_len(row, option->len))
		return -EPROTO;
	return !hf_sockopt_is_base(row, family, option) && !is_cached_mss(sock, row, option);
}

static int keep(struct hf_conn *conn, const struct hf_option *options, unsigned int n)
{
	if (n == 0)
		return 0;
	conn->options = malloc(n * sizeof(*options));
	if (!conn->options)
		return -ENOMEM;
	memcpy(conn->options, options, n * sizeof(*options));
	conn->n_options = n;
	return 0;
}

int hf_sock_options_read(
	int sock, struct hf_sock_options_reader *reader, struct hf_conn *conn, struct hf_error *err)
{
	unsigned int kind = hf_sockopt_kind(conn);
	struct hf_option options[HF_SOCKOPT_MAX];
	unsigned int n = 0;
	int ret = 0;

	for (unsigned int i = 0; i < hf_n_sockopts; i++) {
		const struct hf_sockopt *row = &hf_sockopts[i];

		if (!hf_sockopt_applies(row, kind, conn->family) ||
			hf_sockopt_set_has(&reader->unknown, i))
			continue;
		if (row->flags & HF_SOCKOPT_FOLLOWS && ret == 0)
			continue; /* the row before has none */
		ret = read_one(sock, row, conn->family, &reader->unknown, &options[n]);
		if (ret == -EOVERFLOW)
			return hf_error_set(err, -EOPNOTSUPP,
				"option %s is longer than the %d bytes that holdfast can save",
				row->name, HF_OPTION_SIZE);
		if (ret < 0)
			return hf_error_sys(err, ret, "cannot read option %s", row->name);
		n += (unsigned int)ret;
	}
	ret = keep(conn, options, n);
	return ret < 0 ? hf_error_sys(err, ret, "cannot read the options") : 0;
}

/* What a new socket of this family has other than the base; a family that is not here has none. */
static int look(int netns, enum hf_family family, struct hf_sockopt_set *differs)
{
	hf_autoclose int sock = hf_netns_socket(
		netns, family == HF_FAMILY_IPV4 ? AF_INET : AF_INET6, SOCK_STREAM, 0, NULL);
	struct hf_sockopt_set unknown = {0};

	if (sock < 0)
		return sock == -EAFNOSUPPORT ? 0 : sock;
	for (unsigned int i = 0; i < hf_n_sockopts; i++) {
		const struct hf_sockopt *row = &hf_sockopts[i];
		struct hf_option option;
		int ret;

		if (!hf_sockopt_applies(row, HF_SOCKOPT_ON_CLOSED, family))
			continue;
		ret = read_one(sock, row, family, &unknown, &option);
		if (ret < 0)
			return ret;
		if (ret > 0)
			hf_sockopt_set_add(differs, i);
	}
	return 0;
}

int hf_sock_options_writer_init(
	struct hf_sock_options_writer *writer, int netns, struct hf_error *err)
{
	int ret;

	memset(writer, 0, sizeof(*writer));
	ret = look(netns, HF_FAMILY_IPV4, &writer->differs_ipv4);
	if (ret == 0)
		ret = look(netns, HF_FAMILY_IPV6, &writer->differs_ipv6);
	return ret < 0 ? hf_error_sys(err, ret, "cannot look at the options of a new socket") : 0;
}

static int set(int sock, const struct hf_option *option)
{
	return setsockopt(sock, option->level, option->name, option->value, option->len) < 0
		       ? -errno
		       : 0;
}

/* IP_TOS sets SO_PRIORITY as well (kernel __ip_sock_set_tos()), which CRIU has set by now. */
static int set_with_priority(int sock, const struct hf_option *option)
{
	int priority = 0, ret;
	socklen_t len = sizeof(priority);

	if (getsockopt(sock, SOL_SOCKET, SO_PRIORITY, &priority, &len) < 0)
		return -errno;
	ret = set(sock, option);
	if (ret == 0 && setsockopt(sock, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority)) < 0)
		ret = -errno;
	return ret;
}

/*
 * A name that is not here is tried once in the whole restore only: every try makes the kernel run
 * modprobe (tcp_ca_find_autoload()). ENOENT: there is none; EPERM: the route says which one, which
 * may be the same.
 */
static void set_congestion(
	int sock, const struct hf_option *option, struct hf_sockopt_report *report)
{
	char name[HF_SOCKOPT_NAME_SIZE] = {0}, used[HF_SOCKOPT_NAME_SIZE] = {0};
	socklen_t len = sizeof(used) - 1;

	memcpy(name, option->value, option->len);
	if (hf_sockopt_report_misses(report, name) || set(sock, option) == 0)
		return;
	if (getsockopt(sock, option->level, option->name, used, &len) < 0)
		used[0] = '\0';
	if (strcmp(used, name) != 0)
		hf_sockopt_report_add_missing(report, name, used);
}

static int write_one(int sock, const struct hf_conn *conn, const struct hf_option *option,
	struct hf_sockopt_report *report, struct hf_error *err)
{
	const struct hf_sockopt *row = hf_sockopt_find(option->level, option->name);
	unsigned int index = hf_sockopt_index(row);
	int ret;

	if (hf_sockopt_set_has(&report->unknown, index))
		return 0;
	if (row->type == HF_SOCKOPT_NAME) {
		set_congestion(sock, option, report);
		return 0;
	}
	ret = row->flags & HF_SOCKOPT_PRIORITY ? set_with_priority(sock, option)
					       : set(sock, option);
	if (ret == 0)
		return 0;
	if (row->flags & HF_SOCKOPT_PEER) {
		char text[HF_CONN_TEXT];

		return hf_error_set(err, -EOPNOTSUPP,
			"connection %s has option %s, which its peer would miss, and it cannot be "
			"set here (%s)",
			hf_conn_format(text, conn), row->name, strerror(-ret));
	}
	hf_sockopt_set_add(is_unknown(ret) ? &report->unknown : &report->refused, index);
	return 0;
}

/* Options that conn does not list have their base; a socket of CRIU's may have something else. */
static int write_base(int sock, const struct hf_conn *conn, unsigned int phases,
	const struct hf_sockopt_set *listed, struct hf_sock_options_writer *writer,
	struct hf_error *err)
{
	const struct hf_sockopt_set *differs =
		conn->family == HF_FAMILY_IPV4 ? &writer->differs_ipv4 : &writer->differs_ipv6;
	unsigned int kind = hf_sockopt_kind(conn);
	int ret = 0;

	for (unsigned int i = 0; i < hf_n_sockopts && ret == 0; i++) {
		const struct hf_sockopt *row = &hf_sockopts[i];
		struct hf_option option;

		if (!(row->flags & HF_SOCKOPT_LEFT_ON) && !hf_sockopt_set_has(differs, i))
			continue;
		if (!(row->phase & phases) || hf_sockopt_set_has(listed, i) ||
			!hf_sockopt_applies(row, kind, conn->family))
			continue;
		if (hf_sockopt_base(row, conn->family, &option))
			ret = write_one(sock, conn, &option, &writer->report, err);
	}
	return ret;
}

int hf_sock_options_write(int sock, const struct hf_conn *conn, unsigned int phases,
	struct hf_sock_options_writer *writer, struct hf_error *err)
{
	struct hf_sockopt_set listed = {0};
	int ret = 0;

	for (uint32_t i = 0; i < conn->n_options && ret == 0; i++) {
		const struct hf_option *option = &conn->options[i];
		const struct hf_sockopt *row = hf_sockopt_find(option->level, option->name);

		if (!row) /* hf_sockopt_check() has refused such an image */
			continue;
		hf_sockopt_set_add(&listed, hf_sockopt_index(row));
		if (row->phase & phases)
			ret = write_one(sock, conn, option, &writer->report, err);
	}
	return ret < 0 ? ret : write_base(sock, conn, phases, &listed, writer, err);
}
