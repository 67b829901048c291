// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The order in which things are looked at matters, since dumps and restores may go on meanwhile:
 *
 *   sockets     in repair mode. Who is seen to have made them so afterwards is still at it.
 *   locks
 *   processes   A dump runs since before its lock was made, so one that does not run now is over,
 *               and its guardian as well.
 *   owners      of the locks' connections
 *   processes   again: the connections may be those of a restore under an old lock, whose guardian
 *               runs from before the first is there until the lock is gone
 */
#include "sys/survey.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "sys/net_lock.h"
#include "sys/netns.h"
#include "sys/sock_diag.h"

/* The first error is kept. */
static void note_error(struct hf_survey *survey, int ret, const struct hf_error *err)
{
	if (ret < 0 && survey->err.code == 0) {
		survey->err = *err;
		survey->err.code = ret;
	}
}

const char *hf_situation_name(enum hf_situation situation)
{
	static const char *const names[] = {[HF_LOCK_BUSY] = "busy",
		[HF_LOCK_WAITING] = "waiting",
		[HF_LOCK_STALE] = "stale",
		[HF_LOCK_EXPIRED] = "expired"};

	return names[situation];
}

/* A fd for every namespace and every socket that is to be put right. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void find_namespaces(
	struct hf_survey *survey, const struct hf_processes *processes, const char *path)
{
	struct hf_error err = HF_ERROR_INIT;
	int ret = path ? hf_netns_list_one(path, &survey->spaces, &err)
		       : hf_netns_list(processes, &survey->spaces, &err);

	note_error(survey, ret, &err);
}

static void find_frozen(struct hf_survey *survey, const struct hf_processes *processes, bool one)
{
	struct hf_error err = HF_ERROR_INIT;
	int ret = 0;

	if (one && survey->spaces.n == 0)
		return;
	ret = hf_frozen_find(
		processes, one ? survey->spaces.all[0].inode : 0, &survey->frozen, &err);
	note_error(survey, ret, &err);
}

static int add_lock(struct hf_survey *survey, const struct hf_netns_entry *netns,
	const struct hf_lock_view *view)
{
	bool expired = view->note.timeout_s && view->conns.n == 0 && view->listeners.n == 0;
	struct hf_found_lock *grown =
		realloc(survey->locks, (survey->n_locks + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	survey->locks = grown;
	survey->locks[survey->n_locks++] = (struct hf_found_lock){.netns = netns,
		.view = *view,
		.situation = expired ? HF_LOCK_EXPIRED : HF_LOCK_WAITING};
	return 0;
}

static void find_locks(struct hf_survey *survey, const struct hf_netns_entry *netns)
{
	struct hf_error err = HF_ERROR_INIT;
	struct hf_lock_list list = {0};
	int ret = hf_net_locks(netns->fd, &list, &err);
	size_t taken = 0;

	if (ret < 0)
		hf_error_context(&err, ret, "%s", netns->path);
	while (ret == 0 && taken < list.n) {
		ret = add_lock(survey, netns, &list.locks[taken]);
		if (ret < 0)
			hf_error_sys(&err, ret, "cannot list the locks");
		else
			memset(&list.locks[taken++], 0, sizeof(list.locks[0]));
	}
	hf_lock_list_clear(&list);
	note_error(survey, ret, &err);
}

static bool is_owner(const struct hf_process *process, const struct hf_lock_note *note)
{
	return note->pid != 0 && (uint32_t)process->inner_pid == note->pid &&
	       (note->start == 0 || note->start == process->start);
}

/* A guardian whose namespace this is. */
static const struct hf_process *find_guardian(
	const struct hf_processes *processes, const struct hf_netns_entry *netns)
{
	for (size_t i = 0; i < processes->n; i++)
		if (hf_process_is_guardian(&processes->all[i]) &&
			hf_process_holds(processes->all[i].pid, netns->fd))
			return &processes->all[i];
	return NULL;
}

static void find_busy(const struct hf_processes *processes, struct hf_found_lock *lock)
{
	const struct hf_process *guardian;

	if (lock->situation == HF_LOCK_BUSY || lock->situation == HF_LOCK_EXPIRED)
		return;
	for (size_t i = 0; i < processes->n; i++)
		if (is_owner(&processes->all[i], &lock->view.note) ||
			is_owner(&processes->all[i], &lock->view.restore)) {
			lock->owner_runs = is_owner(&processes->all[i], &lock->view.note);
			lock->situation = HF_LOCK_BUSY;
			lock->busy = processes->all[i];
			return;
		}
	guardian = find_guardian(processes, lock->netns);
	if (guardian) {
		lock->situation = HF_LOCK_BUSY;
		lock->busy = *guardian;
	}
}

static bool is_hosts(const struct hf_found_lock *lock)
{
	return lock->view.note.timeout_s != 0;
}

/* A lock without connections cuts off whoever listens. */
static void count_open(struct hf_found_lock *lock, const struct hf_diag *diag)
{
	const struct hf_lock_view *view = &lock->view;
	bool listens = false;

	for (size_t i = 0; i < diag->n; i++) {
		const struct hf_diag_socket *sock = &diag->sockets[i];

		if (sock->inode == 0)
			continue;
		if (sock->state == HF_TCP_LISTEN)
			listens = listens || hf_lock_has_listener(view, sock->family, &sock->local);
		else if (hf_lock_has_conn(view, sock->family, &sock->local, &sock->peer))
			lock->n_open++;
	}
	/* Elsewhere somebody else may listen. */
	listens = listens && !is_hosts(lock);
	if (lock->situation == HF_LOCK_WAITING && (lock->n_open || (view->conns.n == 0 && listens)))
		lock->situation = HF_LOCK_STALE;
}

/* A host's lock is about connections of other namespaces. */
static bool concerns(const struct hf_found_lock *lock, const struct hf_netns_entry *netns)
{
	return is_hosts(lock) ? lock->netns != netns : lock->netns == netns;
}

/* The lock of the namespace, if that is still there, tells whose the host's is. */
static void follow(const struct hf_survey *survey, struct hf_found_lock *hosts)
{
	for (size_t i = 0; i < survey->n_locks; i++) {
		const struct hf_found_lock *other = &survey->locks[i];

		if (!is_hosts(other) && other->situation == HF_LOCK_STALE &&
			hosts->situation == HF_LOCK_WAITING &&
			memcmp(other->view.id, hosts->view.id, HF_ID_SIZE) == 0)
			hosts->situation = HF_LOCK_STALE;
	}
}

static void find_owners(struct hf_survey *survey)
{
	for (size_t i = 0; i < survey->spaces.n; i++) {
		const struct hf_netns_entry *netns = &survey->spaces.all[i];
		struct hf_error err = HF_ERROR_INIT;
		struct hf_diag diag = {0};
		int ret = survey->n_locks ? hf_sock_diag(netns->fd, &diag, &err) : 0;

		for (size_t k = 0; k < survey->n_locks; k++)
			if (concerns(&survey->locks[k], netns))
				count_open(&survey->locks[k], &diag);
		note_error(survey, ret, &err);
		hf_diag_clear(&diag);
	}
	for (size_t i = 0; i < survey->n_locks; i++)
		if (is_hosts(&survey->locks[i]))
			follow(survey, &survey->locks[i]);
}

/*
 * CRIU, if it may be making this process at present: it is an ancestor, or a sibling of one that is
 * older (runc asks CRIU for children of its own). Nothing else of a restored process shows that.
 */
static const struct hf_process *find_maker(
	const struct hf_processes *processes, const struct hf_process *process)
{
	while (process && process->parent > 1) {
		const struct hf_process *parent = hf_process_find(processes, process->parent);

		if (parent && hf_process_is_criu(parent))
			return parent;
		for (size_t i = 0; i < processes->n; i++) {
			const struct hf_process *other = &processes->all[i];

			if (hf_process_is_criu(other) && other->parent == process->parent &&
				other->start <= process->start)
				return other;
		}
		process = parent;
	}
	return NULL;
}

static void set_hands(
	struct hf_found_socket *sock, enum hf_hands hands, const struct hf_process *busy)
{
	sock->hands = hands;
	if (busy)
		sock->busy = *busy;
}

static void find_hands(const struct hf_survey *survey, const struct hf_processes *processes,
	struct hf_found_socket *sock)
{
	const struct hf_process *owner = hf_process_find(processes, sock->frozen->pid);
	const struct hf_process *tracer, *busy;

	if (!owner || sock->hands != HF_HANDS_NONE)
		return;
	sock->owner = *owner;
	tracer = owner->tracer ? hf_process_find(processes, owner->tracer) : NULL;
	for (size_t i = 0; i < survey->n_locks; i++)
		if (survey->locks[i].netns->inode == sock->frozen->netns &&
			survey->locks[i].situation == HF_LOCK_BUSY) {
			set_hands(sock, HF_HANDS_CRIU, &survey->locks[i].busy);
			return;
		}
	busy = tracer && hf_process_is_criu(tracer) ? tracer : find_maker(processes, owner);
	if (!busy && sock->netns)
		busy = find_guardian(processes, sock->netns);
	if (busy)
		set_hands(sock, HF_HANDS_CRIU, busy);
	else if (owner->tracer)
		set_hands(sock, HF_HANDS_TRACED, tracer);
	else if (hf_process_is_stopped(owner))
		set_hands(sock, HF_HANDS_STOPPED, NULL);
}

/* Those whose owners are still there. */
static void judge_sockets(struct hf_survey *survey, const struct hf_processes *first,
	const struct hf_processes *second, bool one)
{
	survey->sockets = calloc(survey->frozen.n + 1, sizeof(*survey->sockets));
	for (size_t i = 0; survey->sockets && i < survey->frozen.n; i++) {
		const struct hf_frozen *frozen = &survey->frozen.all[i];
		struct hf_found_socket sock = {
			.frozen = frozen, .netns = hf_netns_find(&survey->spaces, frozen->netns)};

		find_hands(survey, first, &sock);
		find_hands(survey, second, &sock);
		if (hf_process_find(second, frozen->pid) && (sock.netns || !one))
			survey->sockets[survey->n_sockets++] = sock;
	}
	if (!survey->sockets)
		note_error(survey, -ENOMEM, &(struct hf_error){-ENOMEM, "out of memory"});
}

/* Without knowing who runs, nothing that was found can be judged. */
static int read_processes(struct hf_survey *survey, struct hf_processes *processes)
{
	struct hf_error err = HF_ERROR_INIT;
	int ret = hf_processes_read(processes, &err);

	note_error(survey, ret, &err);
	return ret;
}

static void clear_locks(struct hf_survey *survey)
{
	for (size_t i = 0; i < survey->n_locks; i++)
		hf_lock_view_clear(&survey->locks[i].view);
	free(survey->locks);
	survey->locks = NULL;
	survey->n_locks = 0;
}

static int judge(struct hf_survey *survey, bool with_sockets, bool one)
{
	struct hf_processes first = {0}, second = {0};
	int ret = read_processes(survey, &first);

	for (size_t i = 0; ret == 0 && i < survey->n_locks; i++)
		find_busy(&first, &survey->locks[i]);
	if (ret == 0) {
		find_owners(survey);
		ret = read_processes(survey, &second);
	}
	for (size_t i = 0; ret == 0 && i < survey->n_locks; i++)
		find_busy(&second, &survey->locks[i]);
	if (ret == 0 && with_sockets)
		judge_sockets(survey, &first, &second, one);
	hf_processes_clear(&first);
	hf_processes_clear(&second);
	return ret;
}

int hf_survey(struct hf_survey *survey, const char *netns, bool with_sockets)
{
	struct hf_processes start = {0};

	memset(survey, 0, sizeof(*survey));
	raise_limit();
	if (read_processes(survey, &start) < 0)
		return survey->err.code;
	find_namespaces(survey, &start, netns);
	if (with_sockets)
		find_frozen(survey, &start, netns != NULL);
	for (size_t i = 0; i < survey->spaces.n; i++)
		find_locks(survey, &survey->spaces.all[i]);
	if (judge(survey, with_sockets, netns != NULL) < 0)
		clear_locks(survey);
	hf_processes_clear(&start);
	return survey->err.code;
}

void hf_survey_clear(struct hf_survey *survey)
{
	clear_locks(survey);
	free(survey->sockets);
	hf_frozen_clear(&survey->frozen);
	hf_netns_list_clear(&survey->spaces);
	memset(survey, 0, sizeof(*survey));
}
