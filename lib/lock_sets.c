// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/lock_sets.h"

#include <arpa/inet.h>

#include <linux/netfilter.h>

const struct hf_lock_set hf_lock_sets[HF_LOCK_SETS] = {
	[HF_SET_CONN4] = {"conn4", NFPROTO_IPV4, 4, true},
	[HF_SET_CONN6] = {"conn6", NFPROTO_IPV6, 16, true},
	[HF_SET_LISTEN4] = {"listen4", NFPROTO_IPV4, 4, false},
	[HF_SET_LISTEN6] = {"listen6", NFPROTO_IPV6, 16, false},
	[HF_SET_PORT4] = {"port4", NFPROTO_IPV4, 0, false},
	[HF_SET_PORT6] = {"port6", NFPROTO_IPV6, 0, false},
};
