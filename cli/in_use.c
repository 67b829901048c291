// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/in_use.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sys/netns_list.h"
#include "sys/processes.h"
#include "sys/tuples.h"

/* The guardian of a dump has the sockets for a moment longer than the tasks. */
#define ATTEMPTS   25
#define ATTEMPT_US 20000

/* Those that are not over loopback; their array is the caller's to free, and no more. */
static int take_remote(struct hf_image *remote, const struct hf_image *image, struct hf_error *err)
{
	*remote = (struct hf_image){0};
	remote->conns = malloc(((size_t)image->n_conns + 1) * sizeof(*remote->conns));
	if (!remote->conns)
		return hf_error_sys(err, -ENOMEM, "cannot look for the connections");
	for (uint32_t i = 0; i < image->n_conns; i++)
		if (!hf_ip_is_loopback(image->conns[i].family, image->conns[i].local.ip))
			remote->conns[remote->n_conns++] = image->conns[i];
	return 0;
}

static int count_in(
	const struct hf_netns_entry *netns, const struct hf_image *image, struct hf_error *err)
{
	int n = hf_tuples_live(netns->fd, image, err);

	for (int attempt = 0; n > 0 && attempt < ATTEMPTS; attempt++) {
		usleep(ATTEMPT_US);
		n = hf_tuples_live(netns->fd, image, err);
	}
	return n < 0 ? hf_error_context(err, n, "%s", netns->path) : n;
}

static int look_everywhere(
	const struct hf_netns_list *list, const struct hf_image *image, struct hf_error *err)
{
	for (size_t i = 0; i < list->n; i++) {
		int n = count_in(&list->all[i], image, err);

		if (n < 0)
			return n;
		if (n > 0)
			return hf_error_set(err, -EBUSY,
				"%d of its connections are in use in the network namespace %s: the "
				"container is running, and a lock would cut it off",
				n, list->all[i].path);
	}
	return 0;
}

int hf_in_use(const struct hf_image *image, struct hf_error *err)
{
	struct hf_processes processes = {0};
	struct hf_netns_list list = {0};
	struct hf_image remote;
	int ret = take_remote(&remote, image, err);

	if (ret == 0)
		ret = hf_processes_read(&processes, err);
	if (ret == 0)
		ret = hf_netns_list(&processes, &list, err);
	if (ret == 0)
		ret = look_everywhere(&list, &remote, err);
	hf_netns_list_clear(&list);
	hf_processes_clear(&processes);
	free(remote.conns);
	return ret;
}
