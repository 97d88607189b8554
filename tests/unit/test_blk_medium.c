// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/medium.c and format.c.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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
	assert_false(medium.can_discard);
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
	assert_true(medium.can_discard && medium.can_zero);
}

TEST(embedded_medium_without_a_good_size_is_refused)
{
	const char *const bad[] = {"memory:",	     "memory:x",   "null:",
				   "null:-1",	     "memory:1kb", "null:0xffffffffffffffff",
				   "memory:8388608T"};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(open_plain(bad[i]), -EINVAL);
}

TEST(missing_file_is_told_by_its_name)
{
	int result;

	unit_capture(STDERR_FILENO);
	result = open_plain(unit_path("missing"));
	assert_non_null(strstr(unit_captured(), "missing"));
	assert_int_equal(result, -ENOENT);
	assert_true(medium.fd < 0);
	unit_capture(STDERR_FILENO);
	result = open_with(unit_path("missing"), false, true, MEDIUM_LOCK_AUTO);
	assert_null(strstr(unit_captured(), "does not support"));
	assert_int_equal(result, -ENOENT);
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

TEST(finding_out_what_a_file_can_do_changes_nothing_of_it)
{
	const char *path = unit_file("disk", 5000);
	struct statx before, after;
	u8 bytes[5000];
	int fd = open(path, O_RDWR | O_CLOEXEC);

	// blocks behind the end, which somebody wants there
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 8192, 65536) != 0)
		print_message("# no blocks behind the end here\n");
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &before), 0);
	assert_int_equal(open_with(path, false, false, MEDIUM_LOCK_OFF), 0);
	assert_int_equal(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &after), 0);
	assert_int_equal(after.stx_size, 5000);
	assert_int_equal(after.stx_blocks, before.stx_blocks);
	assert_memory_equal(&after.stx_mtime, &before.stx_mtime, sizeof(after.stx_mtime));
	assert_memory_equal(&after.stx_ctime, &before.stx_ctime, sizeof(after.stx_ctime));
	assert_int_equal(read_at(bytes, sizeof(bytes), 0), sizeof(bytes));
	for (u64 i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], unit_byte(i));
	close(fd);
}

// ---- images of other formats

static void write_file(const char *path, const char *bytes, size_t len, off_t offset)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, bytes, len, offset), len);
	close(fd);
}

TEST(image_of_another_format_is_served_only_as_it_is)
{
	static const struct {
		const char *format, *magic;
		off_t offset;
	} images[] = {
		{"qcow2", "QFI\xfb", 0},
		{"qed", "QED", 0}, // and a zero
		{"vmdk", "KDMV", 0},
		{"vmdk", "COWD", 0},
		{"vmdk", "# Disk DescriptorFile", 0},
		{"vdi", "\x7f\x10\xda\xbe", 64},
		{"vhdx", "vhdxfile", 0},
		{"vhd", "conectix", 0},
		{"parallels", "WithoutFreeSpace", 0},
		{"parallels", "WithouFreSpacExt", 0},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(images); i++)
		for (unsigned direct = 0; direct < 2; direct++) {
			const char *path = unit_file("disk", 65536);
			struct medium_options options = {.path = path, .direct = direct};

			write_file(path, "\0\0\0\0", 4, 0);
			write_file(path, images[i].magic, strlen(images[i].magic),
				   images[i].offset);
			unit_capture(STDERR_FILENO);
			assert_int_equal(medium_open(&medium, &options), -EINVAL);
			assert_non_null(strstr(unit_captured(), images[i].format));
			options.raw = true;
			assert_int_equal(medium_open(&medium, &options), 0);
			medium_close(&medium);
		}
}

TEST(what_only_resembles_another_format_is_a_disk)
{
	static const char *const near[] = {"QFI",	   "KDM",     "# Disk Descriptor",
					   "LUKS\xba\xbe", "vhdxfil", "\x7f\x10\xda\xbe"};
	const char *path = unit_file("disk", 3);

	assert_int_equal(open_plain(path), 0);
	medium_close(&medium);
	for (unsigned i = 0; i < ARRAY_SIZE(near); i++) {
		path = unit_file("disk", 65536);
		write_file(path, near[i], strlen(near[i]), 0);
		assert_int_equal(open_plain(path), 0);
		medium_close(&medium);
	}
}

// ---- fds that the process was started with

TEST(fd_is_known_by_each_of_its_names)
{
	static const char *const others[] = {"fd:",	    "fd:-1", "fd:3x", "fd:99999999999",
					     "/dev/fd/",    "fd",    "3",     "/proc/self/fd",
					     "/dev/stdout", "",	     "fd: 3"};

	assert_int_equal(medium_fd_number("fd:3"), 3);
	assert_int_equal(medium_fd_number("/dev/fd/17"), 17);
	assert_int_equal(medium_fd_number("/proc/self/fd/0"), 0);
	assert_int_equal(medium_fd_number("/dev/stdin"), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(medium_fd_number(others[i]), -EINVAL);
}

static const char *name_of_fd(int fd)
{
	static char name[16];

	snprintf(name, sizeof(name), "fd:%d", fd);
	return name;
}

TEST(fd_is_used_as_it_was_opened_but_for_what_no_disk_can_have)
{
	const char *path = unit_file("disk", 65536);
	char bytes[3];

	assert_int_equal(open_plain(name_of_fd(open(path, O_RDWR | O_APPEND | O_NONBLOCK))), 0);
	assert_false(medium.read_only);
	assert_false(fcntl(medium.fd, F_GETFL) & (O_APPEND | O_NONBLOCK));
	assert_true(fcntl(medium.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write_at("abc", 3, 100), 3);
	assert_int_equal(read_at(bytes, 3, 100), 3);
	assert_memory_equal(bytes, "abc", 3);
	assert_int_equal(lseek(medium.fd, 0, SEEK_END), 65536);
	medium_close(&medium);

	assert_int_equal(open_plain(name_of_fd(open(path, O_RDONLY))), 0);
	assert_true(medium.read_only && medium.lock_shared);
	assert_false(medium.can_discard);
	medium_close(&medium);

	assert_int_equal(
		open_with(name_of_fd(open(path, O_RDWR | O_DIRECT)), true, false, MEDIUM_LOCK_AUTO),
		0);
	assert_true(medium.read_only);
	assert_false(fcntl(medium.fd, F_GETFL) & O_DIRECT);
	medium_close(&medium);

	assert_int_equal(open_with(name_of_fd(open(path, O_RDWR)), false, true, MEDIUM_LOCK_AUTO),
			 0);
	assert_true(fcntl(medium.fd, F_GETFL) & O_DIRECT);
}

static void refuse_fd(int fd, int error)
{
	unit_capture(STDERR_FILENO);
	assert_int_equal(open_plain(name_of_fd(fd)), error);
	assert_non_null(strstr(unit_captured(), name_of_fd(fd)));
	if (fd > STDERR_FILENO)
		close(fd);
}

TEST(fd_that_cannot_be_a_disk_is_refused)
{
	const char *path = unit_file("disk", 4096);
	int ends[2];

	refuse_fd(open(path, O_WRONLY), -EACCES);
	refuse_fd(open(path, O_PATH), -EACCES);
	refuse_fd(open("/", O_RDONLY), -EINVAL);
	assert_int_equal(pipe(ends), 0);
	refuse_fd(ends[0], -EINVAL);
	close(ends[1]);
	refuse_fd(1000000, -EBADF);
	refuse_fd(STDOUT_FILENO, -EINVAL);
	refuse_fd(STDERR_FILENO, -EINVAL);
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

TEST(size_is_found_whatever_it_was_before)
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
					expect_size(sizes[j] / block * block, block, sizes[i]);
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

TEST(lock_options_that_contradict_are_refused)
{
	struct medium_options options = {
		.path = "disk", .read_only = true, .lock = MEDIUM_LOCK_EXCLUSIVE};

	assert_int_equal(medium_check(&options), -EINVAL);
	options.read_only = false;
	assert_int_equal(medium_check(&options), 0);
	options.lock = MEDIUM_LOCK_OFF;
	options.lock_handover = true;
	assert_int_equal(medium_check(&options), -EINVAL);
}

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
		RUN(lock_options_that_contradict_are_refused),
		MEDIUM_TEST(missing_file_is_told_by_its_name),
		MEDIUM_TEST(what_is_no_disk_is_refused),
		MEDIUM_TEST(fifo_that_nobody_writes_is_refused_and_not_waited_for),
		MEDIUM_TEST(direct_medium_tells_what_its_transfers_must_be_aligned_to),
		MEDIUM_TEST(finding_out_what_a_file_can_do_changes_nothing_of_it),
		MEDIUM_TEST(image_of_another_format_is_served_only_as_it_is),
		MEDIUM_TEST(what_only_resembles_another_format_is_a_disk),
		MEDIUM_TEST(fd_is_known_by_each_of_its_names),
		MEDIUM_TEST(fd_is_used_as_it_was_opened_but_for_what_no_disk_can_have),
		MEDIUM_TEST(fd_that_cannot_be_a_disk_is_refused),
		MEDIUM_TEST(size_is_found_whatever_it_was_before),
		MEDIUM_TEST(size_that_cannot_be_found_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
