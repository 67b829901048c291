/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_FROZEN_H
#define HF_SYS_FROZEN_H

/* The TCP sockets of running processes that are in repair mode. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/conn.h"
#include "lib/error.h"
#include "sys/processes.h"

struct hf_frozen {
	int fd; /* a duplicate; owned */
	uint64_t inode;
	uint64_t netns; /* of the socket */
	pid_t pid;      /* who has it open; one of several */
	char text[HF_CONN_TEXT];
	uint16_t port;
	/*
	 * What SO_REUSEADDR shall be: repair mode has taken the place of it. It is inherited by
	 * accepted connections, and with it off a listener cannot be bound anew while they live. So
	 * it is on if any other socket of this local port in the namespace has it on.
	 */
	bool reuseaddr;
};

struct hf_frozen_list {
	struct hf_frozen *all; /* owned */
	size_t n;
};

/*
 * Finds those of the processes whose namespace is `netns` (0: of all), but for CRIU's and the
 * guardian's duplicates, into *list, zeroed before. Every TCP socket is duplicated for a moment. A
 * process whose files cannot be looked at is left out, and the first such error is returned, with
 * its text. The caller clears *list in any case.
 */
int hf_frozen_find(const struct hf_processes *processes, uint64_t netns,
	struct hf_frozen_list *list, struct hf_error *err);

void hf_frozen_clear(struct hf_frozen_list *list);

#endif
