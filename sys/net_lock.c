// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/net_lock.h"

#include <errno.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/lock_note.h"
#include "sys/grace_period.h"
#include "sys/netlink.h"
#include "sys/processes.h"

#define ATTEMPTS  4
#define KEPT_OPEN 8
#define NO_ERROR  1 /* of apply() */

/*
 * Closing the socket waits until the kernel has freed what was removed through it, a grace period
 * of RCU (nft_rcv_nl_event()): 10 to 20 ms each time, in which the container would stand still. So
 * the last few stay open.
 */
static struct {
	pthread_mutex_t mutex;
	int socks[KEPT_OPEN];
	unsigned int next;
} kept = {.mutex = PTHREAD_MUTEX_INITIALIZER, .socks = {[0 ... KEPT_OPEN - 1] = -1}};

/* In the place of the one that has been there longest. */
static void close_later(int sock)
{
	int old;

	pthread_mutex_lock(&kept.mutex);
	old = kept.socks[kept.next % KEPT_OPEN];
	kept.socks[kept.next++ % KEPT_OPEN] = sock;
	pthread_mutex_unlock(&kept.mutex);
	hf_close_fd(&old);
}

void hf_net_lock_close(void)
{
	for (int i = 0; i < KEPT_OPEN; i++)
		close_later(-1);
}

/*
 * Applies a batch. Where the kernel's answer was lost (ENOBUFS) the batch is sent again: a table is
 * made exclusively and removed by name, so `already`, the error of the second time, tells that the
 * first was applied. Once an answer was lost, no other error tells anything.
 */
static int apply(int netns, const struct hf_batch *batch, int already, struct hf_error *err)
{
	int sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	bool lost = false;
	int ret = -ENOBUFS;

	if (sock < 0)
		return sock;
	for (int attempt = 0; attempt < ATTEMPTS && ret != 0 && ret != already; attempt++) {
		if (attempt > 0)
			usleep(500u << attempt);
		ret = hf_netlink_batch(sock, batch);
		lost = lost || ret == -ENOBUFS;
		if (!lost)
			break;
	}
	close_later(sock);
	if (ret == already)
		return lost ? 0 : 1;
	if (ret == 0)
		return 0;
	return lost ? hf_error_set(err, -ENOBUFS,
			      "nftables' answers got lost, its rules may be there or not")
		    : hf_error_sys(err, ret, "nftables refused the lock's rules");
}

/* What nftables says of a family that the kernel does not have. */
static bool is_no_family(int ret)
{
	return ret == -ENOENT || ret == -EOPNOTSUPP || ret == -EAFNOSUPPORT;
}

static int take(int netns, const struct hf_lock *lock, struct hf_error *err)
{
	struct hf_batch batch = {0};
	int ret = hf_lock_rules_add(&batch, lock, err);

	if (ret == 0)
		ret = apply(netns, &batch, -EEXIST, err);
	else if (ret > 0)
		ret = HF_LOCK_NOTHING;
	hf_batch_clear(&batch);
	return ret;
}

int hf_net_lock(int netns, const struct hf_lock *lock, struct hf_error *err)
{
	struct hf_lock without = *lock;
	int ret = take(netns, lock, err);

	if (lock->place == HF_LOCK_HOST && !lock->no_bridge && is_no_family(ret)) {
		without.no_bridge = true;
		ret = take(netns, &without, err);
	}
	return ret < 0 ? hf_error_context(err, ret, "cannot take the lock") : ret;
}

/* Of ourselves, where there is no other owner. */
static void make_note(char text[HF_LOCK_NOTE_TEXT], const char *why, uint32_t timeout_s,
	const struct hf_process *owner)
{
	struct hf_lock_note note = {
		.pid = (uint32_t)getpid(), .time = (int64_t)time(NULL), .timeout_s = timeout_s};

	snprintf(note.why, sizeof(note.why), "%s", why);
	if (owner) {
		note.pid = (uint32_t)owner->inner_pid;
		note.start = owner->start;
	} else {
		/* 0, unknown, where it cannot be read: then the number alone must do. */
		hf_process_start(getpid(), &note.start);
	}
	hf_lock_note_format(text, &note);
}

/* Replaces the note of an earlier restore. */
static int leave_note(
	int netns, const uint8_t id[HF_ID_SIZE], const char *comment, struct hf_error *err)
{
	struct hf_batch batch = {0};
	int ret = hf_lock_rules_note(&batch, id, comment, false, err);

	if (ret == 0)
		ret = apply(netns, &batch, -EEXIST, err);
	if (ret == 1) {
		ret = hf_lock_rules_note(&batch, id, comment, true, err);
		if (ret == 0)
			ret = apply(netns, &batch, -EEXIST, err);
	}
	hf_batch_clear(&batch);
	return ret < 0 ? hf_error_context(err, ret, "cannot write into the lock") : 0;
}

static bool is_there(int netns, const uint8_t id[HF_ID_SIZE])
{
	struct hf_lock_list list = {0};
	bool found = false;

	hf_net_lock_tables(netns, &list, NULL);
	for (size_t i = 0; i < list.n && !found; i++)
		found = memcmp(list.locks[i].id, id, HF_ID_SIZE) == 0;
	hf_lock_list_clear(&list);
	return found;
}

/*
 * A restore looks first: to be refused since the table exists would cost the building of it, and a
 * grace period of RCU (__nf_tables_abort()).
 */
static int lock_or_note(
	int netns, const struct hf_lock *lock, const char *why, struct hf_error *err)
{
	bool leaves_note = strcmp(why, "restore") == 0;
	int ret = HF_LOCK_THERE, noted;

	if (!leaves_note || !is_there(netns, lock->image->id))
		ret = hf_net_lock(netns, lock, err);
	if (ret != HF_LOCK_THERE || !leaves_note)
		return ret;
	noted = leave_note(netns, lock->image->id, lock->comment, err);
	/* Removed meanwhile, as what an earlier restore had left. */
	if (noted == -ENOENT)
		return hf_net_lock(netns, lock, err);
	return noted < 0 ? noted : ret;
}

int hf_net_lock_image_of(int netns, const struct hf_image *image, const char *why,
	const struct hf_process *owner, struct hf_error *err)
{
	char comment[HF_LOCK_NOTE_TEXT];
	const struct hf_lock lock = {.place = HF_LOCK_NETNS, .image = image, .comment = comment};

	make_note(comment, why, 0, owner);
	return lock_or_note(netns, &lock, why, err);
}

int hf_net_lock_output(
	int netns, const struct hf_image *image, const char *why, struct hf_error *err)
{
	char comment[HF_LOCK_NOTE_TEXT];
	const struct hf_lock lock = {
		.place = HF_LOCK_NETNS, .image = image, .comment = comment, .input_open = true};

	make_note(comment, why, 0, NULL);
	return hf_net_lock(netns, &lock, err);
}

int hf_net_lock_input(int netns, const struct hf_image *image, struct hf_error *err)
{
	struct hf_batch batch = {0};
	int ret = hf_lock_rules_close(&batch, image, err);

	/* No error says that it was applied before; but it may be again. */
	if (ret == 0)
		ret = apply(netns, &batch, NO_ERROR, err);
	hf_batch_clear(&batch);
	return ret < 0 ? hf_error_context(err, ret, "cannot close the lock") : 0;
}

int hf_net_lock_image(
	int netns, const struct hf_image *image, const char *why, struct hf_error *err)
{
	return hf_net_lock_image_of(netns, image, why, NULL, err);
}

int hf_net_lock_host(int netns, const struct hf_image *image, const char *why, uint32_t timeout_s,
	struct hf_error *err)
{
	char comment[HF_LOCK_NOTE_TEXT];
	const struct hf_lock lock = {
		.place = HF_LOCK_HOST, .image = image, .comment = comment, .timeout_s = timeout_s};
	int ret;

	make_note(comment, why, timeout_s, NULL);
	ret = lock_or_note(netns, &lock, why, err);
	return ret < 0 ? hf_error_context(err, ret, "host") : ret;
}

static int remove_table(
	int netns, const uint8_t id[HF_ID_SIZE], enum hf_lock_table table, struct hf_error *err)
{
	struct hf_batch batch = {0};
	int ret = hf_lock_rules_remove(&batch, id, table, err);

	if (ret == 0)
		ret = apply(netns, &batch, -ENOENT, err);
	hf_batch_clear(&batch);
	return ret < 0 ? hf_error_context(err, ret, "cannot remove the lock") : 0;
}

int hf_net_unlock(int netns, const uint8_t id[HF_ID_SIZE], struct hf_error *err)
{
	return remove_table(netns, id, HF_LOCK_INET, err);
}

int hf_net_unlock_host(int netns, const uint8_t id[HF_ID_SIZE], struct hf_error *err)
{
	int ret = remove_table(netns, id, HF_LOCK_BRIDGE, err);
	int next = remove_table(netns, id, HF_LOCK_INET, ret < 0 ? NULL : err);

	return ret < 0 ? ret : next;
}

int hf_net_unlock_both(int netns, int host, const uint8_t id[HF_ID_SIZE], struct hf_error *err)
{
	int ret = host < 0 ? 0 : hf_net_unlock_host(host, id, err);
	int next = hf_net_unlock(netns, id, ret < 0 ? NULL : err);

	return ret < 0 ? ret : next;
}

int hf_net_unlock_at(
	int netns, const struct hf_lock_view *view, uint32_t generation, struct hf_error *err)
{
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	struct hf_batch batch = {0};
	int ret = sock;

	if (ret >= 0)
		ret = hf_lock_rules_remove_at(&batch, view->id, view->tables, generation, err);
	if (ret == 0)
		ret = hf_netlink_batch(sock, &batch);
	hf_batch_clear(&batch);
	if (ret == -ERESTART || ret == -ENOENT || ret == -ENOBUFS)
		return 1;
	return ret < 0 ? hf_error_sys(err, ret, "cannot remove the lock") : 0;
}

static bool is_overdue(const struct hf_lock_view *view)
{
	return view->note.timeout_s && time(NULL) >= view->note.time + view->note.timeout_s;
}

static bool is_empty(const struct hf_lock_view *view)
{
	return view->conns.n == 0 && view->listeners.n == 0;
}

int hf_net_unlock_expired(int netns, struct hf_error *err)
{
	struct hf_lock_list list = {0};
	int ret = hf_net_lock_tables(netns, &list, err), n = 0;
	bool overdue = false;

	for (size_t i = 0; i < list.n; i++)
		overdue |= is_overdue(&list.locks[i]);
	hf_lock_list_clear(&list);
	/* The clock may have been set: the elements know. */
	if (ret == 0 && overdue)
		ret = hf_net_locks(netns, &list, err);
	for (size_t i = 0; i < list.n && ret == 0; i++)
		if (is_overdue(&list.locks[i]) && is_empty(&list.locks[i])) {
			ret = hf_net_unlock_host(netns, list.locks[i].id, err);
			n++;
		}
	hf_lock_list_clear(&list);
	return ret < 0 ? ret : n;
}

int hf_net_lock_barrier(struct hf_error *err)
{
	return hf_grace_period_wait(err);
}
