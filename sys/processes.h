/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_PROCESSES_H
#define HF_SYS_PROCESSES_H

/* The processes that run at present, from /proc. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/error.h"

/* What the guardian process of a dump or restore is called; and later, when it only has to wake
 * peers: the lock is gone. */
#define HF_GUARDIAN_NAME "holdfast-guard"
#define HF_WAKER_NAME    "holdfast-wake"

struct hf_process {
	pid_t pid; /* as seen here */
	pid_t parent;
	pid_t inner_pid; /* in its own pid namespace */
	pid_t tracer;    /* 0: none */
	uid_t uid;       /* the effective one */
	uint64_t start;  /* in the unit of proc(5); with the pid it names a process for good */
	char state;      /* the letter of proc(5) */
	char name[32];
	uint64_t netns; /* the inode; 0 where we may not look */
};

struct hf_processes {
	struct hf_process *all; /* owned, sorted by pid */
	size_t n, room;
	size_t hidden; /* how many of them have a namespace that we may not look at */
};

/* Lists them into *list, zeroed before; zombies are left out. Nothing is kept on failure. */
int hf_processes_read(struct hf_processes *list, struct hf_error *err);
void hf_processes_clear(struct hf_processes *list);

/* The process with this pid, or NULL. */
const struct hf_process *hf_process_find(const struct hf_processes *list, pid_t pid);

/* Reads one, all but its namespace. 0 or a negative errno, without a text: -ENOENT or -ESRCH if
 * there is none. */
int hf_process_read(pid_t pid, struct hf_process *process);

/*
 * CRIU, if it makes this process just now, into *criu: it traces what it makes as a sibling of its
 * own (as runc has it), and is the parent of anything else. Returns 1, 0 if nobody does, or a
 * negative errno, without a text, if there is no such process.
 */
int hf_process_maker(pid_t pid, struct hf_process *criu);

/* Stopped by a signal or by its tracer. */
bool hf_process_is_stopped(const struct hf_process *process);

/* By their names: CRIU, or a task that it is just making, and the guardian of a dump or restore,
 * which is root's. */
bool hf_process_is_criu(const struct hf_process *process);
bool hf_process_is_guardian(const struct hf_process *process);

/* When a process started. 0 or a negative errno, without a text. */
int hf_process_start(pid_t pid, uint64_t *start);

/* True if the process has the namespace of the fd `netns` open, or if we may not look. */
bool hf_process_holds(pid_t pid, int netns);

#endif
