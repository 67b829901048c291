/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_HEARD_H
#define HF_SYS_HEARD_H

/* Whose peers have been heard, sock_diag(7): without holding the sockets. */
#include <stdbool.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/error.h"

#define HF_HEARD_MAX 32 /* connections, at a time */

/* Opens a socket for it in a network namespace. Returns the fd or a negative errno. */
int hf_heard_open(int netns, struct hf_error *err);

/*
 * Sets heard[i] where data has come from conns[i]'s peer within the last `within_ms`, and not
 * before the socket was restored, if it was. Where the kernel does not say, or has another such
 * socket: not heard.
 */
void hf_heard(int sock, const struct hf_conn *const *conns, uint32_t n, uint32_t within_ms,
	bool heard[HF_HEARD_MAX]);

#endif
