/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_DUMP_H
#define HF_PLUGIN_DUMP_H

/*
 * The dump of all TCP sockets of a frozen process tree: collect, let the peers pause, lock,
 * barrier, read, write.
 *
 * hf_dump() ends in one of two ways: 0, and then either hf_dump_commit() or hf_dump_rollback() must
 * follow; or an error, and then everything is as it was.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/config.h"
#include "lib/error.h"
#include "lib/image.h"
#include "plugin/drain.h"
#include "plugin/guardian.h"
#include "plugin/prelude.h"
#include "sys/task_fds.h"
#include "sys/tcp_repair.h"

struct hf_dump {
	struct hf_tree tree;
	struct hf_image image;
	int *socks;    /* one a record of the image; -1: not needed any more */
	bool *is_read; /* one a record: all but what is to be written is known */
	int netns;
	int host; /* network namespace of CRIU itself; -1: that is `netns` */
	int image_dir;
	struct hf_orphans orphans;
	struct hf_guardian guardian;
	struct hf_guardian_page *page;
	struct hf_conn *peers; /* shared with the guardian; one a record, see struct hf_guarded */
	struct hf_prelude prelude;
	bool has_orphans; /* perhaps not ours */
	bool locked;
	bool has_image;
	struct hf_config config;
	uint64_t lock_us;   /* the rules */
	uint64_t read_us;   /* reading, the barrier with it, and writing */
	uint64_t frozen_us; /* all of hf_dump() */
};

/* Dumps the tree of `root` into image_dir. *dump is set up by this. */
int hf_dump(struct hf_dump *dump, pid_t root, int image_dir, const struct hf_config *config,
	struct hf_error *err);

/* True if the task was part of what hf_dump() saw. */
bool hf_dump_has_task(const struct hf_dump *dump, pid_t pid);

/* CRIU's dump succeeded: the guardian does the rest. Frees all but the
 * guardian's control. */
int hf_dump_commit(struct hf_dump *dump, struct hf_error *err);

/* CRIU's dump failed: everything as it was, image removed. Frees all. */
int hf_dump_rollback(struct hf_dump *dump, struct hf_error *err);

#endif
