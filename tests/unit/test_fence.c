// SPDX-License-Identifier: Apache-2.0
// Tests of core/fence.c: who holds a fence keeps the next one waiting, and nobody else.
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "core/fence.h"
#include "tests/unit/unit.h"

static char folder[PATH_MAX];

static const char *in_folder(const char *name)
{
	static char paths[4][2 * PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "%s", unit_path("fence"));
	return mkdir(folder, 0700);
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(folder); // nothing was left in it
}

static int hold(const char *path)
{
	int fd;

	assert_int_equal(fence_pass(path, false, &fd), 0);
	assert_true(fd >= 0);
	return fd;
}

// A process that has `holder` as the only one, and lets it go when `may_go` holds, soon or late; *gone is set before.
static bool *let_go_later(int holder, bool (*may_go)(void))
{
	const struct timespec while_the_other_waits = {.tv_nsec = 50L * 1000 * 1000};
	bool *gone = mmap(NULL, sizeof(*gone), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);

	assert_true(gone != MAP_FAILED);
	if (fork() == 0) {
		do
			nanosleep(&while_the_other_waits, NULL);
		while (may_go && !may_go());
		*gone = true;
		_exit(0);
	}
	close(holder);
	return gone;
}

static void expect_gone(bool *gone)
{
	assert_true(*gone);
	munmap(gone, sizeof(*gone));
	assert_true(wait(NULL) > 0);
}

static void expect_to_wait(const char *path, int holder, bool (*may_go)(void))
{
	bool *gone = let_go_later(holder, may_go);

	close(hold(path));
	expect_gone(gone);
}

TEST(fence_is_passed_when_the_last_open_file_that_holds_it_is_closed)
{
	expect_to_wait(in_folder("a"), hold(in_folder("a")), NULL);
}

static bool something_was_said(void)
{
	struct stat file;

	return fstat(STDERR_FILENO, &file) == 0 && file.st_size > 0;
}

TEST(fence_that_is_held_long_is_told)
{
	unit_capture(2);
	expect_to_wait(in_folder("a"), hold(in_folder("a")), something_was_said);
	assert_non_null(strstr(unit_captured(), "waits until the kernel is done"));
}

TEST(fence_of_another_name_or_in_another_folder_is_another)
{
	int a = hold(in_folder("a")), b = hold(in_folder("b")), c = hold(unit_path("a"));

	close(a);
	close(b);
	close(c);
}

TEST(fence_is_the_same_by_whichever_path)
{
	char other[2 * PATH_MAX];

	snprintf(other, sizeof(other), "%s/../fence/./a", folder);
	expect_to_wait(other, hold(in_folder("a")), NULL);
}

TEST(fence_in_the_working_folder_needs_no_slash)
{
	int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), holder = hold(in_folder("a"));

	assert_int_equal(chdir(folder), 0);
	expect_to_wait("a", holder, NULL);
	assert_int_equal(fchdir(before), 0);
	close(before);
}

TEST(fence_is_none_without_a_path)
{
	int fd = 0;

	assert_int_equal(fence_pass(NULL, false, &fd), 0);
	assert_int_equal(fd, -1);
}

TEST(fence_that_cannot_be_locked_is_told_and_none)
{
	int fd = 0;

	unit_capture(2);
	assert_int_equal(fence_pass("/nowhere/at/all", false, &fd), 0);
	assert_int_equal(fd, -1);
	assert_non_null(strstr(unit_captured(), "cannot lock the folder of /nowhere/at/all"));
}

TEST(fences_of_a_folder_are_awaited_together)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool *gone = let_go_later(hold(in_folder("a")), NULL);

	assert_int_equal(fence_await_folder(fd), 0);
	expect_gone(gone);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(fence_is_passed_when_the_last_open_file_that_holds_it_is_closed),
		RUN(fence_that_is_held_long_is_told),
		RUN(fence_of_another_name_or_in_another_folder_is_another),
		RUN(fence_is_the_same_by_whichever_path),
		RUN(fence_in_the_working_folder_needs_no_slash),
		RUN(fence_is_none_without_a_path),
		RUN(fence_that_cannot_be_locked_is_told_and_none),
		RUN(fences_of_a_folder_are_awaited_together),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
