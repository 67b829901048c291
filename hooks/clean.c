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

#define OWN_NETNS "/proc/self/ns/net" /* of the runtime: the host */
#define STEP_MS   20
#define AT_ONCE   16 /* rounds without a pause */

/* Taken by one, or found there by one. A host's, which expires, goes with that of its container. */
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

/* What is judged by a survey holds for the rules as they were before it: somebody may just be
 * trying the restore again. */
static int look(int netns, const char *path, uint32_t *generation, struct hf_survey *survey,
	struct hf_error *err)
{
	int ret = hf_net_generation(netns, generation, err);

	memset(survey, 0, sizeof(*survey));
	if (ret == 0) {
		ret = hf_survey(survey, path, false);
		if (ret < 0)
			*err = survey->err;
	}
	return ret;
}

/* The other half of a lock, where the way to its namespace begins. 1: it must stay, or something
 * has changed. Guardians are no matter: they may be those of any container. */
static int remove_host_half(const uint8_t id[HF_ID_SIZE], struct hf_error *err)
{
	hf_autoclose int host = hf_netns_open(0, err);
	struct hf_survey survey = {0};
	uint32_t generation;
	int ret = host < 0 ? host : look(host, OWN_NETNS, &generation, &survey, err);

	for (size_t i = 0; i < survey.n_locks && ret == 0; i++) {
		const struct hf_found_lock *lock = &survey.locks[i];

		if (lock->view.note.timeout_s == 0 || memcmp(lock->view.id, id, HF_ID_SIZE) != 0)
			continue;
		ret = goes_on(lock) ? 1 : hf_net_unlock_at(host, &lock->view, generation, err);
		break;
	}
	hf_survey_clear(&survey);
	return ret;
}

/* One round. Returns how many are left that may be removed in a moment; *again: at once. */
static int remove_some(int netns, const char *path, bool *again, struct hf_error *err)
{
	struct hf_survey survey;
	uint32_t generation;
	int ret = look(netns, path, &generation, &survey, err), left = 0;

	for (size_t i = 0; i < survey.n_locks && ret == 0; i++) {
		const struct hf_found_lock *lock = &survey.locks[i];

		if (!is_of_restore(&lock->view) || goes_on(lock))
			continue;
		left++;
		if (*again || lock->situation == HF_LOCK_BUSY || lock->n_open)
			continue;
		ret = remove_host_half(lock->view.id, err);
		if (ret == 0)
			ret = hf_net_unlock_at(netns, &lock->view, generation, err);
		/* Of the others it is to be asked anew. */
		*again = ret >= 0;
		left -= ret == 0;
		ret = ret > 0 ? 0 : ret;
	}
	hf_survey_clear(&survey);
	return ret < 0 ? ret : left;
}

static int remove_all(int netns, const char *path, unsigned int patience_ms, struct hf_error *err)
{
	uint64_t end = hf_now_us() + 1000 * (uint64_t)patience_ms;
	int left = 1;

	for (unsigned int round = 1; left > 0; round++) {
		bool again = false;

		left = remove_some(netns, path, &again, err);
		again = again && round < AT_ONCE;
		if (!again && hf_now_us() >= end)
			break;
		if (!again && left > 0)
			usleep(1000 * STEP_MS);
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
		ret = remove_all(fd, netns, patience_ms, &why);
	return ret < 0 ? hf_error_set(
				 err, ret, "the network namespace %.200s: %.200s", netns, why.text)
		       : 0;
}
