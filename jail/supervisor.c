// SPDX-License-Identifier: Apache-2.0
// Three processes at most: one that waits for --daemonize, the launcher, and the applet's.
#include "jail/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "core/log.h"
#include "core/sys.h"

static const int held_signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT};

static int make_pipe(int *read_fd, int *write_fd)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return log_errno(-errno, "cannot make a pipe");
	*read_fd = fds[0];
	*write_fd = fds[1];
	return 0;
}

// The exit status as a shell would give it.
static int status_of(int state)
{
	return WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
}

// The process that the user started: until a byte or the end comes from the new one.
_Noreturn static void wait_for_announcement(int fd, pid_t launcher)
{
	int state = 0;
	char byte;

	if (sys(read(fd, &byte, 1)) == 1)
		_exit(0);
	(void)!sys(waitpid(launcher, &state, 0));
	_exit(status_of(state));
}

int supervisor_detach(struct supervisor *supervisor)
{
	int waiting_fd = -1;
	int error = make_pipe(&waiting_fd, &supervisor->waiting_fd);
	pid_t launcher;

	if (error)
		return error;
	launcher = fork();
	if (launcher < 0)
		return log_errno(-errno, "cannot fork");
	if (launcher > 0) {
		close(supervisor->waiting_fd);
		wait_for_announcement(waiting_fd, launcher);
	}
	close(waiting_fd);
	setsid();
	return 0;
}

int supervisor_hold_signals(struct supervisor *supervisor)
{
	sigset_t held;

	sigemptyset(&held);
	for (size_t i = 0; i < ARRAY_SIZE(held_signals); i++)
		sigaddset(&held, held_signals[i]);
	sigprocmask(SIG_BLOCK, &held, &supervisor->before);
	supervisor->signal_fd = signalfd(-1, &held, SFD_CLOEXEC);
	return supervisor->signal_fd < 0 ? log_errno(-errno, "cannot make a signalfd") : 0;
}

static void end_early(int number)
{
	(void)number;
	_exit(0);
}

// Process 1 of a namespace is not ended by a signal that it has no handler for: it has one from the start.
static void take_signals(const struct supervisor *supervisor)
{
	const struct sigaction end = {.sa_handler = end_early};

	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	signal(SIGHUP, SIG_IGN); // there is nothing to look at anew as yet
	sigprocmask(SIG_SETMASK, &supervisor->before, NULL);
}

// PR_SET_PDEATHSIG would not outlive the change of ids; a pipe that sends a signal when its writer is gone does.
static int follow(int life_fd)
{
	struct pollfd life = {.fd = life_fd, .events = POLLIN};
	int error = sys_int(fcntl(life_fd, F_SETSIG, SIGTERM));

	if (!error)
		error = sys_int(fcntl(life_fd, F_SETOWN, getpid()));
	if (!error)
		error = sys_int(fcntl(life_fd, F_SETFL, O_ASYNC));
	if (!error && poll(&life, 1, 0) != 0)
		_exit(0); // the launcher was faster
	return error ? log_errno(error, "cannot follow the launcher") : 0;
}

int supervisor_fork(struct supervisor *supervisor, bool new_pid_ns, struct supervised *supervised)
{
	int error = make_pipe(&supervisor->ready_fd, &supervised->ready_fd);

	if (!error)
		error = make_pipe(&supervised->life_fd, &supervisor->life_fd);
	if (error)
		return error;
	if (new_pid_ns && unshare(CLONE_NEWPID) != 0)
		return log_errno(-errno, "--new-pid-ns: cannot make a pid namespace");
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); // whom the applet leaves behind, we wait for
	supervisor->applet = fork();
	if (supervisor->applet < 0)
		return log_errno(-errno, "cannot fork");
	if (supervisor->applet > 0) {
		close_fd(&supervised->ready_fd);
		close_fd(&supervised->life_fd);
		return 1;
	}
	close_fd(&supervisor->ready_fd);
	close_fd(&supervisor->life_fd);
	close_fd(&supervisor->waiting_fd);
	close_fd(&supervisor->signal_fd);
	take_signals(supervisor);
	return follow(supervised->life_fd);
}

// Waits for whoever has ended; false when there is nobody left. *status: the applet's, if it is among them.
static bool reap(struct supervisor *supervisor, int *status)
{
	int state = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &state, WNOHANG)) > 0) {
		if (pid != supervisor->applet)
			continue;
		supervisor->applet = 0;
		*status = status_of(state);
		if (WIFSIGNALED(state))
			log_error("the applet was killed by signal %d (%s)", WTERMSIG(state),
				  strsignal(WTERMSIG(state)));
	}
	return pid == 0;
}

static void signal_applet(const struct supervisor *supervisor, int number)
{
	if (supervisor->applet > 0)
		kill(supervisor->applet, number);
}

// The applet's process serves: the caller's part, which the applet does not live without.
static void become_ready(struct supervisor *supervisor, int (*ready)(void *context), void *context)
{
	char byte;
	bool serves = sys(read(supervisor->ready_fd, &byte, 1)) == 1;

	close_fd(&supervisor->ready_fd);
	if (serves && ready(context))
		signal_applet(supervisor, SIGKILL);
}

static void take_signal(const struct supervisor *supervisor)
{
	struct signalfd_siginfo received;
	long len = sys(read(supervisor->signal_fd, &received, sizeof(received)));

	if (len == sizeof(received) && received.ssi_signo != SIGCHLD)
		signal_applet(supervisor, received.ssi_signo == SIGHUP ? SIGHUP : SIGTERM);
}

int supervisor_wait(struct supervisor *supervisor, int (*ready)(void *context), void *context)
{
	int status = 0;

	while (reap(supervisor, &status)) {
		struct pollfd fds[] = {{.fd = supervisor->signal_fd, .events = POLLIN},
				       {.fd = supervisor->ready_fd, .events = POLLIN}};

		(void)!sys(poll(fds, ARRAY_SIZE(fds), -1));
		if (fds[1].revents)
			become_ready(supervisor, ready, context);
		if (fds[0].revents)
			take_signal(supervisor);
	}
	return status;
}

int supervisor_announce(struct supervisor *supervisor)
{
	cleanup_fd int null = -1;

	if (supervisor->waiting_fd < 0)
		return 0;
	null = sys_int(open("/dev/null", O_RDWR | O_CLOEXEC));
	if (null < 0)
		return log_errno(null, "--daemonize: cannot open /dev/null");
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (sys(write(supervisor->waiting_fd, "r", 1)) != 1)
		return -EPIPE; // who waited has been killed
	close_fd(&supervisor->waiting_fd);
	return 0;
}
