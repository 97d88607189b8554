// SPDX-License-Identifier: Apache-2.0
// Tests of core/process.c: each in a process of its own, since it changes what all of a process shares.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "core/process.h"

// True if the function, which answers so, does it in a process of its own.
static bool holds(bool (*function)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(function() ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

static bool is_empty(int fd)
{
	char byte = 'x';

	return read(fd, &byte, 1) == 0 && write(fd, &byte, 1) < 0 && read(fd, &byte, 1) == 0;
}

static bool closed_become_empty(void)
{
	close(STDIN_FILENO);
	close(STDERR_FILENO);
	return process_begin() == 0 && is_empty(STDIN_FILENO) && is_empty(STDERR_FILENO) &&
	       process_was_closed(STDIN_FILENO) && !process_was_closed(STDOUT_FILENO) &&
	       process_was_closed(STDERR_FILENO) && !process_was_closed(-1) &&
	       !process_was_closed(3);
}

TEST(standard_fds_that_were_closed_are_empty_files)
{
	assert_true(holds(closed_become_empty));
}

static bool is_handled(int number, void (*handler)(int))
{
	struct sigaction action;

	return sigaction(number, NULL, &action) == 0 && action.sa_handler == handler;
}

static bool signals_are_reset(void)
{
	sigset_t mask;
	bool well = true;

	sigfillset(&mask);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	for (int number = 1; number <= SIGRTMAX; number++)
		signal(number, number == SIGHUP ? SIG_DFL : SIG_IGN);
	well = process_begin() == 0;
	for (int number = 1; number <= SIGRTMAX; number++) {
		bool ignored = number == SIGPIPE || number == SIGXFSZ;
		struct sigaction action;

		if (sigaction(number, NULL, &action) == 0)
			well &= action.sa_handler == (ignored ? SIG_IGN : SIG_DFL);
	}
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int number = 1; number <= SIGRTMAX; number++)
		well &= sigismember(&mask, number) != 1;
	return well;
}

TEST(no_signal_is_blocked_or_ignored_but_those_of_writing)
{
	assert_true(holds(signals_are_reset));
}

static bool hangup_stays_ignored(void)
{
	signal(SIGHUP, SIG_IGN);
	return process_begin() == 0 && is_handled(SIGHUP, SIG_IGN);
}

TEST(hangup_that_nohup_has_ignored_stays_so)
{
	assert_true(holds(hangup_stays_ignored));
}

static bool timers_stop(void)
{
	const struct itimerval later = {.it_value.tv_sec = 1000};
	struct itimerval left[3];
	bool well;

	for (int timer = 0; timer < 3; timer++)
		setitimer((__itimer_which_t)timer, &later, NULL);
	well = process_begin() == 0;
	for (int timer = 0; timer < 3; timer++)
		well &= getitimer((__itimer_which_t)timer, &left[timer]) == 0 &&
			left[timer].it_value.tv_sec == 0 && left[timer].it_value.tv_usec == 0;
	return well;
}

TEST(timers_are_stopped)
{
	assert_true(holds(timers_stop));
}

static bool environment_and_umask_go(void)
{
	char *secret;

	setenv("SECRET", "hunter2", 1);
	secret = getenv("SECRET");
	umask(0777);
	return secret && process_begin() == 0 && umask(0) == 0 && !getenv("SECRET") && !*secret;
}

TEST(environment_and_umask_are_gone)
{
	assert_true(holds(environment_and_umask_go));
}

static bool file_is_taken_apart(void)
{
	int fd = open(unit_file("disk", 100), O_RDWR | O_CLOEXEC), other = dup(STDIN_FILENO);
	char text[5] = "";
	int own;

	dup2(fd, STDERR_FILENO);
	if (process_take_apart(fd) != fd || !is_empty(STDERR_FILENO) || is_empty(STDOUT_FILENO))
		return false;
	// by another open of the same file, at one of the numbers
	close(STDIN_FILENO);
	own = open(unit_path("disk"), O_RDONLY | O_CLOEXEC);
	if (own != STDIN_FILENO)
		return false;
	own = process_take_apart(STDIN_FILENO);
	return own > STDERR_FILENO && is_empty(STDIN_FILENO) && read(own, text, 4) == 4 &&
	       fcntl(own, F_GETFD) == FD_CLOEXEC && process_take_apart(other) == other;
}

TEST(standard_fds_that_are_the_disk_become_others)
{
	assert_true(holds(file_is_taken_apart));
}

static bool fds_are_counted(void)
{
	struct rlimit limit;
	unsigned open;
	int fd;

	for (fd = 10; fd < 300; fd++)
		close(fd); // those that the test itself was started with
	open = unit_open_fds();
	if (process_begin() || process_fd_limit(10) != (int)open + 10)
		return false;
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 100); // in nobody's way, until there are as many
	if (process_fd_limit(10) != (int)open + 10 || process_fd_limit(100) != (int)open + 101)
		return false;
	close(fd);
	limit = (struct rlimit){open + 10, open + 10};
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 && process_fd_limit(10) == (int)open + 10 &&
	       process_fd_limit(11) == -EMFILE;
}

TEST(fds_that_are_needed_are_counted_and_compared_with_the_limit)
{
	unit_capture(STDERR_FILENO);
	assert_true(holds(fds_are_counted));
	assert_non_null(strstr(unit_captured(), "open files, and the limit is"));
}

static bool limit_is_raised(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return false;
	limit.rlim_cur = 20;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 && process_begin() == 0 &&
	       getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == limit.rlim_max;
}

TEST(soft_limit_on_fds_is_raised)
{
	assert_true(holds(limit_is_raised));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(standard_fds_that_were_closed_are_empty_files),
		RUN(no_signal_is_blocked_or_ignored_but_those_of_writing),
		RUN(hangup_that_nohup_has_ignored_stays_so),
		RUN(timers_are_stopped),
		RUN(environment_and_umask_are_gone),
		RUN(standard_fds_that_are_the_disk_become_others),
		RUN(fds_that_are_needed_are_counted_and_compared_with_the_limit),
		RUN(soft_limit_on_fds_is_raised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
