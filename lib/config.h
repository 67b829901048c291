/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_CONFIG_H
#define HF_LIB_CONFIG_H

/*
 * The configuration, holdfast.conf(5): lines `key = value`, `#` starts a comment. An unknown key,
 * an unknown value, or a key given twice is an error that names file and line.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/error.h"
#include "lib/resend.h"
#include "lib/unreachable.h"

struct hf_config {
	bool on; /* mode: false leaves CRIU alone, as if the plugin were not there */
	unsigned int orphan_timeout_ms; /* orphan-timeout: how long closed connections may drain */
	unsigned int lock_timeout_s;    /* lock-timeout: after which a host's lock expires */
	bool kick;                      /* kick: peers are made to send again at once, lib/kick.h */
	bool prelude;                   /* prelude: peers pause before the lock, lib/prelude.h */
	unsigned int prelude_limit_ms;  /* prelude-limit: how long a dump waits for that */
	struct hf_resend_rules resend;  /* hold-back, duplicate-acks */
	enum hf_unreachable on_unreachable; /* on-unreachable */
};

/* The values that hold where nothing is configured. */
struct hf_config hf_config_defaults(void);

/*
 * Reads the text of a configuration file over *config. `name` is the file's name for errors.
 * Returns 0 or -EINVAL; on failure *config is as it was.
 */
int hf_config_parse(struct hf_config *config, const char *name, const char *text, size_t len,
	struct hf_error *err);

/* Applies the environment variable HOLDFAST, "on" or "off"; NULL, not set, changes nothing. */
int hf_config_environment(struct hf_config *config, const char *value, struct hf_error *err);

#endif
