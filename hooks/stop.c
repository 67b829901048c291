// SPDX-License-Identifier: GPL-2.0-or-later
#include "hooks/clean.h"
#include "hooks/hook.h"

#define PATIENCE_MS 2000

int hf_hook_stop(const struct hf_container *container, struct hf_error *err)
{
	switch (container->config.netns) {
	case HF_OCI_NETNS_PATH:
		return hf_clean(container->config.netns_path, PATIENCE_MS, err);
	case HF_OCI_NETNS_RUNTIME:
		return hf_clean("/proc/self/ns/net", PATIENCE_MS, err);
	case HF_OCI_NETNS_NEW:
		/* Gone with the container. */
		break;
	}
	return 0;
}
