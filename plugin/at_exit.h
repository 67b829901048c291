/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_AT_EXIT_H
#define HF_PLUGIN_AT_EXIT_H

/*
 * What is left to do when CRIU itself ends, after a dump that succeeded: where the tasks go on, the
 * locks are removed. The guardian does the same where CRIU cannot, so each of the two may be
 * killed.
 */
#include <stdint.h>

#include "lib/image.h"
#include "plugin/guardian.h"
#include "sys/task_fds.h"

/*
 * Called once, while the tasks stand still. `host` is -1 where there is no lock on it. Keeps what
 * it needs; where that is not to be had, all is left to the guardian.
 */
void hf_at_exit_unlock(const struct hf_tree *tree, int netns, int host,
	const uint8_t id[HF_ID_SIZE], struct hf_guardian *guardian);

#endif
