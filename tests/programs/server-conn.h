/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One accepted connection of hf-server: the roles of wire.h, from header to trailer. */
#ifndef HF_TEST_SERVER_CONN_H
#define HF_TEST_SERVER_CONN_H

#include <stdbool.h>
#include <stdint.h>

/* Who holds an accepted socket beside the process that serves it. */
enum share { SHARE_NONE, SHARE_DUP, SHARE_FORK };

struct conn;

/* What the connections of one process have in common. */
struct server {
	int epoll;
	enum share share;
	struct conn *waiting; /* those with a rate limit or a time to wait for */
	uint64_t last_turn;   /* by the wall's clock */
	uint64_t resumed;     /* when we ran again after we were stopped, 0: never */
	unsigned long connections;
	unsigned long errors;
};

/* Takes over fd. On failure it is closed, reported and counted. */
void conn_accepted(struct server *server, int fd);

/* An epoll event: data.ptr and events of the epoll set, fd's are registered by conn_accepted(). */
void conn_event(struct server *server, struct conn *c, uint32_t events);

/* To be called first in every turn of the loop, at least every HEARTBEAT_MS. */
#define HEARTBEAT_MS 200
void conn_turn(struct server *server);

/* To be called every TICK_MS while there is something in server->waiting. */
void conn_tick(struct server *server);

#endif
