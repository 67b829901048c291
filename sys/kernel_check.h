/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_KERNEL_CHECK_H
#define HF_SYS_KERNEL_CHECK_H

#include "lib/error.h"

/*
 * Tries everything that a dump needs of the kernel, on objects of its own: TCP_REPAIR, pidfd_getfd,
 * nftables, sock_diag. Returns 0, or a negative errno and a text that says what is missing and what
 * to do.
 */
int hf_kernel_check(struct hf_error *err);

/* The same one by one; what nftables allows is seen best from a lock. */
int hf_kernel_check_repair(struct hf_error *err);
int hf_kernel_check_pidfd(struct hf_error *err);
int hf_kernel_check_sock_diag(int netns, struct hf_error *err);

#endif
