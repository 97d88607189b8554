// SPDX-License-Identifier: Apache-2.0
// Standard fds, signals, timers, umask, environment, limits: the state of a process at its beginning.
#include "core/process.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "core/log.h"
#include "core/sys.h"

enum { STANDARD_FDS = STDERR_FILENO + 1 };

static bool was_closed[STANDARD_FDS];

// At the lowest number that is free. /dev/null need not be there, and need not be what it should be; this one reads as empty, and
// a write to it fails.
static int open_nothing(void)
{
	int fd = sys_int(memfd_create("vhost-multi-nothing", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	int error =
		fd < 0 ? fd
		       : sys_int(fcntl(fd, F_ADD_SEALS,
				       F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL));

	if (error)
		close_fd(&fd);
	return error ? error : fd;
}

// Else one of our own files would get such a number, and with it what is logged.
static int open_standard_fds(void)
{
	for (int fd = 0; fd < STANDARD_FDS; fd++) {
		int opened;

		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		opened = open_nothing();
		if (opened != fd)
			return opened < 0 ? opened : -EBADF;
		was_closed[fd] = true;
	}
	return 0;
}

bool process_was_closed(int fd)
{
	return fd >= 0 && fd < STANDARD_FDS && was_closed[fd];
}

void process_reset_signals(void)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	const u64 usual[8] = {
		0}; // as the kernel's structure has it on any machine; the C library keeps some to itself
	struct sigaction before;
	sigset_t none;

	sigaction(SIGHUP, NULL, &before);
	for (int number = 1; number < NSIG; number++) // fails for those that cannot be changed
		syscall(SYS_rt_sigaction, number, usual, NULL, NSIG / 8);
	if (before.sa_handler == SIG_IGN)
		sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void stop_timers(void)
{
	const struct itimerval never = {0};

	setitimer(ITIMER_REAL, &never, NULL);
	setitimer(ITIMER_VIRTUAL, &never, NULL);
	setitimer(ITIMER_PROF, &never, NULL);
}

// The process could read its environment for good, since the kernel has put it on the first thread's stack.
static void clear_environment(void)
{
	for (char **variable = environ; variable && *variable; variable++)
		memset(*variable, 0, strlen(*variable));
	clearenv();
}

static int get_fd_limit(struct rlimit *limit)
{
	return sys_int(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, limit));
}

// What is too many is found out by process_fd_limit.
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (get_fd_limit(&limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)sys_int(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, NULL));
}

int process_begin(void)
{
	int error;

	raise_fd_limit();
	error = open_standard_fds();
	if (error)
		return error;
	stop_timers(); // first, as one of them may be about to end us
	process_reset_signals();
	umask(0);
	clear_environment();
	return 0;
}

// A block device is the same by whichever of its nodes it was opened.
static bool same_file(int a, int b)
{
	struct stat one, other;

	if (fstat(a, &one) != 0 || fstat(b, &other) != 0)
		return false;
	if (S_ISBLK(one.st_mode) && S_ISBLK(other.st_mode))
		return one.st_rdev == other.st_rdev;
	return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static int replace_by_nothing(int standard)
{
	cleanup_fd int nothing = open_nothing();

	return nothing < 0 ? nothing : sys_int(dup3(nothing, standard, O_CLOEXEC));
}

int process_take_apart(int fd)
{
	int own = fd < STANDARD_FDS ? sys_int(fcntl(fd, F_DUPFD_CLOEXEC, STANDARD_FDS)) : fd;

	for (int standard = 0; standard < STANDARD_FDS && own >= 0; standard++) {
		int error = same_file(own, standard) ? replace_by_nothing(standard) : 0;

		if (error < 0) {
			if (own != fd)
				close(own);
			return error;
		}
	}
	return own;
}

// The limit is on numbers, of which new fds get the lowest: what is open above it takes no place.
int process_fd_limit(unsigned more)
{
	struct rlimit limit = {0};
	unsigned open = 0;
	int error = get_fd_limit(&limit);

	for (unsigned fd = 0; fd < open + more; fd++)
		open += fcntl((int)fd, F_GETFD) >= 0;
	if (error || open + more <= limit.rlim_max)
		return (int)(open + more);
	return log_errno(-EMFILE,
			 "needs %u open files, and the limit is %llu: raise it (ulimit -n, "
			 "LimitNOFILE=), or use fewer queues, workers or ports",
			 open + more, (unsigned long long)limit.rlim_max);
}
