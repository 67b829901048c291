// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/restore.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "plugin/guardian.h"
#include "plugin/rebuild.h"
#include "plugin/resume.h"
#include "sys/clock.h"
#include "sys/conntrack.h"
#include "sys/image_file.h"
#include "sys/net_lock.h"
#include "sys/netns.h"
#include "sys/netns_list.h"
#include "sys/pidfd.h"
#include "sys/task_fds.h"
#include "sys/tcp_repair.h"
#include "sys/tuples.h"

#define LIVE_ATTEMPTS   100 /* of 10 ms */
#define UNLOCK_ATTEMPTS 4

static int lock(struct hf_restore *restore, int netns, struct hf_error *err)
{
	uint64_t start = hf_now_us();
	int ret = hf_net_lock_image(netns, &restore->image, "restore", err);

	if (ret < 0)
		return ret;
	hf_netns_inode(netns, &restore->netns_inode, NULL);
	restore->locked = true;
	restore->lock_was_there = ret == HF_LOCK_THERE;
	restore->lock_us = hf_now_us() - start;
	return 0;
}

/*
 * The lock would cut off a container that runs: somebody may restore a checkpoint twice. For a
 * moment after a dump its guardian still holds the sockets.
 */
static int refuse_running(int netns, const struct hf_image *image, struct hf_error *err)
{
	int n = hf_tuples_live(netns, image, err);

	for (int attempt = 0; n > 0 && attempt < LIVE_ATTEMPTS; attempt++) {
		usleep(10000);
		n = hf_tuples_live(netns, image, err);
	}
	return n > 0 ? hf_error_set(err, -EBUSY,
			       "%d of its connections are in use in this network namespace: the "
			       "container is running already",
			       n)
		     : n;
}

/* Where the connections will live: CRIU's own namespace, or the one that the runtime passed. */
static int target_netns(const struct hf_restore *restore, struct hf_error *err)
{
	return restore->image.netns_shared ? hf_netns_open(0, err) : hf_netns_inherited(err);
}

/*
 * A namespace that is not there yet, or of which it is not told which it is, gets its lock when the
 * tasks exist: from the OCI hook, in hf_restore_forked(), or at the latest in hf_restore(). The
 * host has one since the dump, if that was here.
 */
static int prepare_locks(struct hf_restore *restore, struct hf_error *err)
{
	hf_autoclose int netns = -1;
	int ret;

	restore->host = hf_netns_open(0, err);
	if (restore->host < 0)
		return restore->host;
	ret = hf_net_unlock_expired(restore->host, err);
	netns = ret < 0 ? ret : target_netns(restore, err);
	if (netns >= 0)
		ret = refuse_running(netns, &restore->image, err);
	else if (netns != -ENOENT && netns != -ENOTUNIQ)
		ret = netns;
	if (ret >= 0 && !restore->image.netns_shared)
		ret = hf_net_lock_host(restore->host, &restore->image, "restore",
			restore->config.lock_timeout_s, err);
	restore->host_locked = ret == HF_LOCK_TAKEN && !restore->image.netns_shared;
	if (ret >= 0 && netns >= 0)
		ret = lock(restore, netns, err);
	if (ret < 0 && restore->host_locked)
		hf_net_unlock_host(restore->host, restore->image.id, NULL);
	return ret < 0 ? ret : 0;
}

int hf_restore_prepare(struct hf_restore *restore, int image_dir, const struct hf_config *config,
	struct hf_error *err)
{
	int ret;

	memset(restore, 0, sizeof(*restore));
	restore->config = *config;
	restore->host = -1;
	restore->file = hf_image_file_open(image_dir, err);
	if (restore->file < 0)
		return restore->file;
	ret = hf_image_file_read(restore->file, &restore->image, err);
	if (ret == 0 && restore->image.n_conns > 0)
		ret = prepare_locks(restore, err);
	if (ret < 0)
		hf_restore_clear(restore);
	return ret == -ENOENT ? -EIO : ret;
}

int hf_restore_forked(struct hf_restore *restore, struct hf_error *err)
{
	hf_autoclose int netns = -1;
	int ret;

	if (restore->locked || restore->image.n_conns == 0)
		return 0;
	netns = hf_netns_made(err);
	/* It shows when the connections are restored. */
	if (netns == -ENOENT || netns == -ENOTUNIQ)
		return 0;
	ret = netns < 0 ? netns : lock(restore, netns, err);
	return ret < 0 ? ret : 1;
}

/* The sockets of the restored tree, one a connection of the image. */
struct target {
	struct hf_restore *restore;
	struct hf_tree tree;
	int netns;
	struct hf_guardian guardian;
	struct hf_guardian_page *page;
	int *socks;   /* -1: left alone */
	bool *closed; /* could not be had here */
	enum hf_resend *resend;
};

/* `pidfds` has one a task, opened when needed. */
static int get_socket(
	const struct target *target, const struct hf_conn *conn, int *pidfds, struct hf_error *err)
{
	const struct hf_holder *holder = &conn->holders[0];
	const struct hf_task *task = hf_tree_find(&target->tree, holder);
	int *pidfd;

	if (!task)
		return hf_error_set(err, -ESRCH, "the tree has no task with pid %u",
			holder->pid[holder->levels - 1]);
	pidfd = &pidfds[task - target->tree.tasks];
	if (*pidfd < 0)
		*pidfd = hf_pidfd_open(task->pid, err);
	return *pidfd < 0 ? *pidfd : hf_pidfd_getfd(*pidfd, (int)holder->fd, err);
}

static int get_all(struct target *target, int *pidfds, struct hf_error *err)
{
	const struct hf_image *image = &target->restore->image;

	for (uint32_t i = 0; i < image->n_conns; i++) {
		target->socks[i] = get_socket(target, &image->conns[i], pidfds, err);
		if (target->socks[i] < 0)
			return hf_error_context(err, target->socks[i], "record %u", i + 1);
	}
	return 0;
}

static int *no_fds(size_t n)
{
	int *fds = malloc((n + 1) * sizeof(*fds));

	for (size_t i = 0; fds && i < n; i++)
		fds[i] = -1;
	return fds;
}

static int get_sockets(struct target *target, struct hf_error *err)
{
	uint32_t n = target->restore->image.n_conns;
	hf_autofree int *pidfds = no_fds(target->tree.n);
	int ret;

	/* In any case: what is in it will be closed. */
	target->socks = no_fds(n);
	target->closed = calloc((size_t)n + 1, sizeof(*target->closed));
	target->resend = calloc((size_t)n + 1, sizeof(*target->resend));
	if (!target->socks || !target->closed || !target->resend || !pidfds)
		return hf_error_sys(err, -ENOMEM, "cannot restore the connections");
	ret = get_all(target, pidfds, err);
	for (size_t i = 0; i < target->tree.n; i++)
		hf_close_fd(&pidfds[i]);
	return ret;
}

static int start_guardian(struct target *target, struct hf_error *err)
{
	const struct hf_guarded guarded = {.job = HF_GUARDIAN_RESTORE,
		.image = &target->restore->image,
		.socks = target->socks,
		.tree = &target->tree,
		.netns = target->netns,
		.host = target->restore->host,
		.page = target->page,
		.peers = target->restore->image.conns,
		.kick = target->restore->config.kick};

	return hf_guardian_start(&target->guardian, &guarded, err);
}

static int rebuild_all(struct target *target, struct hf_error *err)
{
	const struct hf_rebuild rebuild = {
		target->restore, target->netns, target->socks, target->closed, target->resend};
	uint64_t start = hf_now_us();
	int ret = hf_rebuild(&rebuild, err);

	target->restore->rebuild_us = hf_now_us() - start;
	return ret;
}

static int try_unlock(const struct target *target, struct hf_error *err)
{
	const struct hf_restore *restore = target->restore;
	int ret = hf_net_unlock_host(restore->host, restore->image.id, err);

	return ret < 0 ? ret : hf_net_unlock(target->netns, restore->image.id, err);
}

/* The application goes on from here, even if we do not; unless we say that it is to end. */
static int unlock(struct target *target, struct hf_error *err)
{
	struct hf_restore *restore = target->restore;
	int ret;

	target->page->complete = true;
	ret = try_unlock(target, err);
	for (int i = 0; ret < 0 && i < UNLOCK_ATTEMPTS; i++) {
		usleep(1000u << i);
		ret = try_unlock(target, err);
	}
	restore->unlocked = ret == 0;
	target->page->complete = restore->unlocked;
	return ret;
}

static int restore_tree(struct target *target, pid_t root, struct hf_error *err)
{
	struct hf_restore *restore = target->restore;
	int ret = hf_tree_read(root, &target->tree, err);

	if (ret < 0)
		return ret;
	target->netns = hf_netns_open(root, err);
	if (target->netns < 0)
		return target->netns;
	ret = hf_sock_options_writer_init(&restore->options, target->netns, err);
	if (ret < 0)
		return ret;
	ret = get_sockets(target, err);
	if (ret == 0)
		ret = hf_guardian_page_new(&target->page, err);
	if (ret == 0)
		target->page->paused = restore->image.peers_paused;
	if (ret == 0)
		ret = start_guardian(target, err);
	if (ret == 0 && !restore->locked)
		ret = lock(restore, target->netns, err);
	if (ret == 0)
		ret = hf_tuples_clear(target->netns, &restore->image, err);
	if (ret == 0)
		ret = rebuild_all(target, err);
	/* Most hosts do not need it: a failure is not one of the restore. */
	if (ret == 0 && !restore->image.netns_shared)
		hf_conntrack_tell(restore->host, &restore->image, &restore->tracking);
	return ret == 0 ? unlock(target, err) : ret;
}

static int resume_all(const struct target *target, struct hf_error *err)
{
	const struct hf_resume resume = {.restore = target->restore,
		.netns = target->netns,
		.socks = target->socks,
		.closed = target->closed,
		.resend = target->resend,
		.guardian = &target->guardian,
		.page = target->page};

	return hf_resume(&resume, err);
}

/* The tasks never ran, and their sockets are in repair mode or closed: they disappear without a
 * packet. */
static void kill_tree(const struct target *target, pid_t root)
{
	for (size_t i = 0; i < target->tree.n; i++)
		kill(target->tree.tasks[i].pid, SIGKILL);
	if (target->tree.n == 0)
		kill(root, SIGKILL);
}

int hf_restore(struct hf_restore *restore, pid_t root, struct hf_error *err)
{
	struct target target = {.restore = restore, .netns = -1, .guardian = HF_GUARDIAN_NONE};
	int ret = 0;

	if (restore->image.n_conns == 0)
		return 0;
	ret = restore_tree(&target, root, err);
	if (ret < 0)
		kill_tree(&target, root);
	else
		ret = resume_all(&target, err);
	/* It resumes once more what is still in repair mode. */
	if (ret < 0 && restore->unlocked)
		hf_guardian_close(&target.guardian);
	else
		hf_guardian_dismiss(&target.guardian);
	for (uint32_t i = 0; target.socks && i < restore->image.n_conns; i++)
		hf_close_fd(&target.socks[i]);
	free(target.socks);
	free(target.closed);
	free(target.resend);
	hf_close_fd(&target.netns);
	hf_tree_clear(&target.tree);
	hf_guardian_page_free(target.page);
	return ret;
}

int hf_restore_spare_original(struct hf_restore *restore, struct hf_error *err)
{
	int n, ret = 0;

	if (!restore->host_locked || restore->unlocked)
		return 0;
	n = hf_tuples_live_elsewhere(restore->netns_inode, &restore->image, err);
	if (n > 0)
		ret = hf_net_unlock_host(restore->host, restore->image.id, err);
	return ret < 0 ? ret : n;
}

void hf_restore_clear(struct hf_restore *restore)
{
	hf_image_clear(&restore->image);
	hf_close_fd(&restore->file);
	hf_close_fd(&restore->host);
	restore->file = restore->host = -1;
}
