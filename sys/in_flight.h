/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_IN_FLIGHT_H
#define HF_SYS_IN_FLIGHT_H

/* File descriptors on their way through a unix socket, SCM_RIGHTS in unix(7). */
#include "lib/error.h"

/*
 * Calls each() with a duplicate of every socket that waits in the queue of `sock` to be received,
 * also inside unix sockets that wait there themselves. Nothing if `sock` is no unix socket. The
 * queue stays as it is. each() does not own the descriptor; what it returns ends the walk if it is
 * negative.
 */
int hf_in_flight(int sock, int (*each)(int fd, void *context, struct hf_error *err), void *context,
	struct hf_error *err);

#endif
