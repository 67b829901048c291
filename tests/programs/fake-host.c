// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Plays CRIU for the plugin, with a real application and real connections, and makes one call after
 * another go wrong: of the plugin, and of the libraries that it uses.
 *
 *   hf-host PLUGIN SCENARIO KIND [FIRST [STEP [BATCH]]]
 *
 *   SCENARIO  dump      whatever comes before the tasks are killed
 *             rollback  what comes after CRIU has failed
 *             resume    what comes after CRIU has succeeded; the application goes on
 *             early     the same, and CRIU ends while it kills the tasks
 *             killed    CRIU is killed before the exit hook
 *             restore   into a network namespace that the runtime has passed, with its lock
 *             late      into one that is not known before the tasks exist, without a lock
 *   KIND      fail, eintr or short, see every.h; with + all later calls go wrong as well, with @
 *             in the guardian, with both in this order: fail+@
 *   FIRST, STEP  the calls that go wrong, until none is left
 *   BATCH     so many failures with the same application, until its connections' data is checked
 *
 * Exit status: 0 all is as it should be, 1 not: said on stdout.
 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/image.h"

#define MAX_WRONG 40

enum scenario { DUMP, ROLLBACK, RESUME, EARLY_END, KILLED, RESTORE, LATE, SCENARIOS };
static const char *const scenarios[] = {
	"dump", "rollback", "resume", "early", "killed", "restore", "late"};

/* What a dump that succeeded leaves open: to the guardian, which sees by it when CRIU ends, and
 * what CRIU's end needs, if that was to be had. */
#define LEFT_FDS     1
#define LEFT_FDS_ALL (LEFT_FDS + 2 + N_TASKS)

static struct report *report;
static struct hf_every plan; /* what every attempt starts with */
static int outside, image_dir;
static int host_tables; /* of a lock that is whole */
static bool fired;      /* the fault of the last attempt */
static long calls, refused, survived;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* ---- one run of the host */

static void check_left_fds(const struct job *job)
{
	bool may_leave = job->stage == STAGE_DUMP && !host_failed(report) && job->result == 0;
	int n = report->left_fds;

	/* Who is killed was not looked at. */
	if (!job->killed && (may_leave ? n != LEFT_FDS && n != LEFT_FDS_ALL : n))
		wrong("%d file descriptors are left", n);
}

static void check_report(const struct job *job)
{
	check_left_fds(job);
	if (report->left_children)
		wrong("a child is left");
	if (report->left_memory)
		wrong("memory is lost");
	if (report->errors && (!strchr(report->error, '\n') || strstr(report->error, ": \n")))
		wrong("a log line that does not say it: %s", report->error);
	if (host_failed(report) && !report->every.fired)
		wrong("failed without a fault: %s", report->error);
	/* One more for what cannot be undone either. */
	if (host_failed(report) && report->errors != 1 && !(plan.and_later && report->errors == 2))
		wrong("%d error lines: %s", report->errors, report->error);
	if (getenv("HF_HOST_VERBOSE"))
		printf("%s: %ld calls, %d errors %s", what_now, report->every.calls, report->errors,
			report->errors ? report->error : "\n");
}

static void run(struct job job, struct scene *scene, long at)
{
	bool all_gone;

	memset(report, 0, sizeof(*report));
	report->hook = -ENOTSUP;
	report->every = plan;
	report->every.at = at;
	job.image_dir = image_dir;
	job.netns = outside;
	host_run(&job, scene, report);
	/* The guardian, whose calls may be those that count. */
	all_gone = await_children(scene);
	if (at) {
		fired = report->every.fired;
		calls = report->every.calls;
	}
	snprintf(what_now + strcspn(what_now, "("), 100, "(%s %s+%#lx) init %d hook %d",
		report->every.fired ? report->every.function : "no fault",
		report->every.fired ? "" : "-", report->every.from, report->init, report->hook);
	if (!all_gone)
		wrong("a process is left");
	check_report(&job);
}

static bool has_image(void)
{
	return faccessat(image_dir, HF_IMAGE_NAME, F_OK, 0) == 0;
}

static void remove_image(void)
{
	unlinkat(image_dir, HF_IMAGE_NAME, 0);
}

/* The container's and the host's. */
static void remove_locks(void)
{
	remove_tables(-1);
	remove_tables(outside);
}

static void check_locked(void)
{
	int on_host = count_tables(outside);

	if (count_tables(-1) != 1)
		wrong("%d locks", count_tables(-1));
	/* They are removed one after the other. */
	if (plan.and_later ? on_host > host_tables : on_host != host_tables)
		wrong("%d tables of the host's lock", on_host);
}

static void check_unlocked(void)
{
	if (count_tables(-1) != 0)
		wrong("the lock is left");
	if (count_tables(outside) != 0)
		wrong("the host's lock is left");
}

static void new_scene(struct scene *scene)
{
	remove_locks();
	remove_image();
	scene_make(scene);
	note_options(scene);
	note_peers(scene);
}

/* A dump and the end of its tasks, after which all is held. */
static void check_dumped(struct scene *scene)
{
	if (!scene_is_dead(scene))
		wrong("the tasks live");
	if (!await_children(scene))
		wrong("a process is left");
	if (!has_image())
		wrong("there is no image");
	check_locked();
	check_peers(scene, false);
}

static void check_unchanged(struct scene *scene, bool complained)
{
	check_unlocked();
	check_options(scene, false, complained);
	if (complained)
		note_options(scene);
}

static void check_restored(struct scene *scene)
{
	check_unlocked();
	check_options(scene, true, report->errors);
	check_data(scene, true);
}

/* Without a fault. */
static void restore_well(struct scene *scene)
{
	struct job job = {.stage = STAGE_RESTORE, .container = -1};
	int before = n_wrong;

	scene_make_closed(scene);
	run(job, scene, 0);
	if (host_failed(report))
		wrong("restore: %s", report->error);
	else
		check_restored(scene);
	if (n_wrong > before)
		wrong("in the restore without a fault that came next");
}

static void dump_well(struct scene *scene)
{
	struct job job = {.stage = STAGE_DUMP, .container = -1};

	run(job, scene, 0);
	if (host_failed(report))
		wrong("dump: %s", report->error);
	check_dumped(scene);
}

/* Of the host's lock, which has one less where the kernel has no bridge family. */
static void learn_tables(void)
{
	struct scene scene;

	snprintf(what_now, sizeof(what_now), "a dump without a fault (");
	new_scene(&scene);
	run((struct job){.stage = STAGE_DUMP, .container = -1}, &scene, 0);
	scene_clear(&scene);
	host_tables = count_tables(outside);
	if (host_tables == 0)
		wrong("the host has no lock");
}

/* ---- the scenarios: each tries the fault, and says whether the scene is used up */

static bool try_dump(struct scene *scene, long at)
{
	struct job job = {.stage = STAGE_DUMP, .arm_hooks = true, .container = -1};

	run(job, scene, at);
	if (host_failed(report)) {
		refused++;
		if (has_image() && !plan.and_later)
			wrong("an image is left");
		check_unchanged(scene, false);
		return false;
	}
	survived++;
	check_dumped(scene);
	restore_well(scene);
	return true;
}

static bool try_rollback(struct scene *scene, long at)
{
	struct job job = {.stage = STAGE_DUMP, .result = -1, .container = -1};

	run(job, scene, at);
	if (report->errors)
		refused++;
	else
		survived++;
	if (report->errors > 1)
		wrong("%d error lines: %s", report->errors, report->error);
	if (has_image() && !report->errors)
		wrong("an image is left");
	check_unchanged(scene, report->errors);
	return false;
}

/* Nobody is there to remove the image. */
static bool try_killed(struct scene *scene, long at)
{
	struct job job = {.stage = STAGE_DUMP, .arm_hooks = true, .killed = true, .container = -1};

	run(job, scene, at);
	if (host_failed(report))
		refused++;
	else
		survived++;
	remove_image();
	check_unchanged(scene, false);
	return false;
}

static bool try_resume(struct scene *scene, long at)
{
	struct job job = {.stage = STAGE_DUMP,
		.arm_hooks = plan.in_children,
		.resume = true,
		.container = -1};

	run(job, scene, at);
	if (report->errors)
		refused++;
	else
		survived++;
	if (report->errors > 1)
		wrong("%d error lines: %s", report->errors, report->error);
	check_unchanged(scene, report->errors);
	return false;
}

static bool try_early(struct scene *scene, long at)
{
	struct job job = {
		.stage = STAGE_DUMP, .arm_hooks = plan.in_children, .held = true, .container = -1};

	run(job, scene, at);
	if (host_failed(report)) {
		refused++;
		scene_is_dead(scene);
		check_unlocked();
		return true;
	}
	survived++;
	check_dumped(scene);
	restore_well(scene);
	return true;
}

static bool try_restore(struct scene *scene, long at, bool late)
{
	struct job job = {.stage = STAGE_RESTORE, .arm_hooks = true, .container = -1};

	if (late)
		remove_locks();
	else
		job.container = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	scene_make_closed(scene);
	run(job, scene, at);
	if (!late)
		close(job.container);
	if (!host_failed(report)) {
		survived++;
		check_restored(scene);
		return true;
	}
	refused++;
	if (strstr(report->error, "not everything")) {
		/* After the unlock: all goes on. */
		check_restored(scene);
		return true;
	}
	if (!scene_is_dead(scene))
		wrong("the tasks live");
	if (!late)
		check_locked();
	check_peers(scene, true);
	return false;
}

static bool attempt(enum scenario scenario, struct scene *scene, long at)
{
	switch (scenario) {
	case DUMP:
		return try_dump(scene, at);
	case ROLLBACK:
		return try_rollback(scene, at);
	case RESUME:
		return try_resume(scene, at);
	case KILLED:
		return try_killed(scene, at);
	case EARLY_END:
		return try_early(scene, at);
	default:
		return try_restore(scene, at, scenario == LATE);
	}
}

/* The scene of a batch of failures: are its connections whole? */
static void end_batch(enum scenario scenario, struct scene *scene)
{
	snprintf(what_now + strcspn(what_now, "("), 100, "(afterwards)");
	if (scenario == RESTORE || scenario == LATE)
		restore_well(scene);
	else
		check_data(scene, false);
}

static void try_all(enum scenario scenario, const char *kind, long first, long step, long batch)
{
	long at = first;

	learn_tables();
	fired = true;
	while (fired && n_wrong < MAX_WRONG) {
		bool used_up = false;
		struct scene scene;

		scene_is_heavy = scenario == EARLY_END;
		snprintf(what_now, sizeof(what_now), "%s %s (new)", scenarios[scenario], kind);
		new_scene(&scene);
		if (scenario == RESTORE || scenario == LATE) {
			dump_well(&scene);
			if (scenario == RESTORE)
				scene_send_held(&scene);
			note_peers(&scene);
		}
		for (long i = 0; i < batch && fired && !used_up; i++, at += step) {
			snprintf(what_now, sizeof(what_now), "%s %s %ld (", scenarios[scenario],
				kind, at);
			used_up = attempt(scenario, &scene, at);
		}
		if (!used_up)
			end_batch(scenario, &scene);
		scene_clear(&scene);
	}
	remove_locks();
	printf("%s %s: %ld calls, %ld failures, %ld survived, %d wrong\n", scenarios[scenario],
		kind, calls, refused, survived, n_wrong);
}

/* ---- */

static bool set_plan(const char *kind)
{
	size_t len = strcspn(kind, "+@");

	if (strncmp(kind, "fail", len) == 0)
		plan.kind = HF_EVERY_FAIL;
	else if (strncmp(kind, "eintr", len) == 0)
		plan.kind = HF_EVERY_EINTR;
	else if (strncmp(kind, "short", len) == 0)
		plan.kind = HF_EVERY_SHORT;
	plan.and_later = strchr(kind, '+');
	plan.in_children = strchr(kind, '@');
	return plan.kind != 0;
}

/* Our own becomes the host's; the container's is where we are from then on. */
static void make_namespaces(void)
{
	const struct sockaddr_in ip = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(APP_IP)};
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	struct ifreq alias = {.ifr_name = "lo:1"};
	int sock;

	if (unshare(CLONE_NEWNET) < 0)
		die("unshare");
	outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (outside < 0 || unshare(CLONE_NEWNET) < 0)
		die("unshare");
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	memcpy(&alias.ifr_addr, &ip, sizeof(ip));
	if (ioctl(sock, SIOCSIFFLAGS, &lo) < 0 || ioctl(sock, SIOCSIFADDR, &alias) < 0)
		die("lo");
	close(sock);
}

int main(int argc, char **argv)
{
	char directory[] = "/tmp/hf-host-XXXXXX";
	enum scenario scenario = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (argc > 2 && scenario < SCENARIOS && strcmp(argv[2], scenarios[scenario]) != 0)
		scenario++;
	if (argc < 4 || scenario == SCENARIOS || !set_plan(argv[3])) {
		fprintf(stderr, "usage: hf-host PLUGIN SCENARIO KIND [FIRST [STEP [BATCH]]]\n");
		return 2;
	}
	report = mmap(
		NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED || !mkdtemp(directory))
		die("start");
	image_dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	make_namespaces();
	host_load(argv[1]);
	try_all(scenario, argv[3], argc > 4 ? atol(argv[4]) : 1, argc > 5 ? atol(argv[5]) : 1,
		argc > 6 ? atol(argv[6]) : 1);
	remove_image();
	rmdir(directory);
	return n_wrong ? 1 : 0;
}
