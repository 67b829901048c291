/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_CONFIG_FILE_H
#define HF_SYS_CONFIG_FILE_H

#include "lib/config.h"
#include "lib/error.h"

/*
 * The configuration in force: the defaults, then the file (HOLDFAST_CONF in the environment, else
 * the installed place; only the latter may be missing), then HOLDFAST in the environment.
 */
int hf_config_load(struct hf_config *config, struct hf_error *err);

#endif
