/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_KICK_H
#define HF_PLUGIN_KICK_H

#include <stdint.h>

#include "lib/conn.h"

/* Makes the peers of all connections send again at once, lib/kick.h, from the connections' network
 * namespace; paced, so that a burst does not lose them. What cannot be sent costs time only. */
void hf_kick_all(int netns, const struct hf_conn *conns, uint32_t n);

#endif
