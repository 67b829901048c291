/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_SOCKOPT_INT_H
#define HF_SYS_SOCKOPT_INT_H

/* Socket options that are an int; both return 0 or a negative errno. */
#include <errno.h>
#include <sys/socket.h>

static inline int hf_get_int(int sock, int level, int option, int *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(sock, level, option, value, &len) < 0 ? -errno : 0;
}

static inline int hf_set_int(int sock, int level, int option, int value)
{
	return setsockopt(sock, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

#endif
