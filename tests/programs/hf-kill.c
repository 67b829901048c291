// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs a command and kills a process, by SIGKILL, at a system call that is told by its number: so
 * that every step can be hit, and hit again. The process is stopped where it enters the call, which
 * is not made. Exits as the command does.
 *
 * What it does not kill goes on undisturbed: it traces only the one process whose calls it counts,
 * and, until it has found that, all that it may be.
 *
 * Of a process with threads it can count the calls of them all (--threads): without those by which
 * the threads wait for each other or take memory, of which no two runs make the same.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_TASKS 1024

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC)
#define FOLLOW  (PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)

struct task {
	pid_t pid;
	bool naming;  /* in a call that may change its name */
	bool counted; /* it is the target, or a thread of it */
};

/* The K-th call of a number; that of number -1 has been made before all begins. */
struct mark {
	long number;
	bool chosen; /* only with these arguments, its second and its third: */
	unsigned long second, third;
	unsigned long left;
};

static struct {
	/* what is asked for */
	char *name;          /* count the calls of a process of this name, or NULL: */
	unsigned long nth;   /* the how many-th */
	unsigned long child; /* of this child, counted from 1; 0: the command itself */
	unsigned long call;  /* kill at this call; 0: only count */
	struct mark since;   /* count from here on */
	struct mark follow;  /* of the command's children, know only those made from here on */
	pid_t victim;        /* kill this one instead; 0: the one whose calls are counted */
	bool threads;        /* count the calls of all its threads */
	bool list;           /* report every call */

	/* what was found */
	FILE *report;
	pid_t main, target;
	bool main_over, target_over;
	int main_status;
	unsigned long calls, children;
	struct task tasks[MAX_TASKS];
	size_t n_tasks;
} the = {.since = {.number = -1}, .follow = {.number = -1}};

static void usage(void)
{
	fputs("usage: hf-kill [options] COMMAND...\n"
	      "  --name NAME[:K]    count the calls of the K-th process called so\n"
	      "  --child N          count the calls of the N-th process made by the command\n"
	      "                     (default: those of the command itself)\n"
	      "  --call N           kill it as it makes its N-th call (default: count only)\n"
	      "  --since NUMBER[,A,B][:K] count from its K-th call of this number on, which is\n"
	      "                     the first; or of those whose second and third arguments are\n"
	      "                     A and B\n"
	      "  --follow NUMBER[:K] know only the children made after its K-th call of this "
	      "number\n"
	      "  --victim PID       kill this process instead\n"
	      "  --threads          count the calls of all its threads, but those that only keep\n"
	      "                     house; of the command itself\n"
	      "  --report FILE      what was done: killed CALL NUMBER ARGUMENTS..., calls N\n"
	      "  --list             report every call: call N NUMBER ARGUMENTS...\n",
		stderr);
	exit(2);
}

static void die(const char *what)
{
	fprintf(stderr, "hf-kill: %s: %s\n", what, strerror(errno));
	exit(126);
}

static struct mark parse_mark(const char *text)
{
	char *end;
	struct mark mark = {.number = strtol(text, &end, 10), .left = 1};

	if (*end == ',') {
		mark.chosen = true;
		mark.second = strtoul(end + 1, &end, 10);
		mark.third = *end == ',' ? strtoul(end + 1, &end, 10) : 0;
	}
	if (*end == ':')
		mark.left = strtoul(end + 1, NULL, 10);
	return mark;
}

/* True from the call of the mark on. */
static bool passed(struct mark *mark, const struct __ptrace_syscall_info *info)
{
	bool is_it = mark->number >= 0 && (long)info->entry.nr == mark->number &&
		     (!mark->chosen || (info->entry.args[1] == mark->second &&
					       info->entry.args[2] == mark->third));

	if (is_it && --mark->left == 0)
		mark->number = -1;
	return mark->number < 0;
}

static void parse_options(int argc, char **argv)
{
	static const struct option longs[] = {
		{"name", required_argument, NULL, 'n'},
		{"child", required_argument, NULL, 'c'},
		{"call", required_argument, NULL, 'a'},
		{"since", required_argument, NULL, 's'},
		{"follow", required_argument, NULL, 'f'},
		{"victim", required_argument, NULL, 'v'},
		{"report", required_argument, NULL, 'r'},
		{"threads", no_argument, NULL, 't'},
		{"list", no_argument, NULL, 'l'},
		{0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
		if (opt == 'n') {
			the.name = strsep(&optarg, ":");
			the.nth = optarg ? strtoul(optarg, NULL, 10) : 1;
		} else if (opt == 'c') {
			the.child = strtoul(optarg, NULL, 10);
		} else if (opt == 'a') {
			the.call = strtoul(optarg, NULL, 10);
		} else if (opt == 's') {
			the.since = parse_mark(optarg);
		} else if (opt == 'f') {
			the.follow = parse_mark(optarg);
		} else if (opt == 'v') {
			the.victim = (pid_t)strtol(optarg, NULL, 10);
		} else if (opt == 't') {
			the.threads = true;
		} else if (opt == 'l') {
			the.list = true;
		} else if (opt == 'r') {
			the.report = fopen(optarg, "we");
			if (!the.report)
				die(optarg);
		} else {
			usage();
		}
	}
	if (optind == argc || (the.name && the.child) || (the.threads && (the.name || the.child)))
		usage();
}

/* Asked once for each process that may have got the name. */
static bool is_called(pid_t pid)
{
	char path[64], comm[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fgets(comm, sizeof(comm), file))
		comm[strcspn(comm, "\n")] = 0;
	fclose(file);
	return strcmp(comm, the.name) == 0 && --the.nth == 0;
}

static struct task *find(pid_t pid)
{
	for (size_t i = 0; i < the.n_tasks; i++)
		if (the.tasks[i].pid == pid)
			return &the.tasks[i];
	return NULL;
}

static void forget(pid_t pid)
{
	struct task *task = find(pid);

	if (task)
		*task = the.tasks[--the.n_tasks];
}

static void found(struct task *task)
{
	the.target = task->pid;
	task->counted = true;
	/* Its children are none of ours; those of the others are let go as they appear. A thread is
	 * made by what is neither fork() nor vfork(). */
	ptrace(PTRACE_SETOPTIONS, task->pid, NULL,
		OPTIONS | (the.threads ? PTRACE_O_TRACECLONE : 0));
}

static bool is_thread_of(pid_t pid, pid_t leader)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)leader, (int)pid);
	return access(path, F_OK) == 0;
}

static struct task *meet(pid_t pid)
{
	struct task *task = find(pid);

	if (task)
		return task;
	if (the.n_tasks == MAX_TASKS) {
		errno = ENOMEM;
		die("too many processes");
	}
	task = &the.tasks[the.n_tasks++];
	*task = (struct task){.pid = pid};
	task->counted = the.threads && the.target && is_thread_of(pid, the.target);
	if (pid != the.main && ++the.children == the.child && !the.target)
		found(task);
	return task;
}

static void report_call(const char *what, const struct __ptrace_syscall_info *info)
{
	if (the.report)
		fprintf(the.report, "%s %lu %llu %llx %llx %llx %llx\n", what, the.calls,
			(unsigned long long)info->entry.nr, (unsigned long long)info->entry.args[0],
			(unsigned long long)info->entry.args[1],
			(unsigned long long)info->entry.args[2],
			(unsigned long long)info->entry.args[3]);
}

/* What a thread does because of other threads, or of memory. */
static bool keeps_house(long number)
{
	static const long numbers[] = {SYS_futex, SYS_nanosleep, SYS_clock_nanosleep,
		SYS_sched_yield, SYS_epoll_pwait, SYS_epoll_ctl, SYS_restart_syscall, SYS_mmap,
		SYS_munmap, SYS_madvise, SYS_mprotect, SYS_prctl, SYS_clone, SYS_clone3, SYS_exit,
		SYS_set_robust_list, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask,
		SYS_rt_sigreturn, SYS_sigaltstack, SYS_tgkill, SYS_gettid, SYS_getpid};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (number == numbers[i])
			return true;
	return false;
}

/* True when somebody was killed. */
static bool count(pid_t pid, const struct __ptrace_syscall_info *info)
{
	if (the.threads && keeps_house((long)info->entry.nr))
		return false;
	if (!passed(&the.since, info))
		return false;
	the.calls++;
	if (the.list)
		report_call("call", info);
	if (the.calls != the.call)
		return false;
	report_call("killed", info);
	if (the.report)
		fflush(the.report);
	kill(the.victim ? the.victim : pid, SIGKILL);
	return true;
}

static void let_go(pid_t pid, int sig)
{
	ptrace(PTRACE_DETACH, pid, NULL, sig);
	forget(pid);
}

static void go_on(const struct task *task, int sig)
{
	if (the.target && !task->counted)
		let_go(task->pid, sig);
	else
		ptrace(PTRACE_SYSCALL, task->pid, NULL, sig);
}

static void on_syscall(struct task *task)
{
	struct __ptrace_syscall_info info = {0};
	pid_t pid = task->pid;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
		return; /* killed by another */
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY && task->counted) {
		if (count(the.target, &info)) {
			the.target_over = true;
			if (the.victim)
				let_go(pid, 0);
			return;
		}
	} else if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		task->naming = info.entry.nr == SYS_prctl && (int)info.entry.args[0] == PR_SET_NAME;
		if (pid == the.main && the.follow.number >= 0 && passed(&the.follow, &info))
			ptrace(PTRACE_SETOPTIONS, pid, NULL, OPTIONS | FOLLOW);
	} else if (task->naming && !the.target && the.name && is_called(pid)) {
		found(task);
	}
	go_on(task, 0);
}

static void on_stop(pid_t pid, int status)
{
	struct task *task = meet(pid);
	int sig = WSTOPSIG(status), event = status >> 16;

	if (sig == (SIGTRAP | 0x80)) {
		on_syscall(task);
	} else if (event == PTRACE_EVENT_EXEC) {
		if (!the.target && (the.name ? is_called(pid) : !the.child && pid == the.main))
			found(task);
		go_on(task, 0);
	} else if (event == PTRACE_EVENT_STOP && sig != SIGTRAP) {
		if (the.target && !task->counted)
			let_go(pid, 0);
		else
			ptrace(PTRACE_LISTEN, pid, NULL, NULL);
	} else {
		go_on(task, event ? 0 : sig);
	}
}

static void on_end(pid_t pid, int status)
{
	if (pid == the.main) {
		the.main_over = true;
		the.main_status = status;
	}
	if (pid == the.target)
		the.target_over = true;
	forget(pid);
}

static void trace(void)
{
	/* Whatever is left when this ends, the kernel sets free. */
	while (!the.main_over || !the.target_over) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			break;
		if (WIFSTOPPED(status))
			on_stop(pid, status);
		else
			on_end(pid, status);
	}
}

static void start(char **command)
{
	bool all = (the.name || the.child) && the.follow.number < 0;
	int gate[2];
	char word;

	if (pipe(gate) < 0)
		die("pipe");
	the.main = fork();
	if (the.main < 0)
		die("fork");
	if (the.main == 0) {
		close(gate[1]);
		/* Nothing is said; it is closed when all is ready. */
		while (read(gate[0], &word, 1) < 0 && errno == EINTR)
			;
		close(gate[0]);
		execvp(command[0], command);
		fprintf(stderr, "hf-kill: %s: %s\n", command[0], strerror(errno));
		_exit(127);
	}
	close(gate[0]);
	if (ptrace(PTRACE_SEIZE, the.main, NULL, OPTIONS | (all ? FOLLOW : 0)) < 0) {
		kill(the.main, SIGKILL);
		die("PTRACE_SEIZE");
	}
	/* It stops at calls only once it was made to go on by PTRACE_SYSCALL. */
	ptrace(PTRACE_INTERRUPT, the.main, NULL, NULL);
	close(gate[1]);
}

int main(int argc, char **argv)
{
	parse_options(argc, argv);
	start(argv + optind);
	trace();
	if (the.report) {
		fprintf(the.report, "calls %lu\n", the.calls);
		if (fclose(the.report))
			die("report");
	}
	if (!the.main_over)
		return 126;
	return WIFSIGNALED(the.main_status) ? 128 + WTERMSIG(the.main_status)
					    : WEXITSTATUS(the.main_status);
}
