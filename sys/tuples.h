/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_TUPLES_H
#define HF_SYS_TUPLES_H

/* Which sockets of a network namespace have the addresses and ports of a connection of an image. */
#include <stdint.h>

#include "lib/error.h"
#include "lib/image.h"
#include "sys/sock_diag.h"

/* How many of them some file refers to: an application, or a guardian, has them. Or a negative
 * errno. */
int hf_tuples_live(int netns, const struct hf_image *image, struct hf_error *err);

/*
 * The same in all network namespaces of this host but the one with this inode. One that cannot be
 * looked into does not count.
 */
int hf_tuples_live_elsewhere(uint64_t inode, const struct hf_image *image, struct hf_error *err);

/*
 * Ends those that no file refers to: what is left of tasks that were killed, where the guardian of
 * the dump was killed as well. Only a lock keeps the RST which that sends from the peer.
 */
int hf_tuples_clear(int netns, const struct hf_image *image, struct hf_error *err);

#endif
