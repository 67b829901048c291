/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_SHOW_H
#define HF_CLI_SHOW_H

/* What the two forms of `holdfast show` share. */
#include "lib/image.h"
#include "lib/sockopt.h"

#define HF_STATE_TEXT 32

/* "ESTABLISHED", "CLOSED (reset)" and so on into buf. Returns buf. */
char *hf_show_state(char buf[HF_STATE_TEXT], const struct hf_conn *conn);

/* The image as JSON to the standard output. Returns 0, or -1 where it cannot be written. */
int hf_show_json(const struct hf_image *image);

#endif
