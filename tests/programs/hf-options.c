// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The option table and its reader and writer, for tests that make the sockets themselves.
 *
 *   hf-options table         one line a row: name, level, number, carrier, sockets, flags, note;
 *                            tabs
 *   hf-options read FD       reads the options of a socket and prints them, one a line
 *   hf-options copy FD FD2 [PHASES]
 *                            the same, then writes those of these phases (HF_SOCKOPT_*; default
 *                            all) to the second socket
 *   hf-options write FD FAMILY [OPTION...]
 *                            writes options given as LEVEL/NUMBER=HEX to a connection's socket;
 *                            FAMILY is 4 or 6
 *   hf-options time FD N     reads them N times, and prints the nanoseconds of CPU time that
 *                            one takes
 *
 * copy and write then print "report: " and what could not be set. Exit status 1 with a text on
 * standard error if something fails.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/cleanup.h"
#include "sys/netns.h"
#include "sys/sock_options.h"

static int fail(const char *text)
{
	fprintf(stderr, "%s\n", text);
	return 1;
}

static int print_table(void)
{
	static const char *const carriers[] = {"holdfast", "criu", "state", "nobody"};

	for (unsigned int i = 0; i < hf_n_sockopts; i++) {
		const struct hf_sockopt *row = &hf_sockopts[i];

		printf("%s\t%u\t%u\t%s\t%u\t%u\t%s\n", row->name, row->level, row->number,
			carriers[row->carrier], row->on, row->flags, row->note);
	}
	return 0;
}

static int identify(int sock, struct hf_conn *conn)
{
	int domain = 0;
	socklen_t len = sizeof(domain);
	struct tcp_info info = {0};
	socklen_t info_len = sizeof(info);

	memset(conn, 0, sizeof(*conn));
	if (getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
		getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &info_len) < 0)
		return -errno;
	conn->family = domain == AF_INET ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6;
	conn->state = (enum hf_tcp_state)info.tcpi_state;
	return 0;
}

static int read_options(int sock, struct hf_conn *conn, struct hf_error *err)
{
	struct hf_sock_options_reader reader = {0};
	char text[HF_OPTION_TEXT];
	int ret = identify(sock, conn);

	if (ret < 0)
		return hf_error_sys(err, ret, "no TCP socket");
	ret = hf_sock_options_read(sock, &reader, conn, err);
	if (ret == 0)
		ret = hf_sockopt_check(conn, err); /* what is read can be read back */
	for (uint32_t i = 0; ret == 0 && i < conn->n_options; i++)
		printf("%s\n", hf_option_format(text, &conn->options[i]));
	return ret;
}

static int write_options(
	int sock, const struct hf_conn *conn, unsigned int phases, struct hf_error *err)
{
	char text[HF_SOCKOPT_REPORT_TEXT];
	struct hf_sock_options_writer writer;
	hf_autoclose int netns = hf_netns_open(0, err);
	int ret = netns < 0 ? netns : hf_sock_options_writer_init(&writer, netns, err);

	if (ret == 0)
		ret = hf_sock_options_write(sock, conn, phases, &writer, err);
	if (ret == 0)
		printf("report: %s\n", hf_sockopt_report_format(text, &writer.report));
	return ret;
}

static int parse(const char *text, struct hf_option *option)
{
	unsigned int level, number, byte;
	int at = 0;

	if (sscanf(text, "%u/%u=%n", &level, &number, &at) != 2 || at == 0)
		return -1;
	*option = (struct hf_option){.level = (uint16_t)level, .name = (uint16_t)number};
	for (text += at; sscanf(text, "%2x", &byte) == 1 && option->len < HF_OPTION_SIZE; text += 2)
		option->value[option->len++] = (uint8_t)byte;
	return 0;
}

static int copy(int from, int to, unsigned int phases)
{
	struct hf_error err = HF_ERROR_INIT;
	struct hf_conn conn;
	int ret = read_options(from, &conn, &err);

	if (ret == 0 && to >= 0)
		ret = write_options(to, &conn, phases, &err);
	hf_conn_clear(&conn);
	return ret < 0 ? fail(err.text) : 0;
}

static int write_given(int sock, const char *family, char **texts, int n)
{
	struct hf_error err = HF_ERROR_INIT;
	struct hf_option options[16];
	struct hf_conn conn = {.family = (enum hf_family)atoi(family),
		.state = HF_TCP_ESTABLISHED,
		.options = options,
		.n_options = (uint32_t)n};

	for (int i = 0; i < n; i++)
		if (n > 16 || parse(texts[i], &options[i]) < 0)
			return fail("no option");
	if (hf_sockopt_check(&conn, &err) < 0 ||
		write_options(sock, &conn, HF_SOCKOPT_ALL_PHASES, &err) < 0)
		return fail(err.text);
	return 0;
}

static int measure(int sock, int times)
{
	struct hf_sock_options_reader reader = {0};
	struct hf_error err = HF_ERROR_INIT;
	struct timespec start, end;
	struct hf_conn conn;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
	for (int i = 0; i < times; i++) {
		if (identify(sock, &conn) < 0 ||
			hf_sock_options_read(sock, &reader, &conn, &err) < 0)
			return fail(err.text);
		hf_conn_clear(&conn);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	printf("%lld\n",
		((end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec) / times);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "table") == 0)
		return print_table();
	if (argc == 3 && strcmp(argv[1], "read") == 0)
		return copy(atoi(argv[2]), -1, 0);
	if (argc == 4 && strcmp(argv[1], "copy") == 0)
		return copy(atoi(argv[2]), atoi(argv[3]), HF_SOCKOPT_ALL_PHASES);
	if (argc == 5 && strcmp(argv[1], "copy") == 0)
		return copy(atoi(argv[2]), atoi(argv[3]), (unsigned int)atoi(argv[4]));
	if (argc >= 4 && strcmp(argv[1], "write") == 0)
		return write_given(atoi(argv[2]), argv[3], argv + 4, argc - 4);
	if (argc == 4 && strcmp(argv[1], "time") == 0)
		return measure(atoi(argv[2]), atoi(argv[3]));
	return fail("usage: see tests/programs/hf-options.c");
}
