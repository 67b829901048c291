/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_CLEANUP_H
#define HF_LIB_CLEANUP_H

/*
 * Variables that clean up after themselves when they leave their scope.
 *
 *   hf_autofree char *text = strdup(...);      freed
 *   hf_autoclose int fd = open(...);           closed if >= 0
 *
 * To hand ownership on, take the value out: return hf_steal_fd(&fd).
 */
#include <stdlib.h>
#include <unistd.h>

static inline void hf_free_pointer(void *pointer)
{
	free(*(void **)pointer);
}

static inline void hf_close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline int hf_steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define hf_autofree  __attribute__((cleanup(hf_free_pointer)))
#define hf_autoclose __attribute__((cleanup(hf_close_fd)))

#endif
