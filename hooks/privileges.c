// SPDX-License-Identifier: GPL-2.0-or-later
#include "hooks/privileges.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#define NEEDED_TEXT 80

static const struct {
	cap_value_t value;
	const char *name;
} needed[] = {{CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
	{CAP_SYS_PTRACE, "CAP_SYS_PTRACE"}};
#define N_NEEDED (sizeof(needed) / sizeof(needed[0]))

static bool is_there(cap_t have, cap_value_t value)
{
	cap_flag_value_t set = CAP_CLEAR;

	return cap_get_flag(have, value, CAP_PERMITTED, &set) == 0 && set == CAP_SET;
}

/* Of those that are needed what is there. Nothing is executed later; should it be, it gains
 * nothing. */
static int keep_needed(cap_t have, char missing[NEEDED_TEXT])
{
	cap_t keep = cap_init();
	int ret = keep ? 0 : -errno;

	for (size_t i = 0; i < N_NEEDED && ret == 0; i++) {
		size_t len = strlen(missing);

		if (!is_there(have, needed[i].value))
			snprintf(missing + len, NEEDED_TEXT - len, "%s%s", len ? ", " : "",
				needed[i].name);
		else if (cap_set_flag(keep, CAP_PERMITTED, 1, &needed[i].value, CAP_SET) < 0 ||
			 cap_set_flag(keep, CAP_EFFECTIVE, 1, &needed[i].value, CAP_SET) < 0)
			ret = -errno;
	}
	if (ret == 0 && (cap_set_proc(keep) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
		ret = -errno;
	cap_free(keep);
	return ret;
}

int hf_privileges_drop(struct hf_error *err)
{
	char missing[NEEDED_TEXT] = "";
	cap_t have = cap_get_proc();
	int ret = have ? keep_needed(have, missing) : -errno;

	cap_free(have);
	if (ret < 0)
		return hf_error_sys(
			err, ret == -EACCES ? -EPERM : ret, "cannot give up capabilities");
	return *missing ? hf_error_set(err, -EACCES, "lacks %s: it must be run as root", missing)
			: 0;
}
