/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_KICK_H
#define HF_PLUGIN_KICK_H

/* What the peers of connections that can be reached again are told, from the connections' network
 * namespace. What cannot be sent costs time only. */
#include <stdbool.h>
#include <stdint.h>

#include "lib/conn.h"
#include "sys/raw_socket.h"

/* Makes what is known of a connection visible to another process: in part never. */
void hf_wake_note(struct hf_conn *shared, const struct hf_conn *conn);

/* The first word to the peer of one connection of n: that all has arrived, and our window. */
void hf_wake_open(struct hf_raw *raw, const struct hf_conn *conn, uint32_t n);

struct hf_wake {
	int netns;
	const struct hf_conn *conns;
	uint32_t n;
	bool paused;       /* they wait for a window, lib/prelude.h */
	bool kick;         /* they may be waiting for their timers, lib/kick.h */
	bool opened;       /* hf_wake_open() was called for each */
	bool rebuilt;      /* the sockets are new: what they have heard is since then */
	uint64_t outage_s; /* at most; too much only costs packets */
	int task;          /* pidfd of the root task: with it ends what is left to do; -1: none */
};

/*
 * Makes the peers of all connections send again at once; paced, so that a burst is not lost, and so
 * that those who do not need it leave the processors to the others. The guardian's last work: when
 * the task ends, the process does.
 */
void hf_wake_peers(const struct hf_wake *wake);

#endif
