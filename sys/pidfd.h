/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_PIDFD_H
#define HF_SYS_PIDFD_H

/* Tasks by their pidfds, pidfd_open(2). A pidfd polls as readable when its task has ended. */
#include <stdbool.h>
#include <sys/types.h>

#include "lib/error.h"

/* Returns the fd or a negative errno. */
int hf_pidfd_open(pid_t pid, struct hf_error *err);

/* A duplicate of fd `fd` of the task. Works on stopped and traced tasks. */
int hf_pidfd_getfd(int pidfd, int fd, struct hf_error *err);

/* SIGKILL. Nothing happens to a task that has ended. */
void hf_pidfd_kill(int pidfd);

/* True if it is a child of ours or we trace it, and it has not ended. */
bool hf_pidfd_is_held(int pidfd);

/* Of a task that has not ended: true if SIGKILL is on its way to it, or ends it right now; where it
 * has much memory that takes long. */
bool hf_task_is_being_killed(pid_t pid);

/*
 * Of a task that has ended: true if SIGKILL ended it, and also if the kernel does not tell. It
 * tells in /proc until the task's parent has asked, and afterwards by PIDFD_GET_INFO (Linux 6.15).
 */
bool hf_pidfd_was_killed(int pidfd, pid_t pid);

#endif
