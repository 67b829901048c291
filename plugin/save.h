/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_SAVE_H
#define HF_PLUGIN_SAVE_H

/* The sockets of a dump, behind the lock: out of the kernel and into the image. Both return 0 or a
 * negative errno with a text that names the connection, and add to dump->read_us. */
#include "plugin/dump.h"

/* Fills in the options of all connections, and waits for the packets that had passed the hooks
 * before the lock was there. */
int hf_save_options(struct hf_dump *dump, struct hf_error *err);

/*
 * Writes the image. Each socket is in repair mode only while it is read: should CRIU die, the
 * kernel lets the tasks run before anybody can act, and their calls on a socket in repair mode
 * would fail with EINVAL. The lock alone keeps the state as it was read.
 */
int hf_save_image(struct hf_dump *dump, struct hf_error *err);

#endif
