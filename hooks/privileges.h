/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_HOOKS_PRIVILEGES_H
#define HF_HOOKS_PRIVILEGES_H

/* capabilities(7) */
#include "lib/error.h"

/*
 * Gives up everything but what the hook needs, for good:
 *
 *   CAP_NET_ADMIN   nftables in the container's network namespace
 *   CAP_SYS_ADMIN   setns(2) into that namespace
 *   CAP_SYS_PTRACE  /proc/PID/ns/net of a container's first process, and CRIU's image, which is
 *                   taken out of its open files: both have more capabilities than we keep
 *
 * None to overrule the permissions of files: a bundle belongs to root, whom the runtime is run by.
 * -EACCES, with their names, where some of them are not there: what else there was is given up all
 * the same. After any other error nothing was.
 */
int hf_privileges_drop(struct hf_error *err);

#endif
