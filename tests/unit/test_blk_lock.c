// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/medium_lock.c.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "applets/blk/medium.h"
#include "core/sys.h"

static struct medium medium;

static int setup(void **state)
{
	(void)state;
	medium.fd = -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	medium_close(&medium);
	return 0;
}

static int open_with(const char *path, bool read_only, enum medium_lock lock)
{
	const struct medium_options options = {.path = path, .read_only = read_only, .lock = lock};

	return medium_open(&medium, &options);
}

static int open_plain(const char *path)
{
	return open_with(path, false, MEDIUM_LOCK_AUTO);
}

// What another process gets that opens the file so.
static int open_elsewhere(const char *path, bool read_only, enum medium_lock lock)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(-open_with(path, read_only, lock));
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

	assert_int_equal(open_with(path, true, MEDIUM_LOCK_AUTO), 0);
	assert_int_equal(open_elsewhere(path, true, MEDIUM_LOCK_AUTO), 0);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_AUTO), -EBUSY);
}

TEST(locks_can_be_chosen)
{
	const char *path = unit_file("disk", 4096);

	assert_int_equal(open_with(path, false, MEDIUM_LOCK_SHARED), 0);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_SHARED), 0);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_EXCLUSIVE), -EBUSY);
	assert_int_equal(open_elsewhere(path, false, MEDIUM_LOCK_OFF), 0);
	medium_close(&medium);
	assert_int_equal(open_with(path, true, MEDIUM_LOCK_EXCLUSIVE), -EINVAL);
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

// What a process gets that locks `len` bytes from `start` on as a whole file's lock or one of QEMU's programs does.
static int lock_elsewhere(const char *path, short type, off_t start, off_t len)
{
	struct flock lock = {.l_whence = SEEK_SET, .l_type = type, .l_start = start, .l_len = len};
	int fd = open(path, O_RDWR | O_CLOEXEC), error;

	error = sys_int(fcntl(fd, F_OFD_SETLK, &lock));
	close(fd);
	return error;
}

TEST(lock_that_is_not_taken_is_not_given_back)
{
	const char *path = unit_file("disk", 4096);
	int fd = open(path, O_RDWR | O_CLOEXEC), handed = dup(fd);
	struct flock whole = {.l_whence = SEEK_SET, .l_type = F_WRLCK};
	char name[16];

	snprintf(name, sizeof(name), "fd:%d", handed);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &whole), 0); // of whoever hands us its fd
	assert_int_equal(open_with(name, false, MEDIUM_LOCK_OFF), 0);
	medium_close(&medium);
	assert_int_equal(lock_elsewhere(path, F_RDLCK, 0, 0), -EAGAIN);
	close(fd);
}

#define LOCK_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOCK_TEST(second_writer_is_refused_and_told_why),
		LOCK_TEST(readers_share_and_keep_writers_out),
		LOCK_TEST(locks_can_be_chosen),
		LOCK_TEST(lock_that_is_not_taken_is_not_given_back),
		LOCK_TEST(lock_that_is_handed_over_is_taken_and_given_back_by_whoever_needs_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
