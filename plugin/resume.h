/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_RESUME_H
#define HF_PLUGIN_RESUME_H

/*
 * What happens when the lock of a restore is gone: every connection goes on and its peer hears of
 * it, and those of which nothing has come back are told that too.
 */
#include "plugin/guardian.h"
#include "plugin/restore.h"

struct hf_resume {
	struct hf_restore *restore; /* is_copy and resume_us are filled in */
	int netns;
	const int *socks;             /* one a connection; -1: done with, or left alone */
	const bool *closed;           /* one a connection; true: it could not be had here */
	const enum hf_resend *resend; /* one a connection */
	const struct hf_guardian *guardian;
	struct hf_guardian_page *page;
};

/* Returns 0, or a negative errno with a text that names the first connection that it concerns; all
 * others go on. */
int hf_resume(const struct hf_resume *target, struct hf_error *err);

#endif
