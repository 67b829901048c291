// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>

#include "hooks/clean.h"
#include "hooks/hook.h"
#include "lib/cleanup.h"
#include "lib/image.h"
#include "sys/image_file.h"
#include "sys/net_lock.h"
#include "sys/netns.h"
#include "sys/processes.h"

/* Before the first packet can come. It may be there already, from the dump or since CRIU began. */
static int lock(pid_t pid, const struct hf_process *criu, int file, struct hf_error *err)
{
	struct hf_image image = {0};
	hf_autoclose int netns = hf_netns_open(pid, err);
	int ret = netns < 0 ? netns : hf_image_file_read(file, &image, err);

	if (ret == 0 && image.n_conns > 0)
		ret = hf_net_lock_image_of(netns, &image, "restore", criu, err);
	hf_image_clear(&image);
	return ret < 0 ? ret : 0;
}

/* A restore without our image, or with the plugin switched off, is none of our business. */
static int lock_for(pid_t pid, const struct hf_process *criu, struct hf_error *err)
{
	hf_autoclose int file = hf_image_file_of(criu->pid, err);

	return file == -ENOENT ? 0 : file < 0 ? file : lock(pid, criu, file, err);
}

/*
 * What is of use to others only must not keep a container from starting: a kernel may have no
 * nftables. And what somebody is busy with is not for us to wait for.
 */
static int clean(pid_t pid, struct hf_error *err)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	ret = hf_clean(path, 0, err);
	return ret < 0 && ret != -EBUSY ? HF_HOOK_WARNING : 0;
}

int hf_hook_start(const struct hf_container *container, struct hf_error *err)
{
	pid_t pid = container->state.pid;
	struct hf_process criu = {0};
	int ret;

	if (pid == 0)
		return hf_error_set(err, -EBADMSG, "the container's state: pid: missing");
	ret = hf_process_maker(pid, &criu);
	if (ret < 0)
		return hf_error_sys(err, ret, "cannot look at process %d", (int)pid);
	if (ret == 0)
		return clean(pid, err);
	ret = lock_for(pid, &criu, err);
	return ret < 0 ? hf_error_context(err, ret, "the restore by CRIU (pid %d)", (int)criu.pid)
		       : 0;
}
