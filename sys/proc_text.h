/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_PROC_TEXT_H
#define HF_SYS_PROC_TEXT_H

/* The small files of a process, proc(5). */
#include <sys/types.h>

#define HF_PROC_TEXT 8192

/* Reads /proc/PID/NAME as a string, as far as it fits. Returns 0 or a negative errno: -ENOENT or
 * -ESRCH if there is no such process any more. */
int hf_proc_text(pid_t pid, const char *name, char buf[HF_PROC_TEXT]);

#endif
