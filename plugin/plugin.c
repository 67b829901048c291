// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The hooks that CRIU calls, and nothing else: what they do is in dump.c and restore.c. A hook
 * returns -ENOTSUP when all is well, since CRIU stops at the first plugin that returns anything
 * else.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <criu/criu-plugin.h>

#include "config.h"
#include "lib/cleanup.h"
#include "plugin/dump.h"
#include "plugin/log.h"
#include "plugin/restore.h"
#include "sys/bundle.h"
#include "sys/config_file.h"
#include "sys/grace_period.h"
#include "sys/kernel_check.h"
#include "sys/net_lock.h"

/* CRIU's hooks have no context argument: this is the one operation that the process is about. */
static struct {
	struct hf_config config;
	bool started; /* the first task's hook was called */
	struct hf_dump dump;
	struct hf_restore restore;
	bool has_restore;
} the;

static int fail(const char *what, const struct hf_error *err)
{
	hf_log_error("%s: %s", what, err->text);
	/* -EOPNOTSUPP is the same number as -ENOTSUP, with which CRIU would go on. */
	return err->code < 0 && err->code != -ENOTSUP ? err->code : -EINVAL;
}

static int init_dump(void)
{
	struct hf_error err = HF_ERROR_INIT;

	/* The latter while the tasks still run. */
	if (hf_kernel_check(&err) < 0 || hf_grace_period_prepare(&err) < 0)
		return fail("dump refused", &err);
	return 0;
}

/* What the container's own annotation says goes before the configuration of the host. */
static int apply_annotation(struct hf_config *config, struct hf_error *err)
{
	hf_autofree struct hf_oci_config *oci = calloc(1, sizeof(*oci));
	hf_autofree char *bundle = NULL;
	int ret = oci ? hf_bundle_of_runtime(getppid(), &bundle, err)
		      : hf_error_sys(err, -ENOMEM, "cannot look for annotations");

	if (ret == 1)
		ret = hf_bundle_config(bundle, oci, err);
	if (ret == 0 && bundle && oci && oci->has_unreachable)
		config->on_unreachable = oci->on_unreachable;
	return ret;
}

static int init_restore(void)
{
	struct hf_error err = HF_ERROR_INIT;
	int ret = apply_annotation(&the.config, &err);

	if (ret < 0)
		return fail("restore refused", &err);
	ret = hf_restore_prepare(&the.restore, criu_get_image_dir(), &the.config, &err);
	if (ret == -ENOENT) {
		hf_log_info("no %s in this checkpoint: nothing to restore", HF_IMAGE_NAME);
		return 0;
	}
	if (ret < 0) {
		/* CRIU does not call exit() of a plugin that refuses. */
		hf_net_lock_close();
		return fail("restore refused", &err);
	}
	the.has_restore = true;
	hf_log_info("checkpoint with %u connections; lock %s",
		hf_image_count_connected(&the.restore.image),
		!the.restore.locked          ? "is taken when the tasks exist"
		: the.restore.lock_was_there ? "is there since the dump"
					     : "taken");
	return 0;
}

static int init(int stage)
{
	struct hf_error err = HF_ERROR_INIT;

	/* `holdfast check` reads it. */
	hf_log_info("version %s", PACKAGE_VERSION);
	if (hf_config_load(&the.config, &err) < 0)
		return fail("bad configuration", &err);
	if (!the.config.on) {
		hf_log_info("switched off by the configuration");
		return 0;
	}
	if (stage == CR_PLUGIN_STAGE__DUMP)
		return init_dump();
	return stage == CR_PLUGIN_STAGE__RESTORE ? init_restore() : 0;
}

static void warn_of_orphans(const struct hf_orphans *orphans)
{
	if (orphans->n == 0)
		return;
	hf_log_warn("%u connections that the program has closed still had %llu bytes to send "
		    "after %llu ms, and are not saved:",
		orphans->n, (unsigned long long)orphans->bytes,
		(unsigned long long)orphans->waited_us / 1000);
	for (uint32_t i = 0; i < orphans->n && i < HF_ORPHANS_NAMED; i++)
		hf_log_warn("  %s", orphans->named[i]);
}

/* Called for every task of the frozen tree, the root first; the first call does it all. */
static int checkpoint_devices(int pid)
{
	struct hf_error err = HF_ERROR_INIT;

	if (!the.config.on)
		return -ENOTSUP;
	if (!the.started) {
		if (hf_dump(&the.dump, pid, criu_get_image_dir(), &the.config, &err) < 0)
			return fail("dump refused, nothing was changed", &err);
		the.started = true;
		warn_of_orphans(&the.dump.orphans);
	}
	if (!hf_dump_has_task(&the.dump, pid)) {
		hf_log_error("task %d appeared during the dump", pid);
		return -EAGAIN;
	}
	return -ENOTSUP;
}

static void warn_of_closed(const struct hf_restore *restore)
{
	if (restore->n_closed == 0)
		return;
	hf_log_warn("%u connections cannot be had here, and were closed (on-unreachable = close):",
		restore->n_closed);
	for (uint32_t i = 0; i < restore->n_closed && i < HF_CLOSED_NAMED; i++)
		hf_log_warn("  %s", restore->closed[i]);
	if (restore->is_copy)
		hf_log_warn("their peers were not told: the original is in use in another network "
			    "namespace of this host");
}

static void warn_of_options(const struct hf_sockopt_report *report)
{
	char text[HF_SOCKOPT_REPORT_TEXT];

	if (*hf_sockopt_report_format(text, report))
		hf_log_warn("%s", text);
}

#if HAVE_DECL_CR_PLUGIN_HOOK__POST_FORKING
/* Called when the tasks have been forked, before CRIU joins a network of theirs to ours. */
static int post_forking(void)
{
	struct hf_error err = HF_ERROR_INIT;
	int ret = the.has_restore ? hf_restore_forked(&the.restore, &err) : 0;

	if (ret < 0)
		return fail("restore failed, without a lock", &err);
	if (ret > 0)
		hf_log_info("lock %s", the.restore.lock_was_there ? "is there" : "taken");
	return -ENOTSUP;
}
#endif

/* Called for every task of the restored, stopped tree, the root first. CRIU ignores what it
 * returns. */
static int resume_devices_late(int pid)
{
	struct hf_error err = HF_ERROR_INIT;

	if (!the.has_restore || the.started)
		return -ENOTSUP;
	the.started = true;
	if (hf_restore(&the.restore, pid, &err) < 0)
		return fail(the.restore.unlocked ? "not everything was restored"
						 : "restore failed, the lock is kept: "
						   "correct this and try again",
			&err);
	warn_of_closed(&the.restore);
	if (the.restore.tracking.code)
		hf_log_warn(
			"this host was not told of the connections: %s", the.restore.tracking.text);
	warn_of_options(&the.restore.options.report);
	hf_log_info("restored %u connections (%u by CRIU), %llu bytes; microseconds: lock %llu, "
		    "restore %llu, resume %llu",
		hf_image_count_connected(&the.restore.image) - the.restore.n_closed,
		the.restore.n_kept, (unsigned long long)the.restore.image.queue_bytes,
		(unsigned long long)the.restore.lock_us, (unsigned long long)the.restore.rebuild_us,
		(unsigned long long)the.restore.resume_us);
	return -ENOTSUP;
}

static void end_dump(int result)
{
	struct hf_error err = HF_ERROR_INIT;

	if (!the.started)
		return;
	the.started = false;
	if (result != 0) {
		if (hf_dump_rollback(&the.dump, &err) < 0)
			fail("rollback", &err);
		else
			hf_log_info("the dump failed: connections are as they were");
		return;
	}
	hf_log_info("dumped %u connections, %llu bytes; microseconds: lock %llu, dump %llu, in all "
		    "%llu",
		hf_image_count_connected(&the.dump.image),
		(unsigned long long)the.dump.image.queue_bytes,
		(unsigned long long)the.dump.lock_us, (unsigned long long)the.dump.read_us,
		(unsigned long long)the.dump.frozen_us);
	if (the.dump.image.peers_paused)
		hf_log_info("let %u peers pause in %llu microseconds, and %u go on",
			the.dump.prelude.n_told, (unsigned long long)the.dump.prelude.took_us,
			the.dump.prelude.n_reopened);
	if (hf_dump_commit(&the.dump, &err) < 0)
		fail("commit", &err);
}

static void end_restore(void)
{
	struct hf_error err = HF_ERROR_INIT;
	int n = hf_restore_spare_original(&the.restore, &err);

	if (n < 0)
		fail("the lock on this host is kept", &err);
	else if (n > 0)
		hf_log_warn("%d connections of this checkpoint are in use in another network "
			    "namespace of this host: its lock here has been removed",
			n);
	hf_restore_clear(&the.restore);
}

static void fini(int stage, int result)
{
	if (stage == CR_PLUGIN_STAGE__DUMP)
		end_dump(result);
	hf_grace_period_release();
	if (the.has_restore)
		end_restore();
	the.has_restore = false;
	hf_net_lock_close();
}

/*
 * CRIU refuses a plugin that knows more hooks than itself, so max_hooks ends where CRIU 4.1 does,
 * unless more_hooks() finds more; and the version is the oldest with this descriptor.
 */
__attribute__((visibility("default"))) cr_plugin_desc_t CR_PLUGIN_DESC = {
	.name = "holdfast",
	.init = init,
	.exit = fini,
	.version = CRIU_PLUGIN_GEN_VERSION(0, 2, 0),
	.max_hooks = CR_PLUGIN_HOOK__CHECKPOINT_DEVICES + 1,
	.hooks =
		{
			[CR_PLUGIN_HOOK__CHECKPOINT_DEVICES] = checkpoint_devices,
			[CR_PLUGIN_HOOK__RESUME_DEVICES_LATE] = resume_devices_late,
#if HAVE_DECL_CR_PLUGIN_HOOK__POST_FORKING
			[CR_PLUGIN_HOOK__POST_FORKING] = post_forking,
#endif
		},
};

#if HAVE_DECL_CR_PLUGIN_HOOK__POST_FORKING
/* CRIU's own table: a list, and one for each hook that it knows. */
extern char cr_plugin_ctl[] __attribute__((weak));
#define LIST_SIZE (2 * sizeof(void *))

/* When we are loaded, before CRIU looks at the descriptor. */
__attribute__((constructor)) static void more_hooks(void)
{
	const ElfW(Sym) *symbol = NULL;
	Dl_info info;

	if (cr_plugin_ctl && dladdr1(cr_plugin_ctl, &info, (void **)&symbol, RTLD_DL_SYMENT) &&
		symbol && symbol->st_size / LIST_SIZE > CR_PLUGIN_HOOK__POST_FORKING + 1)
		CR_PLUGIN_DESC.max_hooks = CR_PLUGIN_HOOK__POST_FORKING + 1;
}
#endif
