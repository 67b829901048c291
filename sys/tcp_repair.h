/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_TCP_REPAIR_H
#define HF_SYS_TCP_REPAIR_H

/*
 * One TCP socket in and out of the kernel, by TCP_REPAIR (tcp(7); net/ipv4/tcp.c).
 *
 * Dump: hf_tcp_identify(); then the lock and its barrier (sys/net_lock.h); hf_tcp_read().
 * Restore: hf_tcp_rebuild(), then the lock is removed, then hf_tcp_resume().
 * A socket that is closed while in repair mode disappears without a packet.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/conn.h"
#include "lib/error.h"
#include "lib/resend.h"
#include "sys/raw_socket.h"
#include "sys/sock_diag.h"
#include "sys/sock_options.h"

/* What hf_tcp_identify() found. */
enum hf_tcp_kind {
	HF_TCP_NONE,  /* not TCP, or MPTCP without a connection */
	HF_TCP_SOCKET /* a TCP socket in a state that can be saved */
};

/*
 * Options of the owner that hf_tcp_read() changes for a moment. In memory that is shared with a
 * process which gives them back if this one dies meanwhile.
 */
struct hf_borrowed {
	int sock; /* -1: nothing is changed at present */
	int oobinline;
	int peek_off;
};

/* A queue that is longer is not held in memory, but goes from socket to image and back. */
#define HF_QUEUE_HELD (1u << 20)

/* A send queue can be peeked at from its start only, so that each piece costs those before it too.
 * One that is longer is mapped. */
#define HF_SEND_CUT (16u << 20)

/* Where a long queue goes, piece by piece. */
struct hf_queue_sink {
	/* The places of the next piece of len bytes, or of fewer; the second one may be empty.
	 * Returns how many. */
	size_t (*place)(void *context, size_t len, struct iovec to[2]);
	/* So many bytes are there now. Returns 0 or a negative errno. */
	int (*take)(void *context, size_t len);
	void *context;
	bool recv, send;             /* the queues that are cut; a buffer takes another one whole */
	uint32_t recv_len, send_len; /* -EAGAIN if they are not any more */
};

/* The queues' bytes of one connection; buffers that grow and are used again. */
struct hf_queues {
	uint8_t *recv, *send;
	size_t recv_room, send_room;
	const struct hf_queue_sink *sink; /* NULL: into the buffers, but for long queues */
	bool none;                        /* no bytes are wanted */
	bool left; /* a queue is long, and there is no sink; or there are bytes, and none wanted:
		      they are still to be read */
	struct hf_borrowed *borrowed; /* not owned; NULL: nobody would give anything back */
};

/*
 * Looks at a socket without changing it: fills in conn->family, state, closed, local, peer and
 * reuseaddr.
 * Returns an enum hf_tcp_kind; -EOPNOTSUPP, with a text that names the connection, for one that
 * holdfast cannot save (a state it does not support, MPTCP, kernel TLS); or another negative errno.
 */
int hf_tcp_identify(int sock, struct hf_conn *conn, struct hf_error *err);

/*
 * The same with one call instead of nine, for a socket of which sock_diag has told already: in any
 * state but CLOSE, and without an upper layer protocol. One that speaks MPTCP shares its inode with
 * a TCP socket of the kernel's own (mptcp_sock_graft()).
 */
int hf_tcp_identify_known(
	int sock, const struct hf_diag_socket *known, struct hf_conn *conn, struct hf_error *err);

/*
 * Reads everything else of an identified socket, but its options, into *conn, and the queues' bytes
 * into *queues, or sets queues->left. The state is read again. The socket is in repair mode while
 * this runs, if its state allows that, and afterwards as it was.
 */
int hf_tcp_read(int sock, struct hf_conn *conn, struct hf_queues *queues, struct hf_error *err);

/* Makes both buffers at least so long. Returns 0 or -ENOMEM. */
int hf_queues_make_room(struct hf_queues *queues, size_t recv, size_t send);

void hf_queues_clear(struct hf_queues *queues);

/* Undoes a hf_tcp_read() that did not come to its end: repair mode off without a packet,
 * SO_REUSEADDR back. */
int hf_tcp_thaw(int sock, bool reuseaddr, struct hf_error *err);

/* Sets the options that a hf_tcp_read() of another process had changed when it died. */
void hf_tcp_give_back(const struct hf_borrowed *borrowed);

/* True if the socket is in repair mode. */
bool hf_tcp_is_frozen(int sock);

/* Makes the socket disappear without a packet when it is closed: repair mode on. */
int hf_tcp_freeze(int sock, struct hf_error *err);

/* What all sockets of a restore share. */
struct hf_tcp_tools {
	struct hf_raw *raw;
	struct hf_sock_options_writer *options;
	struct hf_resend_rules resend;
};

/*
 * Builds the connection in a closed socket, by the steps of its state (lib/tcp_state.h), and leaves
 * it in repair mode. Its options come back with it, also where there is nothing to build. *resend
 * says how data that was under way is to be sent again, once the socket is resumed. Returns 0; 1 if
 * there is nothing to build, or the socket is in this state already, and left alone; or a negative
 * errno (-EADDRNOTAVAIL: the local address is not here, or the tuple is taken).
 */
int hf_tcp_rebuild(int sock, const struct hf_conn *conn, const void *recv_data,
	const void *send_data, const struct hf_tcp_tools *tools, enum hf_resend *resend,
	struct hf_error *err);

/* Leaves a socket that a hf_tcp_rebuild() has failed on closed in both directions: reading gives
 * end of file. */
int hf_tcp_abandon(int sock, bool reuseaddr, struct hf_error *err);

/*
 * Repair mode off, SO_REUSEADDR as it was. With a `probe`, of an established connection: a window
 * probe (tcp_send_window_probe()), which makes the peer say what it has.
 */
int hf_tcp_resume(int sock, bool reuseaddr, bool probe, struct hf_error *err);

/*
 * HF_RESEND_HELD, after hf_tcp_resume(): sends what is queued, by TCP_NODELAY, which does so in
 * spite of TCP_CORK (tcp(7)).
 */
int hf_tcp_push(int sock);

/* True if nothing is left but the last `unsent` bytes, which the program had not sent yet. */
bool hf_tcp_is_sent(int sock, uint32_t unsent);

/*
 * What could not be sent counts as sent from now on, and the kernel's timer sends it: the socket
 * would else go on to drop acknowledgements of it, if the peer has it already.
 */
int hf_tcp_count_as_sent(int sock, bool reuseaddr, struct hf_error *err);

#endif
