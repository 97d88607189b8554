// SPDX-License-Identifier: Apache-2.0
// Tests of core/keeper.c: the process that removes our socket file, however we end, and calls the front-end for us.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "core/helper.h"
#include "core/keeper.h"

static struct listener listener;
static const char *path;
static unsigned fds_before;

static int setup(void **state)
{
	(void)state;
	fds_before = unit_open_fds();
	path = unit_path("socket");
	unlink(path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return unit_open_fds() == fds_before ? 0 : -1;
}

static int lock_nothing(void *context, const struct syscall_rule *rules, size_t count)
{
	(void)context;
	(void)rules;
	(void)count;
	return 0;
}

static int fail_to_lock(void *context, const struct syscall_rule *rules, size_t count)
{
	(void)context;
	(void)rules;
	(void)count;
	return -EPERM;
}

// Takes its time, and notes that it has.
static int lock_late(void *context, const struct syscall_rule *rules, size_t count)
{
	volatile bool *locked = context;

	(void)rules;
	(void)count;
	usleep(50000);
	*locked = true;
	return 0;
}

static int open_with_keeper(void)
{
	int error = listener_open_path(&listener, path, FILE_ACCESS(0600));

	return error ? error : keeper_start(&listener, lock_nothing, NULL);
}

static bool file_is_gone(const void *context)
{
	(void)context;
	return access(path, F_OK) != 0;
}

// A process that listens with a keeper, until it is killed.
static pid_t fork_listener(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (open_with_keeper() != 0 || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

TEST(file_goes_when_the_process_is_killed)
{
	pid_t pid = fork_listener();

	assert_int_equal(access(path, F_OK), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	unit_wait(file_is_gone, NULL);
}

TEST(file_goes_though_somebody_keeps_the_folder_locked)
{
	int folder = open(unit_path("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t pid = fork_listener();

	assert_int_equal(flock(folder, LOCK_EX), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	unit_wait(file_is_gone, NULL);
	close(folder);
}

TEST(file_that_another_has_made_there_stays_when_the_process_is_killed)
{
	pid_t pid = fork_listener();

	assert_int_equal(rename(path, unit_path("elsewhere")), 0);
	unit_file("socket", 3);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(wait(NULL), -1); // nobody is left
	assert_int_equal(access(path, F_OK), 0);
}

TEST(file_goes_when_the_listener_is_closed)
{
	assert_int_equal(open_with_keeper(), 0);
	assert_int_equal(access(path, F_OK), 0);
	listener_close(&listener);
	assert_int_equal(access(path, F_OK), -1);
	assert_true(wait(NULL) > 0); // and the keeper ends
}

TEST(front_end_is_called_by_the_keeper)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), called, accepted;
	char byte;

	assert_int_equal(listener_open_client(&listener, path), 0);
	assert_int_equal(keeper_start(&listener, lock_nothing, NULL), 0);
	assert_int_equal(listener_accept(&listener), -EAGAIN);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(peer, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listener_accept(&listener), -EAGAIN);
	assert_int_equal(listen(peer, 1), 0);
	called = listener_accept(&listener);
	accepted = accept4(peer, NULL, NULL, SOCK_CLOEXEC);
	assert_true(called >= 0 && accepted >= 0);
	assert_int_equal(write(accepted, "x", 1), 1);
	assert_int_equal(read(called, &byte, 1), 1);
	close(called);
	close(accepted);
	close(peer);
	listener_close(&listener);
	assert_int_equal(access(path, F_OK), 0); // the peer's file is not ours
	assert_true(wait(NULL) > 0);
}

// Who has taken over the process that it serves could ask for more than was meant.
TEST(keeper_of_a_listener_that_listens_calls_nobody)
{
	assert_int_equal(open_with_keeper(), 0);
	assert_int_equal(helper_ask(listener.keeper_fd, 'c'), -EPERM);
	assert_int_equal(listener_accept(&listener), -EAGAIN); // nobody has called
	assert_int_equal(helper_ask(listener.keeper_fd, 'x'), -EPERM);
	assert_int_equal(listener_wait_keeper(&listener), 0);
	listener_close(&listener);
	assert_true(wait(NULL) > 0);
}

TEST(keeper_of_a_listener_that_calls_removes_nothing)
{
	assert_int_equal(listener_open_client(&listener, unit_file("socket", 3)), 0);
	assert_int_equal(keeper_start(&listener, lock_nothing, NULL), 0);
	assert_int_equal(helper_ask(listener.keeper_fd, 'r'), -EPERM);
	assert_int_equal(access(path, F_OK), 0);
	listener_close(&listener);
	assert_true(wait(NULL) > 0);
}

TEST(keeper_that_cannot_lock_itself_in_removes_the_file_and_ends)
{
	assert_int_equal(listener_open_path(&listener, path, FILE_ACCESS(0600)), 0);
	assert_int_equal(keeper_start(&listener, fail_to_lock, NULL), 0);
	assert_true(listener_wait_keeper(&listener) < 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_true(wait(NULL) > 0);
	listener_close(&listener);
}

TEST(keeper_is_waited_for_until_it_is_locked_in)
{
	bool *locked = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_int_equal(listener_open_path(&listener, path, FILE_ACCESS(0600)), 0);
	assert_int_equal(keeper_start(&listener, lock_late, locked), 0);
	assert_int_equal(listener_wait_keeper(&listener), 0);
	assert_true(*locked);
	assert_int_equal(access(path, F_OK), 0);
	listener_close(&listener);
	assert_true(wait(NULL) > 0);
	munmap(locked, 1);
}

TEST(keeper_holds_none_of_our_fds)
{
	int ends[2];
	char byte;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(open_with_keeper(), 0);
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 0); // or it would wait for the keeper's end
	close(ends[0]);
	listener_close(&listener);
	assert_true(wait(NULL) > 0);
}

#define KEEPER_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KEEPER_TEST(file_goes_when_the_process_is_killed),
		KEEPER_TEST(file_goes_though_somebody_keeps_the_folder_locked),
		KEEPER_TEST(file_that_another_has_made_there_stays_when_the_process_is_killed),
		KEEPER_TEST(file_goes_when_the_listener_is_closed),
		KEEPER_TEST(front_end_is_called_by_the_keeper),
		KEEPER_TEST(keeper_of_a_listener_that_listens_calls_nobody),
		KEEPER_TEST(keeper_of_a_listener_that_calls_removes_nothing),
		KEEPER_TEST(keeper_that_cannot_lock_itself_in_removes_the_file_and_ends),
		KEEPER_TEST(keeper_is_waited_for_until_it_is_locked_in),
		KEEPER_TEST(keeper_holds_none_of_our_fds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
