/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_HOOKS_CLEAN_H
#define HF_HOOKS_CLEAN_H

/* Locks that a failed restore has left in a network namespace, where they cut off whatever comes
 * next with the same addresses. */
#include "lib/error.h"

/*
 * Removes those that nobody is busy with and none of whose connections anybody has open. A lock
 * that only a dump has taken waits for its restore, and stays. Where the path is no network
 * namespace, or nothing at all, there is nothing to do.
 *
 * What a restore that has just failed is still about to let go is waited for, `patience_ms` at
 * most; -EBUSY if it was in vain.
 */
int hf_clean(const char *netns, unsigned int patience_ms, struct hf_error *err);

#endif
