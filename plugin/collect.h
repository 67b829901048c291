/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_COLLECT_H
#define HF_PLUGIN_COLLECT_H

/* Finds every TCP socket of a frozen process tree, and changes nothing. */
#include "lib/error.h"
#include "plugin/dump.h"

/*
 * Fills dump->image.conns with what can be seen of each socket from outside, dump->socks with
 * duplicates of them, dump->image.pending with the connections that nobody accepted yet, and
 * dump->has_orphans. Uses dump->tree and dump->netns. -EOPNOTSUPP, with a text that names it, for a
 * socket that cannot be saved; what was found until an error is the dump's to free all the same.
 */
int hf_collect(struct hf_dump *dump, struct hf_error *err);

#endif
