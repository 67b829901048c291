// SPDX-License-Identifier: GPL-2.0-or-later
/* What CRIU does with a plugin, see host.h. */
#include "host.h"

#include <criu/criu-plugin.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANG_MS 30000

/* The functions of CRIU that the plugin uses. */
void print_on_level(unsigned int level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The leak check of a sanitizer, where there is one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static const cr_plugin_desc_t *plugin;
static struct report *report;
static const struct scene *held;
static int image_dir;

void print_on_level(unsigned int level, const char *format, ...)
{
	char line[600];
	va_list args;

	hf_every_pause(true);
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (getenv("HF_HOST_LOG"))
		fprintf(stderr, "%u: %s", level, line);
	if (level == 1 && report->errors++ == 0)
		memcpy(report->error, line, sizeof(line));
	report->warnings += level == 2;
	hf_every_pause(false);
}

int criu_get_image_dir(void)
{
	return image_dir;
}

void host_load(const char *path)
{
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	plugin = module ? dlsym(module, "CR_PLUGIN_DESC") : NULL;
	if (!plugin) {
		fprintf(stderr, "%s: %s\n", path, dlerror());
		exit(2);
	}
}

/* ---- the tasks, by ptrace */

static void stop(const struct scene *scene)
{
	for (int i = 0; i < N_TASKS; i++) {
		pid_t pid = scene->tasks[i];

		if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 ||
			ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 ||
			waitpid(pid, NULL, __WALL) != pid) {
			perror("ptrace");
			_exit(2);
		}
	}
}

static void let_go(const struct scene *scene, bool to_die)
{
	for (int i = N_TASKS - 1; to_die && i >= 0; i--)
		kill(scene->tasks[i], SIGKILL);
	for (int i = N_TASKS - 1; i >= 0; i--)
		if (to_die || ptrace(PTRACE_DETACH, scene->tasks[i], NULL, NULL) < 0)
			waitpid(scene->tasks[i], NULL, __WALL);
}

/* ---- the hooks */

static int call_init(int stage)
{
	return plugin->init ? plugin->init(stage) : 0;
}

/* CRIU calls it for every task, and ends at the first that fails. */
static int call_hook(int hook, const struct scene *scene)
{
	int (*function)(int) = (int (*)(int))(uintptr_t)plugin->hooks[hook];
	int ret = -ENOTSUP;

	for (int i = 0; i < N_TASKS && ret == -ENOTSUP; i++)
		ret = function(scene->tasks[i]);
	return ret;
}

static void dump(const struct job *job, const struct scene *scene)
{
	bool failed;

	stop(scene);
	if (job->arm_hooks)
		hf_every_arm(&report->every);
	report->init = call_init(CR_PLUGIN_STAGE__DUMP);
	if (report->init == 0)
		report->hook = call_hook(CR_PLUGIN_HOOK__CHECKPOINT_DEVICES, scene);
	if (job->killed)
		kill(getpid(), SIGKILL);
	failed = host_failed(report);
	hf_every_arm(&report->every);
	if (report->init == 0)
		plugin->exit(CR_PLUGIN_STAGE__DUMP, failed ? -1 : job->result);
	hf_every_disarm();
	if (!job->held)
		let_go(scene, !failed && job->result == 0 && !job->resume);
}

/* The tasks are there too early, which no plugin sees. */
static void restore(const struct job *job, const struct scene *scene)
{
	if (job->arm_hooks)
		hf_every_arm(&report->every);
	report->init = call_init(CR_PLUGIN_STAGE__RESTORE);
	hf_every_disarm();
	stop(scene);
	if (job->arm_hooks)
		hf_every_arm(&report->every);
	if (report->init == 0) {
		report->hook = call_hook(CR_PLUGIN_HOOK__RESUME_DEVICES_LATE, scene);
		/* CRIU does not care. */
		plugin->exit(CR_PLUGIN_STAGE__RESTORE, 0);
	}
	hf_every_disarm();
	let_go(scene, report->init != 0);
}

/* ---- what is left */

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static bool has_children(void)
{
	FILE *file = fopen("/proc/thread-self/children", "re");
	int pid;
	bool any = file && fscanf(file, "%d", &pid) == 1;

	if (file)
		fclose(file);
	return any;
}

/* After what the plugin has registered later. */
static void at_exit(void)
{
	hf_every_disarm();
	for (int i = N_TASKS - 1; held && i >= 0; i--)
		kill(held->tasks[i], SIGKILL);
}

static void be_host(const struct job *job, const struct scene *scene)
{
	int before = count_fds();

	held = job->held ? scene : NULL;
	if (setns(job->netns, CLONE_NEWNET) < 0 || atexit(at_exit) != 0)
		_exit(2);
	image_dir = job->image_dir;
	if (job->stage == STAGE_DUMP)
		dump(job, scene);
	else
		restore(job, scene);
	report->left_fds = count_fds() - before;
	report->left_children = has_children();
	if (__lsan_do_recoverable_leak_check)
		report->left_memory = __lsan_do_recoverable_leak_check() != 0;
	report->ended = true;
	if (job->stage == STAGE_DUMP)
		hf_every_arm(&report->every);
	exit(0);
}

bool host_failed(const struct report *from)
{
	return from->init != 0 || from->hook != -ENOTSUP;
}

void host_run(const struct job *job, struct scene *scene, struct report *to)
{
	int status = 0;
	pid_t pid;

	report = to;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		be_host(job, scene);
	for (int tries = 0; waitpid(pid, &status, WNOHANG) != pid; tries++) {
		if (tries == HANG_MS * 10) {
			wrong("the host hangs");
			kill(pid, SIGKILL);
		}
		usleep(100);
	}
	if (status != 0 && !job->killed)
		wrong("the host ended with %s %d", WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}
