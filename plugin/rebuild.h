/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_REBUILD_H
#define HF_PLUGIN_REBUILD_H

/* All connections of an image, built in the sockets that CRIU made. */
#include "plugin/restore.h"

struct hf_rebuild {
	struct hf_restore *restore; /* n_closed, closed[], n_kept and options are filled in */
	int netns;
	int *socks;             /* one a connection; -1 afterwards: it is done with */
	bool *closed;           /* one a connection; true: it could not be had here */
	enum hf_resend *resend; /* one a connection */
};

/* Returns 0, or a negative errno with a text that names the record. */
int hf_rebuild(const struct hf_rebuild *rebuild, struct hf_error *err);

#endif
