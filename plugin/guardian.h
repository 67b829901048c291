/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_GUARDIAN_H
#define HF_PLUGIN_GUARDIAN_H

/* clang-format off: a table
 *
 * A process of its own that sees a dump or a restore through to its end, whatever becomes of CRIU.
 * It holds a duplicate of every connection's socket, the network namespace, a pidfd of every task,
 * and nothing else. What it does depends on how far CRIU had come when it ends:
 *
 *   dump      begun      repair mode off, lock removed: the application goes on
 *             complete   if the tasks go on: lock removed. If they are killed, which takes as
 *                        little as one of them: all of them killed, repair mode on, sockets closed:
 *                        no packet is sent; the lock stays, and the image can be restored
 *   restore   begun      the tasks are killed, repair mode on, sockets closed: no packet is sent;
 *                        the lock stays, and the image can be restored again
 *             complete   repair mode off, lock removed: the application goes on
 *
 * It is dismissed at any time when what is left to do has been done; of a restore that has only
 * begun, it closes the sockets in the same way.
 * The lock is that of the network namespace and that of the host.
 */
/* clang-format on */

#include "lib/error.h"
#include "lib/image.h"
#include "sys/task_fds.h"
#include "sys/tcp_repair.h"

/* What it sees without being told, in shared memory. */
struct hf_guardian_page {
	struct hf_borrowed borrowed; /* of a dump */
	bool paused;                 /* peers were told a window of 0, lib/prelude.h */
	bool opened; /* of a restore: peers have heard the first word, plugin/kick.h */
	bool complete;
};

enum hf_guardian_job { HF_GUARDIAN_DUMP, HF_GUARDIAN_RESTORE };

struct hf_guarded {
	enum hf_guardian_job job;
	const struct hf_image *image; /* its id is that of the lock; of a dump without the conns */
	const int *socks;             /* one a record of the image; -1: none */
	const struct hf_tree *tree;   /* the root task first */
	int netns;
	int host; /* network namespace with the host's lock; -1: none */
	/* One a record, with what is read after the guardian was started: in shared memory. By it
	 * peers that were told to pause are told to go on; NULL: none are. */
	const struct hf_conn *peers;
	bool kick; /* all of them are made to send again */
	const struct hf_guardian_page *page;
};

/*
 * CRIU's end of it.
 *
 * When CRIU is killed the kernel first closes its files, which the guardian sees, and then lets the
 * tasks run that CRIU has traced (do_exit()). A socket must not be in repair mode then, since calls
 * on it fail. So there are brakes beside the control: packet sockets, whose closing takes the
 * kernel some milliseconds each (packet_release() waits for a grace period of RCU). Some have a
 * lower and one has a higher number than the control, since the order of closing is not promised;
 * today the lower ones are closed after it. The guardian gets them when they are not needed any
 * more, so that closing them delays nobody.
 */
#define HF_BRAKES_BELOW 8
#define HF_BRAKES       (HF_BRAKES_BELOW + 1)
struct hf_guardian {
	int control; /* -1: there is no guardian */
	int brakes[HF_BRAKES];
};
#define HF_GUARDIAN_NONE                                                                           \
	((struct hf_guardian){.control = -1, .brakes = {[0 ... HF_BRAKES - 1] = -1}})

/* Starts it. *guardian must be kept until CRIU ends. Returns 0 or a negative errno. */
int hf_guardian_start(
	struct hf_guardian *guardian, const struct hf_guarded *guarded, struct hf_error *err);

/* Makes one. Returns 0 or a negative errno. */
int hf_guardian_page_new(struct hf_guardian_page **page, struct hf_error *err);
void hf_guardian_page_free(struct hf_guardian_page *page);

/* The same for what is to be known of n peers. */
int hf_guardian_peers_new(struct hf_conn **peers, uint32_t n, struct hf_error *err);
void hf_guardian_peers_free(struct hf_conn *peers, uint32_t n);

/* The dump is complete, as the page says: its sockets are out of repair mode, with the lock on. It
 * looks at the tasks from now on. -EPIPE if there is no guardian any more. */
int hf_guardian_commit(struct hf_guardian *guardian, struct hf_error *err);

/*
 * In a thread of CRIU's that works on the sockets: where it has a table of files of its own, our
 * end is not kept in that too. Or the tasks would run before the guardian knows, if the thread
 * takes longer to die than the one that traces them.
 */
void hf_guardian_in_thread(const struct hf_guardian *guardian);

/* Lets the guardian, if there is one, end: there is nothing to be done about the tasks and the
 * lock. */
void hf_guardian_dismiss(struct hf_guardian *guardian);

/* Closes our end without a word, as if CRIU had ended. */
void hf_guardian_close(struct hf_guardian *guardian);

#endif
