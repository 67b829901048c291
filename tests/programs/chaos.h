/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_TEST_CHAOS_H
#define HF_TEST_CHAOS_H

/*
 * hf-chaos: two of it, the container's and the peer's, open connections to each other and do with
 * them what their random numbers say. What a connection carries and how it ends is its plan, which
 * both ends compute from the seed and the connection's id: so each knows what must come.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define MAX_CONNS      256 /* of one task */
#define MAX_TASKS      6
#define ID_BYTES       8 /* a stream of the connecting end starts with the connection's id */
#define NOBODY         2 /* neither CONNECTOR nor ACCEPTOR */
#define SHUT_READ_MOST 15000
#define SIZE_MAX_IO    (300u << 10)

enum side { CONNECTOR, ACCEPTOR };

/* Numbers shared by the tasks of one role and the test: a file of 64-bit words. */
enum counter {
	N_STOP,   /* set by the test: 1 finish what is open, 2 and then end */
	N_FAILED, /* tasks that found something wrong, and stand still since */
	N_DONE,   /* the first task has ended well */
	N_TASKS,
	N_IDS,
	N_LIVE, /* ends; one whose directions are in two tasks counts twice */
	N_OPENED,
	N_CONFIRMED,    /* connecting ends that know that they were accepted */
	N_IDENTIFIED,   /* accepting ends that know the id */
	N_PENDING_LOST, /* connecting ends that were reset before they were accepted */
	N_STREAMS_SENT, /* to their end, of connections that are not reset */
	N_STREAMS_CHECKED,
	N_RESETS_MADE,
	N_RESETS_SEEN,
	N_RESETS_UNSURE, /* planned, but perhaps it was not accepted at all */
	N_BYTES_SENT,
	N_BYTES_CHECKED,
	N_ORPHANS, /* closed with the stream still in the send queue */
	N_FORKS,
	N_HANDED, /* connections that went to another task */
	N_SPLIT,  /* ... only with one of their directions */
	N_DUPS,
	N_URGENT,
	N_LONGEST_MS, /* without progress */
	N_STUCK,      /* ends that have been so for long, but perhaps only wait for a timer */
	N_COUNTERS
};

struct plan {
	uint64_t total[2];     /* bytes that each side sends */
	unsigned int reset_by; /* the side that resets the connection, or NOBODY */
	uint64_t reset_at;     /* ... after so many bytes of its own */
	bool early_close[2];   /* close() while the stream may still be in the send queue */
	bool shut_read[2];     /* shutdown(SHUT_RD) at some time: data still comes, but no end */
	bool urgent;           /* some of it is sent with MSG_OOB, and read in line */
};

/* How the task waits for the connection's events. */
enum style { LEVEL, EDGE, ONE_SHOT };

/* The last things that were done, for the report of a failure. */
#define NOTES 24
struct note {
	uint64_t at; /* us */
	const char *what;
	int64_t value;
};

struct conn {
	bool used;
	bool parked; /* another task has it; our descriptors are only open */
	int fd, extra[2];
	unsigned int n_extra;
	enum side side;
	bool local;    /* within the container */
	bool may_pend; /* the listener is the container's: it may be reset unless accepted */
	bool connected, confirmed, known;
	uint64_t id;
	uint8_t id_bytes[ID_BYTES];
	struct plan plan;
	uint64_t key_in, key_out;
	uint64_t in, out;
	bool reads, writes; /* the directions that this task takes care of */
	bool split;
	bool eof, fin, broken, read_shut, closing;
	enum style style;
	bool stuck;
	bool watched; /* in the epoll set */
	uint32_t armed;
	bool can_read, can_write;
	uint64_t read_at, write_at; /* us: not before */
	uint64_t read_pace, write_pace;
	uint64_t progress_at; /* us of the task's running time */
	uint64_t park_until;
	int nodelay, keepalive, mark, reuse;
	bool blocking;
	struct note notes[NOTES];
	unsigned int n_notes;
};

struct task {
	uint64_t seed;
	bool container;
	unsigned int number;
	uint64_t random;
	_Atomic uint64_t *counters;
	int log, epoll;
	int listeners[3];
	struct sockaddr_storage own[2], other[2]; /* IPv4, IPv6; without a port */
	uint64_t now, running; /* us; running: without the time between two looks at the clock
				  beyond 100 ms, when it stood still */
	uint64_t leave_at;     /* running time; 0: never */
	unsigned int children, max_tasks, max_live;
	uint64_t patience;
	struct conn conns[MAX_CONNS];
};

/* chaos-plan.c */
uint64_t mix(uint64_t a, uint64_t b);
uint64_t next_random(struct task *task);
uint64_t below(struct task *task, uint64_t limit); /* 0 up to limit - 1; 0 for limit 0 */
bool one_in(struct task *task, uint64_t n);
void make_plan(struct plan *plan, uint64_t seed, uint64_t id);
size_t random_size(struct task *task);

/* chaos-report.c */
void count(struct task *task, enum counter counter, int64_t n);
uint64_t counted(const struct task *task, enum counter counter);
void note(struct task *task, struct conn *conn, const char *what, int64_t value);
/* Writes to the log, counts the failure and never returns: the test looks at what is there. */
__attribute__((noreturn, format(printf, 3, 4))) void fail(
	struct task *task, const struct conn *conn, const char *format, ...);

/* chaos-open.c */
void open_listeners(struct task *task);
void open_one(struct task *task);
void accept_some(struct task *task);
void set_known(struct task *task, struct conn *conn, uint64_t id);
void play_with_options(struct task *task, struct conn *conn);
void check_options(struct task *task, const struct conn *conn);
int tcp_state(int fd);

/* chaos-conn.c */
bool stopping(const struct task *task);
void watch(struct task *task, struct conn *conn);
void unwatch(struct task *task, struct conn *conn);
void forget(struct task *task, struct conn *conn); /* closes our descriptors */
void step(struct task *task, struct conn *conn);

#endif
