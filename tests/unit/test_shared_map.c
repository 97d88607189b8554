// SPDX-License-Identifier: Apache-2.0
// Tests of core/shared_map.c: which parts of which files are mapped, and that exactly those are.
#include "core/shared_map.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "tests/unit/unit.h"

enum { FILE_LEN = 5 * 4096 };

static int fd;
static struct shared_map map;

static int setup(void **state)
{
	(void)state;
	fd = memfd_create("shared", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_LEN), 0);
	map = (struct shared_map){0};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	shared_map_close(&map);
	close(fd);
	return 0;
}

static void expect_refused(u64 len, u64 offset, int file)
{
	assert_true(shared_map_open(&map, "a map", len, offset, file) < 0);
	assert_null(map.bytes);
}

TEST(part_begins_where_it_was_asked_for)
{
	const u64 offsets[] = {0, 8, 4095, 4096, FILE_LEN - 1};

	for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
		const u8 mark = (u8)(i + 1);
		u8 *bytes;

		assert_int_equal(pwrite(fd, &mark, 1, (off_t)offsets[i]), 1);
		assert_int_equal(
			shared_map_open(&map, "a map", FILE_LEN - offsets[i], offsets[i], fd), 0);
		bytes = map.bytes;
		assert_int_equal(*bytes, mark);
		assert_true(map.len == FILE_LEN - offsets[i]);
		assert_true(bytes >= (u8 *)map.map &&
			    bytes + map.len <= (u8 *)map.map + map.map_len);
		shared_map_close(&map);
		assert_null(map.bytes);
	}
}

TEST(what_is_written_to_the_part_is_in_the_file)
{
	u8 byte = 0;

	assert_int_equal(shared_map_open(&map, "a map", 16, 100, fd), 0);
	map.bytes[3] = 42;
	assert_int_equal(pread(fd, &byte, 1, 103), 1);
	assert_int_equal(byte, 42);
}

TEST(fd_may_be_closed)
{
	assert_int_equal(shared_map_open(&map, "a map", FILE_LEN, 0, fd), 0);
	close(fd);
	map.bytes[FILE_LEN - 1] = 1;
	fd = -1;
}

TEST(part_that_is_empty_wraps_or_is_not_in_the_file_is_refused)
{
	expect_refused(0, 0, fd);
	expect_refused(1, FILE_LEN, fd);
	expect_refused(FILE_LEN + 1, 0, fd);
	expect_refused(FILE_LEN, 1, fd);
	expect_refused(UINT64_MAX, 2, fd);
	expect_refused(2, UINT64_MAX, fd);
}

TEST(file_that_cannot_be_read_and_written_is_refused)
{
	char path[64];
	int fds[2], other;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, O_RDONLY | O_CLOEXEC);
	expect_refused(1, 0, other);
	close(other);
	other = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	expect_refused(1, 0, other);
	close(other);
	assert_int_equal(pipe(fds), 0);
	expect_refused(1, 0, fds[0]);
	close(fds[0]);
	close(fds[1]);
	expect_refused(1, 0, -1);
}

TEST(file_that_is_sealed_against_writing_is_refused)
{
	int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(ftruncate(sealed, 4096), 0);
	assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	expect_refused(4096, 0, sealed);
	close(sealed);
}

TEST(nothing_is_closed_twice)
{
	assert_int_equal(shared_map_open(&map, "a map", 1, 0, fd), 0);
	shared_map_close(&map);
	shared_map_close(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_WITH(setup, part_begins_where_it_was_asked_for, teardown),
		RUN_WITH(setup, what_is_written_to_the_part_is_in_the_file, teardown),
		RUN_WITH(setup, fd_may_be_closed, teardown),
		RUN_WITH(setup, part_that_is_empty_wraps_or_is_not_in_the_file_is_refused,
			 teardown),
		RUN_WITH(setup, file_that_cannot_be_read_and_written_is_refused, teardown),
		RUN_WITH(setup, file_that_is_sealed_against_writing_is_refused, teardown),
		RUN_WITH(setup, nothing_is_closed_twice, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
