/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_SURVEY_H
#define HF_SYS_SURVEY_H

/*
 * What holdfast has left behind, or is about to use: every lock, and the sockets in repair mode.
 * All of it is derived from what is there; nothing is kept on disk.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/error.h"
#include "lib/lock_read.h"
#include "sys/frozen.h"
#include "sys/netns_list.h"
#include "sys/processes.h"

enum hf_situation {
	HF_LOCK_BUSY,    /* a dump or a restore is going on */
	HF_LOCK_WAITING, /* nobody has its connections: as it should be between dump and restore */
	HF_LOCK_STALE,   /* nobody is busy, and a running program is cut off */
	HF_LOCK_EXPIRED  /* of a host: it holds nothing any more */
};

struct hf_found_lock {
	const struct hf_netns_entry *netns;
	struct hf_lock_view view;
	enum hf_situation situation;
	uint32_t n_open;        /* of its connections: whose sockets somebody has open */
	bool owner_runs;        /* the CRIU process that took it */
	struct hf_process busy; /* who is, where somebody is */
};

/* Why a socket in repair mode is left alone. */
enum hf_hands {
	HF_HANDS_NONE,
	HF_HANDS_CRIU,    /* a dump or a restore is going on */
	HF_HANDS_STOPPED, /* the process is stopped: perhaps by CRIU */
	HF_HANDS_TRACED   /* by a process that is not CRIU, as far as we can see */
};

struct hf_found_socket {
	const struct hf_frozen *frozen;
	const struct hf_netns_entry *netns;
	enum hf_hands hands;
	struct hf_process owner;
	struct hf_process busy; /* CRIU or whoever traces, if that is the reason */
};

struct hf_survey {
	struct hf_found_lock *locks; /* owned */
	size_t n_locks;
	struct hf_found_socket *sockets; /* owned */
	size_t n_sockets;
	struct hf_netns_list spaces;
	struct hf_frozen_list frozen;
	struct hf_error err; /* code 0: everything was seen */
};

/*
 * Looks at the network namespace with this path, or at all of them (NULL), and at sockets where
 * asked to. Returns 0, or a negative errno if something could not be seen: what was is there all
 * the same. The caller clears *survey in any case.
 */
int hf_survey(struct hf_survey *survey, const char *netns, bool with_sockets);
void hf_survey_clear(struct hf_survey *survey);

/* "busy", "waiting", "stale", "expired" */
const char *hf_situation_name(enum hf_situation situation);

#endif
