/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_PRELUDE_H
#define HF_PLUGIN_PRELUDE_H

/*
 * Lets the peers pause before the lock closes, lib/prelude.h: while it holds only what we send.
 * Nothing here fails a dump. A peer that was not told runs into the lock, which costs it time.
 */
#include <stdint.h>

#include "lib/conn.h"
#include "lib/image.h"
#include "sys/raw_socket.h"

struct hf_prelude_peer;
struct hf_prelude {
	struct hf_raw raw;
	struct hf_prelude_peer *peers; /* one a record; NULL: none was told */
	uint32_t n_told;
	uint32_t n_reopened;
	uint64_t took_us;
};
#define HF_PRELUDE_NONE ((struct hf_prelude){.raw = HF_RAW_INIT(-1)})

struct hf_prelude_with {
	int netns;
	const struct hf_image *image;
	const int *socks;       /* one a record */
	struct hf_conn *shared; /* one a record: what hf_wake_peers() needs */
	unsigned int limit_ms;  /* of the wait; peers that are further away are not told */
};

/* True if there is somebody to tell. */
bool hf_prelude_needed(const struct hf_image *image);

/* Tells them, and waits until what they had under way has arrived. *prelude is to be ended. */
void hf_prelude(struct hf_prelude *prelude, const struct hf_prelude_with *with);

/*
 * For a connection as it was read behind the lock: notes whether its peer pauses. Where something
 * has arrived since the last word, more may have been on its way and lost, which is the case of
 * hf_prelude_wanted() with a hole: its window is opened again, and it is one of those that run into
 * the lock.
 */
void hf_prelude_check(struct hf_prelude *prelude, uint32_t i, struct hf_conn *conn);

void hf_prelude_end(struct hf_prelude *prelude);

#endif
