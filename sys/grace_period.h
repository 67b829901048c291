/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_GRACE_PERIOD_H
#define HF_SYS_GRACE_PERIOD_H

/*
 * Waits for a grace period of RCU: what the kernel was doing under RCU when it began is done when
 * it is over. Among it are packets on their way through the netfilter hooks to a socket.
 *
 * membarrier(MEMBARRIER_CMD_GLOBAL) is one, synchronize_rcu(), which takes 8 to 30 ms. Where the
 * kernel refuses it (nohz_full), so is the closing of a packet socket: packet_release() ends with
 * synchronize_net().
 *
 * An expedited one takes 0.1 ms, and nobody has a system call for it. But dev_deactivate_many()
 * calls synchronize_net() before it empties the queue of a network device that goes down, for
 * packets may be on their way into it; and that is expedited while the RTNL is held, which it is.
 * Linux 6.14 and later do so only where the device has a queue, and the loopback device has none
 * by itself. So: a network namespace of our own, whose loopback device gets a pfifo queue, goes
 * up, and goes down when it is time to wait. Where synchronize_net() does not expedite (PREEMPT_RT,
 * rcu_normal) it still waits.
 */
#include "lib/error.h"

/*
 * Makes that namespace, in about 1 ms: before anybody has to stand still for the wait. Returns 1
 * where the next wait will be quick; 0 where it will not, since the namespace cannot be had or the
 * kernel is none of those known (nothing is left); or a negative errno: the calling thread is not
 * where it was.
 */
int hf_grace_period_prepare(struct hf_error *err);

/* Gives the namespace back, if there is one. */
void hf_grace_period_release(void);

/* Waits, in any thread. Returns 0, or a negative errno where there is no way to wait. */
int hf_grace_period_wait(struct hf_error *err);

#endif
