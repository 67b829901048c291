/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_SOCK_OPTIONS_H
#define HF_SYS_SOCK_OPTIONS_H

/*
 * The options of a TCP socket out of the kernel and into it again: those which lib/sockopt.h calls
 * holdfast's own. What CRIU carries is left alone.
 *
 * Dump: one zeroed struct hf_sock_options_reader for each thread; hf_sock_options_read() for each
 * socket.
 *
 * Restore of a connection, whose socket is as CRIU's tcp-close left it, with one struct
 * hf_sock_options_writer for all sockets:
 *
 *   hf_sock_options_writer_init()                        once, in the sockets' netns
 *   connect(AF_UNSPEC), TCP_REPAIR on
 *   hf_sock_options_write(..., HF_SOCKOPT_BEFORE, ...)
 *   bind, sequence numbers, connect, TCP options
 *   hf_sock_options_write(..., HF_SOCKOPT_AFTER, ...)
 *   queues, TCP_REPAIR_WINDOW
 *   hf_sock_options_write(..., HF_SOCKOPT_LAST, ...)
 *   TCP_REPAIR off
 *
 * Listeners, closed sockets, and connections that CRIU itself restored (tcp-established) take
 * HF_SOCKOPT_ALL_PHASES in one call. At the end log hf_sockopt_report_format() of the writer's
 * report as one warning, unless it is empty.
 */
#include "lib/conn.h"
#include "lib/error.h"
#include "lib/sockopt.h"

struct hf_sock_options_reader {
	struct hf_sockopt_set unknown; /* not known to this kernel: asked for once only */
};

/*
 * Reads the options of a socket into conn->options, which must be empty; conn->family, state and
 * closed are already there, from hf_tcp_identify(). Nothing of the socket changes. The caller frees
 * with hf_conn_clear().
 *
 * Cost: one getsockopt() for each row of the table that applies, of 0.4 us each where it was
 * measured (a small virtual machine): 21 us for an IPv4 connection (53 calls), 36 us for an IPv6
 * one (87), so 1.1 to 1.8 s for 50,000. The image gets what is not at its base only, mostly two
 * options.
 *
 * Returns 0; -EOPNOTSUPP for an IPv6 extension header that is too long for the image; or another
 * negative errno. The text names the option, not the connection.
 */
int hf_sock_options_read(int sock, struct hf_sock_options_reader *reader, struct hf_conn *conn,
	struct hf_error *err);

struct hf_sock_options_writer {
	struct hf_sockopt_report report; /* what could not be set so far */
	/* Options of which a new socket here does not have the base value, by sysctl. */
	struct hf_sockopt_set differs_ipv4, differs_ipv6;
};

/* Looks at what a new socket has in the network namespace. */
int hf_sock_options_writer_init(
	struct hf_sock_options_writer *writer, int netns, struct hf_error *err);

/*
 * Sets the options of conn whose phase is in `phases`, and those that conn does not list back to
 * their base where a new socket does not have it. What the kernel does not know or take goes into
 * the report; the next sockets do not try again what it does not know. Needs CAP_NET_ADMIN.
 *
 * Returns 0; or -EOPNOTSUPP if an option could not be set that the peer would miss, with a text
 * that names it and the connection.
 */
int hf_sock_options_write(int sock, const struct hf_conn *conn, unsigned int phases,
	struct hf_sock_options_writer *writer, struct hf_error *err);

#endif
