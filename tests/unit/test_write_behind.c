// SPDX-License-Identifier: GPL-2.0-or-later
/* A file gets all bytes in order, and an error shows, at the latest, at the end. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/write_behind.h"

#define LONG ((size_t)45 << 20) /* several times through the ring */

static uint8_t byte_at(uint64_t at)
{
	return (uint8_t)(at * 2654435761u >> 24);
}

static nlink_t n_threads(void)
{
	struct stat tasks;

	assert_int_equal(stat("/proc/self/task", &tasks), 0);
	return tasks.st_nlink;
}

static int new_file(void)
{
	int fd = memfd_create("written", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void fill(struct hf_write_behind *behind, const struct iovec *to)
{
	uint8_t *data = to->iov_base;

	for (size_t i = 0; i < to->iov_len; i++)
		data[i] = byte_at(behind->filled + i);
}

/* Bytes are made where they are to be. Returns what the last call did. */
static int make(struct hf_write_behind *behind, size_t len)
{
	int ret = 0;

	while (len > 0 && ret == 0) {
		struct iovec to[2];
		size_t part = hf_write_behind_room(behind, len, to);

		assert_int_equal(part, len < HF_BEHIND_ROOM ? len : HF_BEHIND_ROOM);
		assert_int_equal(part, to[0].iov_len + to[1].iov_len);
		fill(behind, &to[0]);
		ret = hf_write_behind_add(behind, to[0].iov_len);
		if (ret == 0 && to[1].iov_len) {
			fill(behind, &to[1]);
			ret = hf_write_behind_add(behind, to[1].iov_len);
		}
		len -= part;
	}
	return ret;
}

static int put(struct hf_write_behind *behind, size_t len)
{
	uint8_t *data = malloc(len);
	int ret;

	assert_non_null(data);
	fill(behind, &(struct iovec){data, len});
	ret = hf_write_behind_put(behind, data, len);
	free(data);
	return ret;
}

static void check(int fd, uint64_t len)
{
	struct stat st;
	uint8_t *data;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, len);
	data = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(data != MAP_FAILED);
	for (uint64_t i = 0; i < len; i++)
		if (data[i] != byte_at(i))
			fail_msg("byte %llu is wrong", (unsigned long long)i);
	munmap(data, len);
}

static void test_short(void **state)
{
	struct hf_write_behind behind;
	nlink_t before = n_threads();
	int fd = new_file();

	(void)state;
	assert_int_equal(hf_write_behind_start(&behind, fd), 0);
	assert_int_equal(put(&behind, 1), 0);
	assert_int_equal(put(&behind, 1000000), 0);
	assert_int_equal(hf_write_behind_flush(&behind), 0);
	check(fd, 1000001);
	assert_int_equal(put(&behind, 10), 0);
	/* Nobody needs help with so little. */
	assert_int_equal(n_threads(), before);
	assert_int_equal(hf_write_behind_end(&behind), 0);
	check(fd, 1000011);
	close(fd);
}

/* Pieces of all sizes, small ones among long ones, and one that somebody else writes. */
static void test_long(void **state)
{
	static const size_t pieces[] = {200, HF_BEHIND_ROOM, 1, 3 * HF_BEHIND_ROOM / 2, 70000, 5};
	struct hf_write_behind behind;
	nlink_t before = n_threads();
	uint8_t others[777];
	int fd = new_file();

	(void)state;
	assert_int_equal(hf_write_behind_start(&behind, fd), 0);
	for (size_t i = 0; behind.filled < LONG; i++) {
		size_t len = pieces[i % 6];

		assert_int_equal(i % 2 ? make(&behind, len) : put(&behind, len), 0);
	}
	assert_int_equal(n_threads(), before + 1);
	assert_int_equal(hf_write_behind_flush(&behind), 0);
	check(fd, behind.filled);
	fill(&behind, &(struct iovec){others, sizeof(others)});
	assert_int_equal(pwrite(fd, others, sizeof(others), (off_t)behind.filled), sizeof(others));
	assert_int_equal(hf_write_behind_skip(&behind, sizeof(others)), 0);
	assert_int_equal(make(&behind, HF_BEHIND_ROOM), 0);
	assert_int_equal(hf_write_behind_end(&behind), 0);
	check(fd, behind.filled);
	assert_int_equal(n_threads(), before);
	close(fd);
}

/* Writes until it shows: at once, in the other thread, or with the last part. */
static void test_no_room(void **state)
{
	static const size_t rooms[] = {1, 1000000, LONG - 1};
	struct rlimit was, limit;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		struct hf_write_behind behind;
		nlink_t before = n_threads();
		int fd = new_file();

		limit = (struct rlimit){rooms[i], was.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		assert_int_equal(hf_write_behind_start(&behind, fd), 0);
		if (make(&behind, LONG) == 0)
			assert_true(i == 2);
		/* It stays so, and nobody waits for ever. */
		assert_int_equal(hf_write_behind_flush(&behind), -EFBIG);
		assert_int_equal(make(&behind, 5 * HF_BEHIND_ROOM), -EFBIG);
		assert_int_equal(hf_write_behind_end(&behind), -EFBIG);
		assert_int_equal(n_threads(), before);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
		check(fd, rooms[i]);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
