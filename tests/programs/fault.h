/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_TESTS_FAULT_H
#define HF_TESTS_FAULT_H

/*
 * Makes one call of a libc function go wrong, as the kernel would have it. Linked into a program,
 * or loaded into any by LD_PRELOAD, where HF_FAULT in the environment says what:
 *
 *   FUNCTION[@PROTOCOL]:N[+]:WHAT
 *
 *   FUNCTION  socket, bind, setsockopt, getsockname, sendto, recvmsg or recv
 *   PROTOCOL  only calls on netlink sockets of this protocol count (a number)
 *   N         the N-th call; with + also all later ones
 *   WHAT      an errno (ENOBUFS): the call fails with it and does nothing else
 *             lost         of recvmsg: the message is gone, the call fails with ENOBUFS
 *             interrupted  of recvmsg: the kernel says that the dump is inconsistent
 *             refused      of sendto: the batch is not applied, the commit fails with EBUSY
 *             hook         hf_fault_hook is called before the function
 */
#include <stdbool.h>

extern void (*hf_fault_hook)(void);

/* NULL: no fault. Returns false if it is none of the above. Counts anew. */
bool hf_fault_set(const char *text);

/* Whether the call has come. */
bool hf_fault_fired(void);

#endif
