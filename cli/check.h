/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_CHECK_H
#define HF_CLI_CHECK_H

/* What the checks of `holdfast check` share. */
#include <stdbool.h>

#include "sys/criu_files.h"

enum hf_check_result {
	HF_CHECK_PASS,
	HF_CHECK_WARN, /* it works, but not everything, or not for everybody */
	HF_CHECK_FAIL,
	HF_CHECK_SKIP, /* there is nothing to check */
	HF_CHECK_RESULTS
};

/* What a check found: what is right, or what is wrong and what to do. */
struct hf_finding {
	enum hf_check_result result;
	char text[640];
};

/* Somebody who runs CRIU: criu itself or a runtime. */
struct hf_check_user {
	bool installed;
	bool asked_for; /* on the command line */
	bool left_out;  /* others were asked for */
	int ret;        /* of reading the files; then err */
	struct hf_error err;
	struct hf_criu_files files;
	enum hf_criu_verdict verdict;
	char advice[HF_CRIU_ADVICE];
};

struct hf_check_context {
	struct hf_check_user users[HF_CRIU_USERS];
	char criu[PATH_MAX]; /* "": not installed */
};

struct hf_check {
	const char *name;
	void (*run)(const struct hf_check_context *context, const struct hf_check *check,
		struct hf_finding *finding);
	enum hf_criu_user user; /* whom the check is about, if it is about one */
};

#define HF_CHECK_FUNCTION(name)                                                                    \
	void name(const struct hf_check_context *context, const struct hf_check *check,            \
		struct hf_finding *finding)

/* Sets the finding. */
void hf_found(struct hf_finding *finding, enum hf_check_result result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* check_host.c: this machine */
HF_CHECK_FUNCTION(hf_check_permissions);
HF_CHECK_FUNCTION(hf_check_kernel);
HF_CHECK_FUNCTION(hf_check_repair);
HF_CHECK_FUNCTION(hf_check_pidfd);
HF_CHECK_FUNCTION(hf_check_sock_diag);
HF_CHECK_FUNCTION(hf_check_nftables);
HF_CHECK_FUNCTION(hf_check_bridge);
HF_CHECK_FUNCTION(hf_check_barrier);
HF_CHECK_FUNCTION(hf_check_configuration);

/* check_criu.c: CRIU, and how it is configured */
HF_CHECK_FUNCTION(hf_check_criu);
HF_CHECK_FUNCTION(hf_check_libcriu);
HF_CHECK_FUNCTION(hf_check_criu_files);
HF_CHECK_FUNCTION(hf_check_options);

/* check_plugin.c */
HF_CHECK_FUNCTION(hf_check_plugin);

/* check_hooks.c */
HF_CHECK_FUNCTION(hf_check_hooks);

#endif
