// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * holdfast recover: sockets out of repair mode, then locks away that cut a running program off. In
 * this order, so that the program's next packet finds the way open.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/found.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "sys/net_lock.h"
#include "sys/tcp_repair.h"

enum outcome {
	OUTCOME_RIGHT,  /* nothing to do: as it should be, or somebody is at it */
	OUTCOME_LEFT,   /* nobody knows whether it is right */
	OUTCOME_TO_DO,  /* it would be put right */
	OUTCOME_DONE,   /* it was put right */
	OUTCOME_FAILED, /* it could not be put right */
	OUTCOMES
};

struct item {
	enum outcome outcome;
	struct hf_error err;
};

struct recovery {
	const struct hf_found_options *options;
	struct hf_survey survey;
	yajl_gen gen; /* NULL: lines of text */
	unsigned int count[OUTCOMES];
};

static const char *netns_path(const struct hf_netns_entry *netns)
{
	return netns ? netns->path : "?";
}

/* Nothing happens to one that was put right by another meanwhile. */
static struct item recover_socket(
	const struct recovery *recovery, const struct hf_found_socket *sock)
{
	struct item item = {OUTCOME_DONE, HF_ERROR_INIT};
	const struct hf_frozen *frozen = sock->frozen;

	if (sock->hands != HF_HANDS_NONE)
		item.outcome = sock->hands == HF_HANDS_CRIU ? OUTCOME_RIGHT : OUTCOME_LEFT;
	else if (recovery->options->dry_run)
		item.outcome = OUTCOME_TO_DO;
	else if (hf_tcp_is_frozen(frozen->fd) &&
		 hf_tcp_thaw(frozen->fd, frozen->reuseaddr, &item.err) < 0)
		item.outcome = OUTCOME_FAILED;
	return item;
}

static struct item recover_lock(const struct recovery *recovery, const struct hf_found_lock *lock)
{
	struct item item = {OUTCOME_DONE, HF_ERROR_INIT};

	if (lock->situation != HF_LOCK_STALE && lock->situation != HF_LOCK_EXPIRED)
		item.outcome = OUTCOME_RIGHT;
	else if (recovery->options->dry_run)
		item.outcome = OUTCOME_TO_DO;
	else if (hf_net_unlock_host(lock->netns->fd, lock->view.id, &item.err) < 0)
		item.outcome = OUTCOME_FAILED;
	return item;
}

static void put_process(yajl_gen gen, const char *name, const struct hf_process *process)
{
	hf_json_text(gen, name);
	yajl_gen_map_open(gen);
	hf_json_number(gen, "pid", (uint64_t)process->pid);
	hf_json_string(gen, "name", process->name);
	yajl_gen_map_close(gen);
}

static void put_outcome(yajl_gen gen, const struct item *item)
{
	static const char *const names[] = {[OUTCOME_RIGHT] = "left alone",
		[OUTCOME_LEFT] = "left alone",
		[OUTCOME_TO_DO] = "to do",
		[OUTCOME_DONE] = "done",
		[OUTCOME_FAILED] = "failed"};

	hf_json_string(gen, "outcome", names[item->outcome]);
	if (item->err.code)
		hf_json_string(gen, "error", item->err.text);
}

static void put_socket(yajl_gen gen, const struct hf_found_socket *sock, const struct item *item)
{
	static const char *const names[] = {[HF_HANDS_NONE] = "left behind",
		[HF_HANDS_CRIU] = "busy",
		[HF_HANDS_STOPPED] = "stopped",
		[HF_HANDS_TRACED] = "traced"};

	yajl_gen_map_open(gen);
	hf_json_string(gen, "connection", sock->frozen->text);
	hf_json_string(gen, "netns", netns_path(sock->netns));
	put_process(gen, "process", &sock->owner);
	hf_json_string(gen, "situation", names[sock->hands]);
	if (sock->busy.pid)
		put_process(gen, "busy", &sock->busy);
	hf_json_bool(gen, "reuseaddr", sock->frozen->reuseaddr);
	put_outcome(gen, item);
	yajl_gen_map_close(gen);
}

static void print_hands(const struct hf_found_socket *sock)
{
	if (sock->hands == HF_HANDS_CRIU)
		printf("left alone, %s (pid %d) is busy\n", sock->busy.name, (int)sock->busy.pid);
	else if (sock->hands == HF_HANDS_STOPPED)
		puts("left alone, the process is stopped");
	else
		printf("left alone, the process is traced by %s (pid %d)\n",
			sock->busy.pid ? sock->busy.name : "a process that we do not see",
			(int)sock->busy.pid);
}

static void print_socket(const struct hf_found_socket *sock, const struct item *item)
{
	int reuseaddr = sock->frozen->reuseaddr;

	printf("socket %s of %s (pid %d) in %s: in repair mode: ", sock->frozen->text,
		sock->owner.name, (int)sock->owner.pid, netns_path(sock->netns));
	if (sock->hands != HF_HANDS_NONE)
		print_hands(sock);
	else if (item->outcome == OUTCOME_TO_DO)
		printf("would be taken out of it, SO_REUSEADDR set to %d\n", reuseaddr);
	else if (item->outcome == OUTCOME_DONE)
		printf("taken out of it, SO_REUSEADDR set to %d\n", reuseaddr);
	else
		printf("%s\n", item->err.text);
}

static void put_lock(yajl_gen gen, const struct hf_found_lock *lock, const struct item *item)
{
	yajl_gen_map_open(gen);
	hf_found_put_lock(gen, lock);
	put_outcome(gen, item);
	yajl_gen_map_close(gen);
}

static void print_lock(const struct hf_found_lock *lock, const struct item *item)
{
	char id[HF_ID_TEXT], age[HF_FOUND_TEXT], owner[HF_FOUND_TEXT];

	printf("lock %s in %s (%s; age %s; %" PRIu32 " connections): ",
		hf_id_format(id, lock->view.id), lock->netns->path,
		hf_found_owner_text(owner, lock), hf_found_age_text(age, lock), lock->view.conns.n);
	if (lock->situation == HF_LOCK_BUSY)
		printf("left alone, %s (pid %d) is busy\n", lock->busy.name, (int)lock->busy.pid);
	else if (lock->situation == HF_LOCK_WAITING)
		puts("left alone, it waits for its restore");
	else
		printf("%s, %s\n", hf_situation_name(lock->situation),
			item->outcome == OUTCOME_TO_DO  ? "would be removed"
			: item->outcome == OUTCOME_DONE ? "removed"
							: item->err.text);
}

static void recover_sockets(struct recovery *recovery)
{
	for (size_t i = 0; i < recovery->survey.n_sockets; i++) {
		const struct hf_found_socket *sock = &recovery->survey.sockets[i];
		struct item item = recover_socket(recovery, sock);

		recovery->count[item.outcome]++;
		if (recovery->gen)
			put_socket(recovery->gen, sock, &item);
		else
			print_socket(sock, &item);
	}
}

static void recover_locks(struct recovery *recovery)
{
	for (size_t i = 0; i < recovery->survey.n_locks; i++) {
		const struct hf_found_lock *lock = &recovery->survey.locks[i];
		struct item item = recover_lock(recovery, lock);

		recovery->count[item.outcome]++;
		if (recovery->gen)
			put_lock(recovery->gen, lock, &item);
		else
			print_lock(lock, &item);
	}
}

/* A restore would have done so as its last step (lib/resend.h), with the locks out of the way. */
static void send_held(const struct recovery *recovery)
{
	for (size_t i = 0; i < recovery->survey.n_sockets && !recovery->options->dry_run; i++) {
		const struct hf_found_socket *sock = &recovery->survey.sockets[i];

		if (sock->hands == HF_HANDS_NONE && !hf_tcp_is_sent(sock->frozen->fd, 0))
			hf_tcp_push(sock->frozen->fd);
	}
}

static void recover_all(struct recovery *recovery)
{
	yajl_gen gen = recovery->gen;

	if (!gen) {
		recover_sockets(recovery);
		recover_locks(recovery);
		send_held(recovery);
		return;
	}
	yajl_gen_map_open(gen);
	hf_json_bool(gen, "dry_run", recovery->options->dry_run);
	hf_json_text(gen, "sockets");
	yajl_gen_array_open(gen);
	recover_sockets(recovery);
	yajl_gen_array_close(gen);
	hf_json_text(gen, "locks");
	yajl_gen_array_open(gen);
	recover_locks(recovery);
	yajl_gen_array_close(gen);
	send_held(recovery);
	hf_found_put_error(gen, &recovery->survey);
	yajl_gen_map_close(gen);
}

static int exit_code(const struct recovery *recovery)
{
	if (recovery->survey.err.code || recovery->count[OUTCOME_LEFT] ||
		recovery->count[OUTCOME_FAILED])
		return HF_EXIT_FAILURE;
	return recovery->count[OUTCOME_TO_DO] ? HF_EXIT_TO_DO : HF_EXIT_OK;
}

int hf_verb_recover(int argc, char **argv)
{
	struct hf_found_options options;
	struct recovery recovery = {.options = &options};
	int ret;

	if (hf_found_parse(argc, argv, &options) < 0)
		return HF_EXIT_USAGE;
	recovery.gen = options.json ? hf_json_begin() : NULL;
	if (options.json && !recovery.gen)
		return HF_EXIT_FAILURE;
	hf_survey(&recovery.survey, options.netns, true);
	recover_all(&recovery);
	ret = exit_code(&recovery);
	if (recovery.gen && hf_json_end(recovery.gen) < 0)
		ret = HF_EXIT_FAILURE;
	if (!options.json && ret == HF_EXIT_OK && recovery.count[OUTCOME_DONE] == 0)
		puts("nothing to recover");
	hf_found_print_error(&recovery.survey, "recover");
	hf_survey_clear(&recovery.survey);
	return hf_output_flush() < 0 ? HF_EXIT_FAILURE : ret;
}
