// SPDX-License-Identifier: GPL-2.0-or-later
/* Work in shares: everything is done once, and of errors the first one counts. */
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/parallel.h"

#define N 10000

struct work {
	unsigned char done[N];
	uint32_t fail_at[2]; /* N: nowhere */
	uint32_t shares;
};

static int do_some(void *context, uint32_t from, uint32_t to, struct hf_error *err)
{
	struct work *work = context;

	__atomic_add_fetch(&work->shares, 1, __ATOMIC_RELAXED);
	for (uint32_t i = from; i < to; i++) {
		work->done[i]++;
		if (i == work->fail_at[0] || i == work->fail_at[1])
			return hf_error_set(err, -EIO, "item %u", i);
	}
	return 0;
}

static nlink_t n_threads(void)
{
	struct stat tasks;

	assert_int_equal(stat("/proc/self/task", &tasks), 0);
	return tasks.st_nlink;
}

static void test_all_once(void **state)
{
	static const uint32_t counts[] = {0, 1, 2, 99, 100, 101, N};
	nlink_t before = n_threads();

	(void)state;
	for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
		struct work work = {.fail_at = {N, N}};

		assert_int_equal(hf_parallel(counts[k], 50, do_some, &work, NULL), 0);
		for (uint32_t i = 0; i < N; i++)
			assert_int_equal(work.done[i], i < counts[k]);
		assert_true(work.shares >= 1 && work.shares <= HF_PARALLEL_MAX);
		if (counts[k] < 100)
			assert_int_equal(work.shares, 1);
		/* CRIU must be alone again at once. */
		assert_int_equal(n_threads(), before);
	}
}

static void test_first_error(void **state)
{
	struct work work = {.fail_at = {10, N - 1}};
	struct hf_error err = HF_ERROR_INIT;

	(void)state;
	assert_int_equal(hf_parallel(N, 1, do_some, &work, &err), -EIO);
	assert_string_equal(err.text, "item 10");
	assert_int_equal(work.done[11], 0);
	work = (struct work){.fail_at = {N - 1, N}};
	assert_int_equal(hf_parallel(N, 1, do_some, &work, &err), -EIO);
	assert_string_equal(err.text, "item 9999");
	assert_int_equal(work.done[0], 1);
	assert_int_equal(hf_parallel(N, 1, do_some, &work, NULL), -EIO);
}

static int block(void *context, uint32_t from, uint32_t to, struct hf_error *err)
{
	sigset_t *masks = context;

	(void)to;
	(void)err;
	return -pthread_sigmask(SIG_SETMASK, NULL, &masks[from]);
}

/* A thread of ours takes no signal that is meant for CRIU's. */
static void test_signals(void **state)
{
	static sigset_t masks[HF_PARALLEL_MAX];

	(void)state;
	assert_int_equal(hf_parallel(2, 1, block, masks, NULL), 0);
	assert_false(sigismember(&masks[0], SIGCHLD));
	/* With one processor there is no other thread. */
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		assert_true(sigismember(&masks[1], SIGCHLD));
}

static int close_it(void *context, uint32_t from, uint32_t to, struct hf_error *err)
{
	(void)to;
	(void)err;
	return from == 0 ? 0 : -close(*(int *)context);
}

/* Each thread has files of its own. */
static void test_files(void **state)
{
	int fd = dup(0);

	(void)state;
	assert_int_equal(hf_parallel(2, 1, close_it, &fd, NULL), 0);
	assert_int_equal(close(fd), 0);
}

static int call_fails(void *context, struct hf_error *err)
{
	(void)context;
	return hf_error_set(err, -EAGAIN, "in the background");
}

static int call_works(void *context, struct hf_error *err)
{
	(void)err;
	*(int *)context = dup(0);
	return 7;
}

static void test_background(void **state)
{
	struct hf_error err = HF_ERROR_INIT;
	struct hf_background background;
	nlink_t before = n_threads();
	int opened = -1;

	(void)state;
	hf_background_start(&background, call_works, &opened);
	assert_int_equal(hf_background_end(&background, &err), 7);
	assert_int_equal(close(opened), 0);
	assert_string_equal(err.text, "");
	hf_background_start(&background, call_fails, NULL);
	assert_int_equal(hf_background_end(&background, &err), -EAGAIN);
	assert_string_equal(err.text, "in the background");
	hf_background_start(&background, call_fails, NULL);
	assert_int_equal(hf_background_end(&background, NULL), -EAGAIN);
	assert_int_equal(n_threads(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_once),
		cmocka_unit_test(test_first_error),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_background),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
