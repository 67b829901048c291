// SPDX-License-Identifier: GPL-2.0-or-later
/* A CRIU plugin that logs each call of the hooks that holdfast uses too: it gets its turn only if
 * they pass on. */
#include <errno.h>

#include <criu/criu-plugin.h>

extern void print_on_level(unsigned int level, const char *format, ...);

static int count(int pid)
{
	print_on_level(1, "count_plugin: hook called for task %d\n", pid);
	return -ENOTSUP;
}

__attribute__((visibility("default"))) cr_plugin_desc_t CR_PLUGIN_DESC = {
	.name = "zz_count",
	.version = CRIU_PLUGIN_GEN_VERSION(0, 2, 0),
	.max_hooks = CR_PLUGIN_HOOK__CHECKPOINT_DEVICES + 1,
	.hooks =
		{
			[CR_PLUGIN_HOOK__CHECKPOINT_DEVICES] = count,
			[CR_PLUGIN_HOOK__RESUME_DEVICES_LATE] = count,
		},
};
