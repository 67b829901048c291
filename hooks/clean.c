// SPDX-License-Identifier: GPL-2.0-or-later
#include "hooks/clean.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/clock.h"
#include "sys/net_lock.h"
#include "sys/netns.h"
#include "sys/survey.h"

#define STEP_MS 20

/* Taken by one, or found there by one. A host's expires, and is nothing of one container. */
static bool is_of_restore(const struct hf_lock_view *view)
{
	return view->note.timeout_s == 0 &&
	       (strcmp(view->note.why, "restore") == 0 || view->restore.pid != 0);
}

/* Almost always there is none, and the processes need not be looked at. 1: there is. */
static int any_of_restore(int netns, struct hf_error *err)
{
	struct hf_lock_list list = {0};
	int ret = hf_net_locks(netns, &list, err);

	for (size_t i = 0; i < list.n && ret == 0; i++)
		ret = is_of_restore(&list.locks[i]);
	hf_lock_list_clear(&list);
	return ret;
}

/* CRIU is at it, and not only a guardian, which ends with its restore. */
static bool goes_on(const struct hf_found_lock *lock)
{
	return lock->situation == HF_LOCK_BUSY && !hf_process_is_guardian(&lock->busy);
}

/* With its other half on the host, where the way to the namespace begins. */
static int remove_lock(const struct hf_found_lock *lock, struct hf_error *err)
{
	hf_autoclose int host = hf_netns_open(0, err);
	int ret = host < 0 ? host : hf_net_unlock(lock->netns->fd, lock->view.id, err);

	return ret < 0 ? ret : hf_net_unlock_host(host, lock->view.id, err);
}

/* One round. Returns how many are left that may be removed in a moment. */
static int remove_some(const char *netns, struct hf_error *err)
{
	struct hf_survey survey;
	int ret = hf_survey(&survey, netns, false), left = 0;

	if (ret < 0)
		*err = survey.err;
	for (size_t i = 0; i < survey.n_locks && ret == 0; i++) {
		const struct hf_found_lock *lock = &survey.locks[i];

		if (!is_of_restore(&lock->view) || goes_on(lock))
			continue;
		if (lock->situation == HF_LOCK_BUSY || lock->n_open)
			left++;
		else
			ret = remove_lock(lock, err);
	}
	hf_survey_clear(&survey);
	return ret < 0 ? ret : left;
}

static int remove_all(const char *netns, unsigned int patience_ms, struct hf_error *err)
{
	uint64_t end = hf_now_us() + 1000 * (uint64_t)patience_ms;
	int left = remove_some(netns, err);

	while (left > 0 && hf_now_us() < end) {
		usleep(1000 * STEP_MS);
		left = remove_some(netns, err);
	}
	return left > 0 ? hf_error_set(err, -EBUSY,
				  "a failed restore has left %d lock%s whose connections are in "
				  "use, or a guardian is: see holdfast status",
				  left, left == 1 ? "" : "s")
			: left;
}

int hf_clean(const char *netns, unsigned int patience_ms, struct hf_error *err)
{
	struct hf_error why = HF_ERROR_INIT;
	hf_autoclose int fd = hf_netns_open_path(netns, &why);
	int ret = fd;

	if (ret == -ENOENT || ret == -ESRCH || ret == -EINVAL)
		return 0;
	if (ret >= 0)
		ret = any_of_restore(fd, &why);
	if (ret > 0)
		ret = remove_all(netns, patience_ms, &why);
	return ret < 0 ? hf_error_set(
				 err, ret, "the network namespace %.200s: %.200s", netns, why.text)
		       : 0;
}
