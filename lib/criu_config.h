/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_CRIU_CONFIG_H
#define HF_LIB_CRIU_CONFIG_H

/*
 * Those options of CRIU on which holdfast depends, read from the text of CRIU's configuration files
 * as CRIU does: a line is `option`, `option value` or `option=value`, a value may be in quotes, `#`
 * starts a comment. Of several files, and of several lines, the last one wins.
 *
 * Whether CRIU takes a file at all is not judged here: CRIU itself can be asked. Nor are shortened
 * names of options known, which CRIU takes as well.
 */
#include <stdbool.h>
#include <stddef.h>

#define HF_CRIU_VALUE 512 /* bytes of a value, with its end; a longer one is cut */

/* Where an option was set. */
struct hf_criu_place {
	const char *file; /* the caller's; NULL: nowhere */
	unsigned int line;
};

struct hf_criu_flag {
	bool on;
	struct hf_criu_place place;
};

struct hf_criu_value {
	char text[HF_CRIU_VALUE]; /* "": not set */
	struct hf_criu_place place;
};

struct hf_criu_options {
	struct hf_criu_flag tcp_close, tcp_established, skip_in_flight;
	struct hf_criu_value network_lock, libdir;
};

/* Reads the text of a file over *options, which was zeroed before the first. */
void hf_criu_config_read(
	struct hf_criu_options *options, const char *file, const char *text, size_t len);

/* Switches a flag off, as a runtime's request does that names the option with false. */
void hf_criu_flag_reset(struct hf_criu_flag *flag);

enum hf_criu_verdict {
	HF_CRIU_READY,  /* connections are holdfast's */
	HF_CRIU_BESIDE, /* they are CRIU's own (tcp-established), and holdfast works beside it */
	HF_CRIU_OFF,    /* nothing of it is set */
	HF_CRIU_WRONG   /* some of it is set, or what contradicts each other */
};

#define HF_CRIU_ADVICE 256

/* Judges the options, without libdir; what to do about them, if anything, goes into `advice`. */
enum hf_criu_verdict hf_criu_judge(
	const struct hf_criu_options *options, char advice[HF_CRIU_ADVICE]);

/* The start of a version: of CRIU, of the kernel. */
struct hf_version {
	unsigned int major, minor;
};

/* Reads a text that starts with "4.2" or "6.18.1-rc2". */
bool hf_version_parse(struct hf_version *version, const char *text);

bool hf_version_before(const struct hf_version *version, unsigned int major, unsigned int minor);

/* The oldest CRIU that can work on this kernel. */
struct hf_version hf_criu_oldest(const struct hf_version *kernel);

#endif
