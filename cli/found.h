/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_FOUND_H
#define HF_CLI_FOUND_H

/* What `holdfast status`, `recover` and `unlock` have in common: options, and how things are told.
 */
#include "cli/json.h"
#include "sys/survey.h"

struct hf_found_options {
	bool json;
	bool dry_run;
	const char *netns; /* NULL: all */
};

/* Options of the verb in argv[0]; --dry-run is one of recover only. 0, or -1 after a line about
 * wrong use. */
int hf_found_parse(int argc, char **argv, struct hf_found_options *options);

#define HF_FOUND_TEXT 80

/* Seconds since the lock was taken; 0 where that is unknown. */
uint64_t hf_found_age(const struct hf_found_lock *lock);

/* "12 s", "3 min", "5 h", "2 d", or "?" */
char *hf_found_age_text(char buf[HF_FOUND_TEXT], const struct hf_found_lock *lock);

/* The same until it expires; "-" where it does not. */
char *hf_found_left_text(char buf[HF_FOUND_TEXT], const struct hf_found_lock *lock);

/* Who took the lock: "checkpoint, pid 12", and whether that process has ended. */
char *hf_found_owner_text(char buf[HF_FOUND_TEXT], const struct hf_found_lock *lock);

/* The members of a JSON object about a lock. */
void hf_found_put_lock(yajl_gen gen, const struct hf_found_lock *lock);

/* The member "error" of the outermost object, and a line on the standard error, if something could
 * not be seen. */
void hf_found_put_error(yajl_gen gen, const struct hf_survey *survey);
void hf_found_print_error(const struct hf_survey *survey, const char *verb);

#endif
