/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hf-peer: the other end of hf-server's connections.
 *
 *   peer-spec.c      what to connect: --connect and --conn
 *   peer-conn.c      drives one connection and checks what it carries
 *   peer-command.c   the commands on stdin, the answers on stdout
 *   hf-peer.c        options and the event loop
 */
#ifndef HF_TEST_PEER_H
#define HF_TEST_PEER_H

#include "common.h"
#include "meter.h"
#include "wire.h"

#include <stdio.h>

#define MAX_TARGETS 16
#define MAX_SPECS   32

/* An address to connect to; the label tells the reader what is special about it. */
struct target {
	char label[24];
	const char *text;
	struct sockaddr_storage addr;
	socklen_t addr_len;
};

/* One --conn: so many connections of one kind. */
struct spec {
	uint32_t role;
	unsigned int count;
	int target;       /* index, or -1: all in turn */
	uint64_t rate;    /* of each sender, bytes per second, 0: no limit */
	uint64_t chunk;   /* they send so many bytes at a time, at least */
	uint64_t reading; /* of each receiver, the same */
	uint64_t size;    /* echo: of a request; idle: of the ping */
	uint64_t gap;     /* echo: ms between an answer and the next request */
	uint64_t in, out; /* hold: bytes which the server, and we, leave unread; wake: out alone */
	uint64_t hold_ms;
	uint64_t nagle; /* not 0: both ends leave TCP_NODELAY off */
	uint64_t sndbuf, rcvbuf;
	int64_t flip_up, flip_down; /* positions to send wrong on purpose, or -1 */
};

extern const char *const role_names[WIRE_ROLES];

/* Both print what is wrong to stderr and return false. */
bool parse_target(const char *text, struct target *out);
bool parse_spec(const char *text, const struct target *targets, int n_targets, struct spec *out);

enum phase {
	PHASE_CONNECT,
	PHASE_HELLO, /* the header is on its way, the answer is awaited */
	PHASE_RUN,
	PHASE_FINISH, /* sending what remains, then reading up to the trailer */
	PHASE_KEPT,
	PHASE_LOST
};

struct peer;

struct pconn {
	struct peer *peer;
	unsigned int id;
	const struct spec *spec;
	const struct target *target;
	int fd;
	enum phase phase;
	uint32_t interest;
	uint64_t seed;
	uint32_t server_pid;
	char local[80], remote[80], state[16], error[120];

	char message[128]; /* the header on its way out, the hello or trailer on its way in */
	size_t message_len;

	uint64_t up, acked, down; /* positions: sent, known to have arrived, checked */
	uint64_t up_end;          /* send no further */
	uint64_t due;             /* echo: when to send the next request; 0: an answer is awaited */
	bool read_waits, write_waits, write_full, shut;
	struct bucket read_limit, write_limit;
	struct meter in, out;
	bool marked;                /* by the command: what follows is noted */
	uint64_t arrived;           /* the first bytes after the mark, here */
	uint64_t resumed, advanced; /* as the server says in the end */
	uint64_t asked, answered;   /* idle: by the command "ask" */
	uint64_t last_progress;     /* for the patience in finish */

	bool want_in, want_out; /* the progress command waits for these */
	uint64_t mark_in, mark_out;
};

struct peer {
	int epoll;
	bool mptcp;
	uint64_t patience; /* ms */
	struct target targets[MAX_TARGETS];
	int n_targets;
	struct spec specs[MAX_SPECS];
	int n_specs;
	struct pconn *conns;
	unsigned int n_conns;

	bool ready, finishing, done;
	uint64_t started;
	uint64_t progress_until, progress_since; /* 0: no such command is under way */
	char command[256];
	size_t command_len;
};

/* peer-conn.c */
void pconn_start(struct pconn *c);
void pconn_event(struct pconn *c, uint32_t events);
void pconn_tick(struct pconn *c, uint64_t now);
void pconn_finish(struct pconn *c, uint64_t now);
void pconn_ask(struct pconn *c);                  /* a request, on an idle one */
void pconn_sample(struct pconn *c, uint64_t now); /* brings acked and the meters up to date */
uint64_t pconn_inq(const struct pconn *c);
uint64_t pconn_stall_ms(const struct pconn *c, uint64_t now);
void pconn_lost(struct pconn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* peer-command.c */
void commands_read(struct peer *p);               /* stdin is readable */
void commands_tick(struct peer *p, uint64_t now); /* answers what is due */
int commands_report(struct peer *p);              /* the final report; the exit status */

#endif
