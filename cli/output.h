/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_OUTPUT_H
#define HF_CLI_OUTPUT_H

/* Sends out what a verb has printed. Returns 0, or -1 after a line on the standard error. */
int hf_output_flush(void);

#endif
