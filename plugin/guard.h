/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_GUARD_H
#define HF_PLUGIN_GUARD_H

/* What the guardian itself does; plugin/guardian.h is CRIU's end of it. */
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "plugin/guardian.h"

/* What the two say to each other, a message of one byte each; ENDED is said by nobody. */
enum hf_word { HF_READY = 'R', HF_COMMIT = 'C', HF_DISMISS = 'D', HF_ENDED = 0 };

/* Bytes of the ancillary data that hands all brakes over. */
#define HF_BRAKES_SPACE CMSG_SPACE(sizeof(int) * HF_BRAKES)

struct hf_guarded_sock {
	int fd;
	bool reuseaddr;  /* SO_REUSEADDR, which repair mode takes for itself */
	uint32_t unsent; /* bytes, and a FIN, that the program had not sent yet */
};

/* Its own view of it all. */
struct hf_guard {
	const struct hf_guarded *guarded;
	int control;
	struct pollfd *tasks; /* pidfds; -1 where the task has ended; and one more */
	struct hf_guarded_sock *socks;
	uint32_t n;
};

/* Keeps nothing open but what guards, says that it is ready, and ends when all is done. */
void hf_guard_run(const struct hf_guard *guard) __attribute__((noreturn));

#endif
