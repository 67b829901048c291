// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/dump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "lib/cleanup.h"
#include "lib/tcp_state.h"
#include "plugin/aliases.h"
#include "plugin/at_exit.h"
#include "plugin/collect.h"
#include "plugin/guardian.h"
#include "plugin/prelude.h"
#include "plugin/save.h"
#include "sys/clock.h"
#include "sys/image_file.h"
#include "sys/net_addresses.h"
#include "sys/net_lock.h"
#include "sys/netns.h"
#include "sys/parallel.h"
#include "sys/tcp_repair.h"

/* Where the connections' packets come by, if that is another namespace than theirs. */
static int find_host(struct hf_dump *dump, struct hf_error *err)
{
	uint64_t here = 0, there = 0;
	int ret;

	dump->host = hf_netns_open(0, err);
	ret = dump->host < 0 ? dump->host : hf_net_unlock_expired(dump->host, err);
	if (ret >= 0)
		ret = hf_netns_inode(dump->host, &here, err);
	if (ret == 0)
		ret = hf_netns_inode(dump->netns, &there, err);
	if (ret < 0 || here != there)
		return ret;
	dump->image.netns_shared = true;
	hf_close_fd(&dump->host);
	dump->host = -1;
	return 0;
}

static int set_header(struct hf_dump *dump, struct hf_error *err)
{
	int ret = find_host(dump, err);

	if (ret == 0 && dump->host >= 0)
		ret = hf_net_addresses(dump->netns, HF_MAX_ADDRESSES, &dump->image.addresses,
			&dump->image.n_addresses, err);
	if (ret == 0 && dump->host >= 0)
		ret = hf_aliases_find(dump->host, &dump->image, err);
	if (ret < 0)
		return ret;
	dump->image.created = (uint64_t)time(NULL);
	snprintf(dump->image.writer, sizeof(dump->image.writer), "%s", PACKAGE_STRING);
	if (getrandom(dump->image.id, HF_ID_SIZE, 0) != HF_ID_SIZE)
		return hf_error_sys(err, -errno, "cannot make a checkpoint id");
	return 0;
}

/* Takes the lock in the connections' namespace in two steps, and lets the peers pause between them.
 */
static int lock_with_prelude(struct hf_dump *dump, struct hf_error *err)
{
	const struct hf_prelude_with with = {.netns = dump->netns,
		.image = &dump->image,
		.socks = dump->socks,
		.shared = dump->peers,
		.limit_ms = dump->config.prelude_limit_ms};
	int ret = hf_net_lock_output(dump->netns, &dump->image, "checkpoint", err);

	if (ret < 0)
		return ret;
	dump->page->paused = true;
	hf_prelude(&dump->prelude, &with);
	dump->image.peers_paused = dump->prelude.n_told > 0;
	return hf_net_lock_input(dump->netns, &dump->image, err);
}

/* Only after the tasks' death it will be needed; but now a failure does no harm. */
static int take_host_lock(void *context, struct hf_error *err)
{
	struct hf_dump *dump = context;
	int ret = dump->host < 0 ? 0
				 : hf_net_lock_host(dump->host, &dump->image, "checkpoint",
					   dump->config.lock_timeout_s, err);

	return ret < 0 ? ret : 0;
}

/* In the network namespaces of the host and of the container. */
static int take_both_locks(struct hf_dump *dump, struct hf_error *err)
{
	struct hf_background host;
	int ret, of_host;

	hf_background_start(&host, take_host_lock, dump);
	ret = hf_net_lock_image(dump->netns, &dump->image, "checkpoint", err);
	of_host = hf_background_end(&host, ret < 0 ? NULL : err);
	return ret < 0 ? ret : of_host;
}

static int lock(struct hf_dump *dump, struct hf_error *err)
{
	uint64_t start = hf_now_us();
	int ret;

	/* Also where it seems to fail: should the kernel's answers be lost, the lock may be there.
	 */
	dump->locked = true;
	if (dump->config.prelude && hf_prelude_needed(&dump->image))
		ret = lock_with_prelude(dump, err);
	else
		ret = take_both_locks(dump, err);
	dump->lock_us = hf_now_us() - start;
	return ret;
}

/* After a prelude: not before the connections were read, since it would hold what peers are told
 * until then. */
static int lock_host(struct hf_dump *dump, struct hf_error *err)
{
	uint64_t start = hf_now_us();
	int ret = take_host_lock(dump, err);

	dump->lock_us += hf_now_us() - start;
	return ret;
}

/* What the guardian needs to know of what is read after it was started. */
static int share_all(struct hf_dump *dump, struct hf_error *err)
{
	int ret = hf_guardian_page_new(&dump->page, err);

	return ret < 0 ? ret : hf_guardian_peers_new(&dump->peers, dump->image.n_conns, err);
}

static int start_guardian(struct hf_dump *dump, struct hf_error *err)
{
	const struct hf_guarded guarded = {.job = HF_GUARDIAN_DUMP,
		.image = &dump->image,
		.socks = dump->socks,
		.tree = &dump->tree,
		.netns = dump->netns,
		.host = dump->host,
		.peers = dump->peers,
		.kick = dump->config.kick,
		.page = dump->page};

	return hf_guardian_start(&dump->guardian, &guarded, err);
}

/* What a reading that failed may have left changed; it has not always been able to undo that. */
static int thaw_all(const struct hf_dump *dump, struct hf_error *err)
{
	int first = 0;

	hf_tcp_give_back(&dump->page->borrowed);
	for (uint32_t i = 0; i < dump->image.n_conns; i++) {
		const struct hf_conn *conn = &dump->image.conns[i];
		int ret = 0;

		if (dump->socks[i] >= 0 && hf_tcp_row(conn->state, conn->closed)->connected)
			ret = hf_tcp_thaw(dump->socks[i], conn->reuseaddr, first ? NULL : err);
		first = first ? first : ret;
	}
	return first;
}

int hf_dump(struct hf_dump *dump, pid_t root, int image_dir, const struct hf_config *config,
	struct hf_error *err)
{
	uint64_t start = hf_now_us();
	bool anything;
	int ret;

	memset(dump, 0, sizeof(*dump));
	dump->guardian = HF_GUARDIAN_NONE;
	dump->prelude = HF_PRELUDE_NONE;
	dump->image_dir = image_dir;
	dump->config = *config;
	dump->host = -1;
	dump->netns = hf_netns_open(root, err);
	ret = dump->netns < 0 ? dump->netns : hf_tree_read(root, &dump->tree, err);
	if (ret == 0)
		ret = hf_collect(dump, err);
	if (ret == 0)
		ret = set_header(dump, err);
	anything = dump->image.n_conns > 0;
	if (ret == 0 && dump->has_orphans)
		ret = hf_drain_orphans(
			dump->netns, &dump->image, config->orphan_timeout_ms, &dump->orphans, err);
	if (ret == 0 && anything)
		ret = share_all(dump, err);
	if (ret == 0 && anything)
		ret = start_guardian(dump, err);
	if (ret == 0 && anything)
		ret = lock(dump, err);
	if (ret == 0 && anything)
		ret = hf_save_options(dump, err);
	if (ret == 0)
		ret = hf_save_image(dump, err);
	hf_prelude_end(&dump->prelude);
	if (ret == 0 && dump->page && dump->page->paused)
		ret = lock_host(dump, err);
	dump->frozen_us = hf_now_us() - start;
	if (ret < 0)
		hf_dump_rollback(dump, NULL);
	return ret;
}

bool hf_dump_has_task(const struct hf_dump *dump, pid_t pid)
{
	for (size_t i = 0; i < dump->tree.n; i++)
		if (dump->tree.tasks[i].pid == pid)
			return true;
	return false;
}

static void free_all(struct hf_dump *dump)
{
	for (uint32_t i = 0; i < dump->image.n_conns; i++)
		hf_close_fd(&dump->socks[i]);
	free(dump->socks);
	dump->socks = NULL;
	hf_close_fd(&dump->netns);
	hf_close_fd(&dump->host);
	dump->netns = dump->host = -1;
	hf_guardian_page_free(dump->page);
	dump->page = NULL;
	hf_guardian_peers_free(dump->peers, dump->image.n_conns);
	dump->peers = NULL;
	free(dump->is_read);
	dump->is_read = NULL;
	hf_image_clear(&dump->image);
	hf_tree_clear(&dump->tree);
}

/* A guardian that somebody has killed gets a successor, or nobody would see what becomes of the
 * tasks. */
static int commit(struct hf_dump *dump, struct hf_error *err)
{
	int ret;

	dump->page->complete = true;
	ret = hf_guardian_commit(&dump->guardian, err);
	if (ret == 0)
		return 0;
	hf_guardian_close(&dump->guardian);
	ret = start_guardian(dump, err);
	return ret < 0 ? ret : hf_guardian_commit(&dump->guardian, err);
}

int hf_dump_commit(struct hf_dump *dump, struct hf_error *err)
{
	int ret = dump->guardian.control >= 0 ? commit(dump, err) : 0;

	if (dump->locked)
		hf_at_exit_unlock(
			&dump->tree, dump->netns, dump->host, dump->image.id, &dump->guardian);
	free_all(dump);
	return ret;
}

int hf_dump_rollback(struct hf_dump *dump, struct hf_error *err)
{
	int ret = dump->locked ? thaw_all(dump, err) : 0, next = 0;

	if (dump->locked)
		next = hf_net_unlock_both(
			dump->netns, dump->host, dump->image.id, ret ? NULL : err);
	ret = ret ? ret : next;
	/* It does the same once more. */
	if (ret < 0)
		hf_guardian_close(&dump->guardian);
	else
		hf_guardian_dismiss(&dump->guardian);
	if (dump->has_image) {
		next = hf_image_file_remove(dump->image_dir, ret ? NULL : err);
		ret = ret ? ret : next;
	}
	free_all(dump);
	return ret;
}
