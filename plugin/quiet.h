/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_QUIET_H
#define HF_PLUGIN_QUIET_H

/* A child that nobody notices: runtimes wait for their pipes to be closed, and signal groups. */
#include <stddef.h>

/*
 * Gives the calling process a name, blocks every signal that can be, leaves the working directory,
 * and closes every fd but the n in keep[], which gets sorted. The standard descriptors are open to
 * nowhere then, so that no socket ever gets their numbers. Returns 0 or -1.
 */
int hf_become_quiet(const char *name, int *keep, size_t n);

#endif
