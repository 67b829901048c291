/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_NET_LOCK_H
#define HF_SYS_NET_LOCK_H

/* The lock of lib/lock_rules.h, taken, removed and listed in a network namespace. */
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/image.h"
#include "lib/lock_read.h"
#include "lib/lock_rules.h"

enum hf_lock_taken {
	HF_LOCK_TAKEN,
	HF_LOCK_THERE,  /* it was there already */
	HF_LOCK_NOTHING /* there is nothing to hold, and no lock */
};

/*
 * Takes the lock. Returns an enum hf_lock_taken, or a negative errno: then nothing was changed.
 * Only after -ENOBUFS, the kernel's answers were lost again and again, it may be there: who made
 * its id calls hf_net_unlock().
 */
int hf_net_lock(int netns, const struct hf_lock *lock, struct hf_error *err);

/*
 * The lock of an image in the network namespace of its connections, or on the host that they are
 * reached by, where it expires. `why` is that of struct hf_lock_note. Returns as hf_net_lock(). A
 * restore that finds the lock there leaves a note of itself in it.
 */
int hf_net_lock_image(
	int netns, const struct hf_image *image, const char *why, struct hf_error *err);

/* The same in two steps: what the connections send is held, and so are new ones; then also what the
 * peers send. Nothing is removed where the second one fails. */
int hf_net_lock_output(
	int netns, const struct hf_image *image, const char *why, struct hf_error *err);
int hf_net_lock_input(int netns, const struct hf_image *image, struct hf_error *err);

/* The same in the name of another process, a CRIU that restores it. */
struct hf_process;
int hf_net_lock_image_of(int netns, const struct hf_image *image, const char *why,
	const struct hf_process *owner, struct hf_error *err);

int hf_net_lock_host(int netns, const struct hf_image *image, const char *why, uint32_t timeout_s,
	struct hf_error *err);

/* Removes the lock with this id, in one message. Returns 0, also if there was none, or a negative
 * errno: then it is still there, or may be (-ENOBUFS). */
int hf_net_unlock(int netns, const uint8_t id[HF_ID_SIZE], struct hf_error *err);

/* The same where it may be a host's, which has a table more. After a failure a part may be there.
 */
int hf_net_unlock_host(int netns, const uint8_t id[HF_ID_SIZE], struct hf_error *err);

/*
 * Both locks of a checkpoint; `host` is -1 where there is one only. The host's first: when the
 * other is gone the way is open. The first failure is returned, and does not keep the other one.
 */
int hf_net_unlock_both(int netns, int host, const uint8_t id[HF_ID_SIZE], struct hf_error *err);

/* Closes the sockets that all these leave open, since that takes a while; the end of the process
 * does so too. */
void hf_net_lock_close(void);

/* The generation of a network namespace's rules, which changes with them, into *generation. */
int hf_net_generation(int netns, uint32_t *generation, struct hf_error *err);

/*
 * Removes a lock, with all its tables, if nothing has changed since that generation: what was found
 * out after it still holds. Returns 0; 1 if something has, and nothing was removed, or perhaps all
 * (look again); or a negative errno.
 */
int hf_net_unlock_at(
	int netns, const struct hf_lock_view *view, uint32_t generation, struct hf_error *err);

/* Removes the locks of a host whose elements have all expired. Returns how many, or a negative
 * errno. */
int hf_net_unlock_expired(int netns, struct hf_error *err);

/*
 * Returns only when no packet that passed the netfilter hooks before the lock was committed is
 * still being processed: a commit alone is no barrier, since the hooks run under RCU. Quick after
 * hf_grace_period_prepare() (sys/grace_period.h).
 */
int hf_net_lock_barrier(struct hf_error *err);

struct hf_lock_list {
	struct hf_lock_view *locks; /* owned, sorted by hf_lock_view_sort() */
	size_t n;
};

/* Lists the locks into *list, zeroed before. Nothing is kept on failure. */
int hf_net_locks(int netns, struct hf_lock_list *list, struct hf_error *err);

/* The same without what they hold: id, note and tables only. */
int hf_net_lock_tables(int netns, struct hf_lock_list *list, struct hf_error *err);

void hf_lock_list_clear(struct hf_lock_list *list);

#endif
