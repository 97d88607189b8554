// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/medium.c and medium_lock.c.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "applets/blk/medium.h"

static struct medium medium;
static unsigned fds_before;

static int setup(void **state)
{
	(void)state;
	fds_before = unit_open_fds();
	medium.fd = -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	medium_close(&medium);
	return unit_open_fds() == fds_before ? 0 : -1;
}

static int open_with(const char *path, bool read_only, bool direct, enum medium_lock lock)
{
	const struct medium_options options = {
		.path = path, .read_only = read_only, .direct = direct, .lock = lock};

	return medium_open(&medium, &options);
}

static int open_plain(const char *path)
{
	return open_with(path, false, false, MEDIUM_LOCK_AUTO);
}

static int read_at(void *bytes, size_t len, u64 offset)
{
	const struct iovec segment = {.iov_base = bytes, .iov_len = len};

	return medium_read(&medium, &segment, 1, offset, 0);
}

static int write_at(const char *bytes, size_t len, u64 offset)
{
	const struct iovec segment = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};

	return medium_write(&medium, &segment, 1, offset, 0);
}

TEST(file_is_opened_with_its_length_and_in_sectors)
{
	assert_int_equal(open_plain(unit_file("disk", 8192)), 0);
	assert_true(medium.fd >= 0);
	assert_int_equal(medium.len, 8192);
	assert_int_equal(medium.logical_block, 512);
	assert_true(is_power_of_two(medium.physical_block));
	assert_false(medium.direct);
}

TEST(odd_length_is_told_as_it_is)
{
	assert_int_equal(open_plain(unit_file("disk", 8192 + 100)), 0);
	assert_int_equal(medium.len, 8292);
}

TEST(file_is_read_and_written_across_segments_at_any_offset)
{
	char head[3], tail[5];
	const struct iovec segments[2] = {{.iov_base = head, .iov_len = 3},
					  {.iov_base = tail, .iov_len = 5}};

	assert_int_equal(open_plain(unit_file("disk", 4096)), 0);
	assert_int_equal(write_at("abcdefgh", 8, 1001), 8);
	assert_int_equal(medium_read(&medium, segments, 2, 1001, 0), 8);
	assert_memory_equal(head, "abc", 3);
	assert_memory_equal(tail, "defgh", 5);
	assert_int_equal(read_at(tail, 5, 4096), 0);
	assert_int_equal(read_at(tail, 5, 4094), 2);
}

TEST(offsets_beyond_four_gibibytes_are_not_cut)
{
	const char *path = unit_file("disk", 0);
	char byte = 0;

	assert_int_equal(truncate(path, INT64_C(6) << 30), 0);
	assert_int_equal(open_plain(path), 0);
	assert_true(medium.len == UINT64_C(6) << 30);
	assert_int_equal(write_at("x", 1, (UINT64_C(5) << 30) + 7), 1);
	assert_int_equal(read_at(&byte, 1, (UINT64_C(5) << 30) + 7), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(read_at(&byte, 1, (UINT64_C(1) << 30) + 7), 1);
	assert_int_equal(byte, 0);
}

TEST(read_only_medium_cannot_be_written)
{
	const char *path = unit_file("disk", 4096);

	assert_int_equal(open_with(path, true, false, MEDIUM_LOCK_AUTO), 0);
	assert_int_equal(write_at("x", 1, 0), -EBADF);
	assert_false(medium.can_punch);
}

TEST(memory_is_zero_and_keeps_what_is_written)
{
	char bytes[4] = "abc";

	assert_int_equal(open_plain("memory:64K"), 0);
	assert_int_equal(medium.len, 65536);
	assert_true(medium.in_memory);
	assert_int_equal(read_at(bytes, 3, 60000), 3);
	assert_memory_equal(bytes, "\0\0", 3);
	assert_int_equal(write_at("xyz", 3, 60000), 3);
	assert_int_equal(read_at(bytes, 3, 60000), 3);
	assert_memory_equal(bytes, "xyz", 3);
}

TEST(null_has_a_length_and_nothing_else)
{
	assert_int_equal(open_plain("null:8E"), -EINVAL);
	assert_int_equal(open_plain("null:4T"), 0);
	assert_int_equal(medium.fd, -1);
	assert_true(medium.len == BIT64(42));
	assert_false(medium.can_punch);
}

TEST(embedded_medium_without_a_good_size_is_refused)
{
	const char *const bad[] = {"memory:",	     "memory:x",  "null:",
				   "null:-1",	     "memory:1k", "null:0xffffffffffffffff",
				   "memory:8388608T"};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(open_plain(bad[i]), -EINVAL);
}

TEST(medium_without_a_whole_sector_is_opened_with_a_warning)
{
	unit_capture(STDERR_FILENO);
	assert_int_equal(open_plain(unit_file("disk", 100)), 0);
	assert_non_null(strstr(unit_captured(), "no whole sector"));
}

TEST(missing_file_is_told_by_its_name)
{
	int result;

	unit_capture(STDERR_FILENO);
	result = open_plain(unit_path("missing"));
	assert_non_null(strstr(unit_captured(), "missing"));
	assert_int_equal(result, -ENOENT);
	assert_true(medium.fd < 0);
}

TEST(what_is_no_disk_is_refused)
{
	const char *fifo = unit_path("fifo");

	assert_true(open_plain("/") < 0);
	assert_int_equal(open_with("/", true, false, MEDIUM_LOCK_OFF), -EINVAL);
	assert_int_equal(open_plain("/dev/zero"), -EINVAL);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(open_plain(fifo), -EINVAL);
}

TEST(fifo_that_nobody_writes_is_refused_and_not_waited_for)
{
	const char *fifo = unit_path("silent");

	assert_int_equal(mkfifo(fifo, 0600), 0);
	alarm(10); // ends the test if it waits
	assert_int_equal(open_with(fifo, true, false, MEDIUM_LOCK_AUTO), -EINVAL);
	alarm(0);
}

TEST(direct_medium_tells_what_its_transfers_must_be_aligned_to)
{
	static _Alignas(4096) char block[4096];

	assert_int_equal(open_with(unit_file("disk", 16384), false, true, MEDIUM_LOCK_AUTO), 0);
	assert_true(medium.direct);
	assert_in_range(medium.logical_block, 512, 4096);
	assert_true(is_power_of_two(medium.logical_block));
	assert_true(fcntl(medium.fd, F_GETFL) & O_DIRECT);
	assert_int_equal(read_at(block, medium.logical_block, medium.logical_block),
			 medium.logical_block);
	assert_int_equal(block[1], unit_byte(medium.logical_block + 1));
}

TEST(finding_out_what_a_file_can_do_changes_neither_length_nor_content)
{
	const char *path = unit_file("disk", 5000);
	struct stat before, first;
	u8 bytes[5000];

	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(open_plain(path), 0);
	assert_int_equal(read_at(bytes, sizeof(bytes), 0), sizeof(bytes));
	for (u64 i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], unit_byte(i));
	assert_int_equal(fstat(medium.fd, &first), 0);
	assert_int_equal(first.st_size, 5000);
	assert_int_equal(first.st_blocks, before.st_blocks); // nor is more allocated
}

// ---- locks, against a process of its own

// What another process gets that opens the file so.
static int open_elsewhere(const char *path, bool read_only, enum medium_lock lock)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(-open_with(path, read_only, false, lock));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

TEST(second_writer_is_refused_and_told_why)
{
	const char *path = unit_file("disk", 4096);
	struct medium first;
	int result;

	assert_int_equal(open_plain(path), 0);
	first = medium;
	unit_capture(STDERR_FILENO);
	result = open_plain(path); // in the same process too
	assert_non_null(strstr(unit_captured(), "in use"));
	assert_int_equal(result, -EBUSY);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_AUTO), -EBUSY);
	assert_int_equal(open_elsewhere(path, true, MEDIUM_LOCK_AUTO), -EBUSY);
	medium_close(&first);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_AUTO), 0);
}

TEST(readers_share_and_keep_writers_out)
{
	const char *path = unit_file("disk", 4096);

	assert_int_equal(open_with(path, true, false, MEDIUM_LOCK_AUTO), 0);
	assert_int_equal(open_elsewhere(path, true, MEDIUM_LOCK_AUTO), 0);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_AUTO), -EBUSY);
}

TEST(locks_can_be_chosen)
{
	const char *path = unit_file("disk", 4096);

	assert_int_equal(open_with(path, false, false, MEDIUM_LOCK_SHARED), 0);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_SHARED), 0);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_EXCLUSIVE), -EBUSY);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_OFF), 0);
	medium_close(&medium);
	assert_int_equal(open_with(path, true, false, MEDIUM_LOCK_EXCLUSIVE), -EINVAL);
}

TEST(lock_that_is_handed_over_is_taken_and_given_back_by_whoever_needs_it)
{
	const struct medium_options options = {
		.path = unit_file("disk", 4096), .lock = MEDIUM_LOCK_AUTO, .lock_handover = true};
	struct medium other;

	assert_int_equal(medium_open(&medium, &options), 0);
	assert_int_equal(medium_open(&other, &options), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(medium_lock(&medium), 0);
		assert_int_equal(medium_lock(&medium), 0); // it has it already
		assert_int_equal(medium_lock(&other), -EAGAIN);
		assert_int_equal(open_elsewhere(options.path, false, MEDIUM_LOCK_AUTO), -EBUSY);
		medium_unlock(&medium);
		assert_int_equal(medium_lock(&other), 0);
		assert_int_equal(medium_lock(&medium), -EAGAIN);
		medium_unlock(&other);
		assert_int_equal(open_elsewhere(options.path, false, MEDIUM_LOCK_AUTO), 0);
	}
	medium_close(&other);
}

// ---- the size

static void expect_size(u64 before, u32 block, u64 wanted)
{
	u64 len = before;

	assert_int_equal(medium_measure(&medium, block, &len), 0);
	if (len != wanted)
		fail_msg("%llu in blocks of %u, %llu before: %llu", (unsigned long long)wanted,
			 block, (unsigned long long)before, (unsigned long long)len);
}

TEST(size_is_found_in_whole_blocks_whatever_it_was_before)
{
	static const u64 sizes[] = {0,	  1,	 511,	512,	 513,
				    8192, 65535, 65536, 1000000, UINT64_C(5) << 30};
	const char *path = unit_file("disk", 0);

	for (unsigned direct = 0; direct < 2; direct++) {
		assert_int_equal(open_with(path, false, direct, MEDIUM_LOCK_AUTO), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			assert_int_equal(truncate(path, (off_t)sizes[i]), 0);
			for (unsigned j = 0; j < ARRAY_SIZE(sizes); j++)
				for (u32 block = medium.logical_block; block <= 65536; block *= 2)
					expect_size(sizes[j] / block * block, block,
						    sizes[i] / block * block);
		}
		medium_close(&medium);
	}
}

TEST(size_that_cannot_be_found_stays)
{
	u64 len = 4096;

	assert_int_equal(open_plain(unit_file("disk", 4096)), 0);
	close_fd(&medium.fd);
	assert_int_equal(medium_measure(&medium, 512, &len), -EBADF);
	assert_int_equal(len, 4096);
}

#define MEDIUM_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEDIUM_TEST(file_is_opened_with_its_length_and_in_sectors),
		MEDIUM_TEST(odd_length_is_told_as_it_is),
		MEDIUM_TEST(file_is_read_and_written_across_segments_at_any_offset),
		MEDIUM_TEST(offsets_beyond_four_gibibytes_are_not_cut),
		MEDIUM_TEST(read_only_medium_cannot_be_written),
		MEDIUM_TEST(memory_is_zero_and_keeps_what_is_written),
		MEDIUM_TEST(null_has_a_length_and_nothing_else),
		MEDIUM_TEST(embedded_medium_without_a_good_size_is_refused),
		MEDIUM_TEST(medium_without_a_whole_sector_is_opened_with_a_warning),
		MEDIUM_TEST(missing_file_is_told_by_its_name),
		MEDIUM_TEST(what_is_no_disk_is_refused),
		MEDIUM_TEST(fifo_that_nobody_writes_is_refused_and_not_waited_for),
		MEDIUM_TEST(direct_medium_tells_what_its_transfers_must_be_aligned_to),
		MEDIUM_TEST(finding_out_what_a_file_can_do_changes_neither_length_nor_content),
		MEDIUM_TEST(second_writer_is_refused_and_told_why),
		MEDIUM_TEST(readers_share_and_keep_writers_out),
		MEDIUM_TEST(locks_can_be_chosen),
		MEDIUM_TEST(lock_that_is_handed_over_is_taken_and_given_back_by_whoever_needs_it),
		MEDIUM_TEST(size_is_found_in_whole_blocks_whatever_it_was_before),
		MEDIUM_TEST(size_that_cannot_be_found_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
