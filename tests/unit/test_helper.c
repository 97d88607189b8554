// SPDX-License-Identifier: Apache-2.0
// Tests of core/helper.c: a process that is asked by bytes and answers with fds.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "core/helper.h"

enum { GIVE_FD = 1, GIVE_ERROR = 2, GIVE_PID = 3 };

static int helper;

// What it gives is an end of a pipe that can be read: 'x', or its own number.
static int make_readable(const void *bytes, size_t len)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0 || write(ends[1], bytes, len) != (ssize_t)len)
		_exit(1);
	close(ends[1]);
	return ends[0];
}

static void serve(void *context, int socket)
{
	u8 command;

	(void)context;
	while (helper_next(socket, &command)) {
		pid_t self = getpid();
		int fd = command == GIVE_FD    ? make_readable("x", 1)
			 : command == GIVE_PID ? make_readable(&self, sizeof(self))
					       : -ENOENT;

		helper_answer(socket, fd);
		close_fd(&fd);
	}
}

static int setup(void **state)
{
	(void)state;
	helper = helper_start("helper", serve, NULL);
	return helper < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	close_fd(&helper);
	return wait(NULL) > 0 ? 0 : -1; // it ends as we let go
}

static void read_answer(u8 command, void *bytes, size_t len)
{
	int fd = helper_ask(helper, command);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(read(fd, bytes, len), len);
	close(fd);
}

static void serve_late(void *context, int socket)
{
	const struct timespec moment = {.tv_nsec = 20000000};
	u8 command;

	while (helper_next(socket, &command)) {
		nanosleep(&moment, NULL); // who asks is interrupted meanwhile
		helper_answer(socket, *(int *)context);
	}
}

TEST(answer_is_waited_for_although_signals_come)
{
	int error = -ENOTTY, late = helper_start("helper", serve_late, &error);

	assert_true(late >= 0);
	unit_interrupt(true);
	assert_int_equal(helper_ask(late, GIVE_ERROR), -ENOTTY);
	unit_interrupt(false);
	close(late);
	assert_true(wait(NULL) > 0);
}

TEST(fd_comes_across)
{
	char byte = 0;

	read_answer(GIVE_FD, &byte, 1);
	assert_int_equal(byte, 'x');
}

TEST(errno_comes_across)
{
	assert_int_equal(helper_ask(helper, GIVE_ERROR), -ENOENT);
	assert_int_equal(helper_ask(helper, GIVE_ERROR), -ENOENT);
}

TEST(fd_for_which_we_have_no_number_is_an_error)
{
	struct rlimit limit, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(helper_ask(helper, GIVE_FD), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

TEST(signals_do_not_end_it_and_it_has_a_session_of_its_own)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1};
	pid_t pid = 0, again = 0;

	read_answer(GIVE_PID, &pid, sizeof(pid));
	assert_int_equal(getsid(pid), pid);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		assert_int_equal(kill(pid, signals[i]), 0);
	read_answer(GIVE_PID, &again, sizeof(again));
	assert_int_equal(again, pid);
}

TEST(killed_it_answers_no_more)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	pid_t pid = 0;
	siginfo_t end;

	sigaction(SIGPIPE, &ignore, NULL);
	read_answer(GIVE_PID, &pid, sizeof(pid));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &end, WEXITED | WNOWAIT), 0);
	assert_int_equal(helper_ask(helper, GIVE_FD), -EPIPE);
}

#define HELPER_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HELPER_TEST(answer_is_waited_for_although_signals_come),
		HELPER_TEST(fd_comes_across),
		HELPER_TEST(errno_comes_across),
		HELPER_TEST(fd_for_which_we_have_no_number_is_an_error),
		HELPER_TEST(signals_do_not_end_it_and_it_has_a_session_of_its_own),
		HELPER_TEST(killed_it_answers_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
