/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hf-lwip: puts a TCP that is not Linux' between hf-peer and hf-server. Whoever connects to it is
 * connected to hf-server by lwIP, in this process, on a TAP device; so hf-peer's checks are those
 * of any other test.
 *
 *   lwip-tap.c    lwIP's network device
 *   lwip-flow.c   one connection of either TCP, and the bytes from one to the other
 *   hf-lwip.c     options, commands and the event loop
 *
 * There is one thread: without tcpip_init() lwIP starts none, and its timers run in our loop.
 */
#ifndef HF_TEST_LWIP_H
#define HF_TEST_LWIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct pbuf;
struct tcp_pcb;

struct flow {
	int fd;              /* to hf-peer, -1: over */
	unsigned int port;   /* of hf-peer */
	struct tcp_pcb *pcb; /* to hf-server, NULL: over */
	int error;           /* of lwIP */
	bool connected;

	char up[2048]; /* to hf-server: not taken by lwIP yet */
	size_t up_len;
	bool up_end, up_shut; /* no more comes; and that was passed on */

	struct pbuf *down; /* to hf-peer */
	bool down_end, down_shut;

	/* The first bytes after flow_mark(): here, and those of us that were acknowledged. */
	bool marked;
	uint64_t arrived, moved;
};

/* lwip-tap.c */
/* Starts lwIP with the TAP device of this name and numeric addresses; a file to poll, or -1. */
int tap_open(const char *name, const char *v4, const char *v6);
void tap_run(void); /* gives lwIP what there is, and its timers a turn */

/* lwip-flow.c */
/* The flow owns fd from now on. */
void flow_start(struct flow *f, int fd, const struct sockaddr_storage *to);
short flow_events(const struct flow *f); /* what to poll fd for */
void flow_run(struct flow *f, bool readable);
void flow_mark(struct flow *f);
void flow_print(const struct flow *f); /* as JSON */

#endif
