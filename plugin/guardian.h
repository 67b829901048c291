/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_GUARDIAN_H
#define HF_PLUGIN_GUARDIAN_H

/*
 * A process of its own that sees a dump through to its end, whatever becomes of CRIU. It holds a
 * duplicate of every connection's socket, the network namespace and a pidfd of the root task, and
 * ends by one of:
 *
 *   CRIU ends without hf_guardian_commit()     -> repair mode off, lock removed: the application
 *                                                 goes on
 *   commit, then CRIU ends, the root task lives -> lock removed: the application goes on
 *   commit, then the root task dies            -> repair mode on, sockets closed: no packet is
 *                                                 sent; the lock stays
 *   hf_guardian_dismiss()                      -> nothing: the plugin has put everything back
 * itself
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/conn.h"
#include "lib/error.h"
#include "lib/image.h"

struct hf_guarded_sock {
	int fd;
	bool reuseaddr; /* SO_REUSEADDR, which repair mode takes for itself */
};

struct hf_guarded {
	uint8_t id[HF_ID_SIZE]; /* of the lock */
	pid_t root;
	int netns;
	const struct hf_guarded_sock *socks; /* the connections */
	uint32_t n;
};

/* Starts it. Returns the fd to talk to it, to be kept open until CRIU ends, or a negative errno. */
int hf_guardian_start(const struct hf_guarded *guarded, struct hf_error *err);

/* The dump succeeded and the sockets are out of repair mode, with the lock on. */
int hf_guardian_commit(int control, struct hf_error *err);

/* Closes control and lets the guardian end without doing anything. */
void hf_guardian_dismiss(int control);

#endif
