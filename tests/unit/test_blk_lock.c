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
static unsigned naps, naps_until_release;
static int held_fd; // of who has the lock meanwhile

// Who waits for a lock waits here.
// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library's names are reserved
int nanosleep(const struct timespec *time, struct timespec *rest)
{
	(void)time;
	(void)rest;
	if (++naps == naps_until_release)
		close_fd(&held_fd);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	medium.fd = held_fd = -1;
	naps = naps_until_release = 0;
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

// Whether such a program finds nobody with a lock there.
static bool sees_nothing(const char *path, off_t start)
{
	return lock_elsewhere(path, F_WRLCK, start, 1) == 0;
}

enum { USES = 100, DOES_NOT_SHARE = 200, TO_READ = 0, TO_WRITE = 1, TO_RESIZE = 3 };

TEST(locks_tell_programs_of_qemu_what_is_done_and_what_is_borne)
{
	const char *path = unit_file("disk", 4096);

	assert_int_equal(open_plain(path), 0);
	assert_false(sees_nothing(path, USES + TO_READ) || sees_nothing(path, USES + TO_WRITE));
	assert_false(sees_nothing(path, DOES_NOT_SHARE + TO_READ) ||
		     sees_nothing(path, DOES_NOT_SHARE + TO_WRITE));
	assert_int_equal(lock_elsewhere(path, F_RDLCK, 0, 0), -EAGAIN);
	assert_int_equal(lock_elsewhere(path, F_RDLCK, USES, 1), 0);
	medium_close(&medium);

	assert_int_equal(open_with(path, true, MEDIUM_LOCK_AUTO), 0);
	assert_false(sees_nothing(path, USES + TO_READ));
	assert_true(sees_nothing(path, USES + TO_WRITE));
	assert_true(sees_nothing(path, DOES_NOT_SHARE + TO_READ));
	assert_false(sees_nothing(path, DOES_NOT_SHARE + TO_WRITE) ||
		     sees_nothing(path, DOES_NOT_SHARE + TO_RESIZE));
	assert_int_equal(lock_elsewhere(path, F_RDLCK, 0, 0), 0);
	assert_int_equal(lock_elsewhere(path, F_WRLCK, 0, 0), -EAGAIN);
	medium_close(&medium);

	assert_int_equal(open_with(path, false, MEDIUM_LOCK_SHARED), 0);
	assert_false(sees_nothing(path, USES + TO_WRITE));
	assert_true(sees_nothing(path, DOES_NOT_SHARE + TO_WRITE));
	medium_close(&medium);
	assert_true(sees_nothing(path, 0) && sees_nothing(path, USES));
}

// What comes of locking the disk beside one who has locked these bytes.
static int lock_beside(bool read_only, enum medium_lock lock, short type, off_t start, off_t len)
{
	const struct medium_options options = {.path = unit_file("disk", 4096),
					       .read_only = read_only,
					       .lock = lock,
					       .lock_handover = true};
	struct flock held = {.l_whence = SEEK_SET, .l_type = type, .l_start = start, .l_len = len};
	int fd = open(options.path, O_RDWR | O_CLOEXEC), error;

	assert_int_equal(medium_open(&medium, &options), 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &held), 0);
	error = medium_lock(&medium);
	if (error)
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK}), 0);
	medium_close(&medium);
	close(fd);
	return error;
}

TEST(locks_of_programs_of_qemu_and_of_whole_files_are_respected)
{
	const enum medium_lock automatic = MEDIUM_LOCK_AUTO, shared = MEDIUM_LOCK_SHARED;

	// one that reads
	assert_int_equal(lock_beside(true, automatic, F_RDLCK, USES, 1), 0);
	assert_int_equal(lock_beside(false, automatic, F_RDLCK, USES, 1), -EAGAIN);
	// one that writes
	assert_int_equal(lock_beside(true, automatic, F_RDLCK, USES, 2), -EAGAIN);
	assert_int_equal(lock_beside(true, shared, F_RDLCK, USES, 2), 0);
	assert_int_equal(lock_beside(false, shared, F_RDLCK, USES, 2), 0);
	// one that bears no writer, and one that bears no reader
	assert_int_equal(lock_beside(true, automatic, F_RDLCK, DOES_NOT_SHARE + 1, 1), 0);
	assert_int_equal(lock_beside(false, shared, F_RDLCK, DOES_NOT_SHARE + 1, 1), -EAGAIN);
	assert_int_equal(lock_beside(true, shared, F_RDLCK, DOES_NOT_SHARE, 1), -EAGAIN);
	// those that know of no bytes
	assert_int_equal(lock_beside(true, automatic, F_RDLCK, 0, 0), 0);
	assert_int_equal(lock_beside(false, automatic, F_RDLCK, 0, 0), -EAGAIN);
	assert_int_equal(lock_beside(true, automatic, F_WRLCK, 0, 0), -EAGAIN);
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

TEST(lock_is_waited_for_as_long_as_a_dying_process_may_take)
{
	const char *path = unit_file("disk", 4096);
	struct flock whole = {.l_whence = SEEK_SET, .l_type = F_WRLCK};

	for (unsigned i = 1; i < 22; i++) {
		naps = 0;
		naps_until_release = i;
		held_fd = open(path, O_RDWR | O_CLOEXEC);
		assert_int_equal(fcntl(held_fd, F_OFD_SETLK, &whole), 0);
		assert_int_equal(open_plain(path), i < 20 ? 0 : -EBUSY);
		assert_int_equal(naps, i < 20 ? i : 19);
		medium_close(&medium);
		close_fd(&held_fd);
	}
}

// An io_uring may keep the file for a moment, and who has handed it to us for longer.
TEST(lock_that_is_taken_is_given_back_though_others_have_the_file)
{
	const char *path = unit_file("disk", 4096);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char name[16];

	snprintf(name, sizeof(name), "fd:%d", dup(fd));
	assert_int_equal(open_with(name, false, MEDIUM_LOCK_AUTO), 0);
	assert_int_equal(lock_elsewhere(path, F_RDLCK, 0, 0), -EAGAIN);
	medium_close(&medium);
	assert_int_equal(lock_elsewhere(path, F_WRLCK, 0, 0), 0);
	close(fd);
}

#define LOCK_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOCK_TEST(second_writer_is_refused_and_told_why),
		LOCK_TEST(readers_share_and_keep_writers_out),
		LOCK_TEST(locks_can_be_chosen),
		LOCK_TEST(locks_tell_programs_of_qemu_what_is_done_and_what_is_borne),
		LOCK_TEST(locks_of_programs_of_qemu_and_of_whole_files_are_respected),
		LOCK_TEST(lock_is_waited_for_as_long_as_a_dying_process_may_take),
		LOCK_TEST(lock_that_is_taken_is_given_back_though_others_have_the_file),
		LOCK_TEST(lock_that_is_not_taken_is_not_given_back),
		LOCK_TEST(lock_that_is_handed_over_is_taken_and_given_back_by_whoever_needs_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
