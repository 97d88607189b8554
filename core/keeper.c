// SPDX-License-Identifier: Apache-2.0
// The keeper's whole life: wait for a command byte, or for the end of the process that made it.
#include "core/keeper.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "core/log.h"
#include "core/sys.h"

const struct syscall_rule keeper_rules[] = {
	RULE(recvfrom, "waits for a command or the end"),
	RULE(sendmsg, "answers"),
	RULE_IF(socket, "calls the front-end", ARGUMENT_INT_IS(0, AF_UNIX)),
	RULE(connect, "calls the front-end"),
	RULE(close, "gives back what it has passed on"),
	RULE(newfstatat, "whether the socket file is still ours"),
#ifdef __NR_lstat
	RULE(lstat, "whether the socket file is still ours"),
	RULE(unlink, "removes the socket file"),
#endif
	RULE(unlinkat, "removes the socket file"),
	RULE(write, "logs"),
	RULE(exit_group, "ends"),
};
const size_t keeper_rule_count = ARRAY_SIZE(keeper_rules);

// Nothing but the end of the other process ends us, so that the socket file goes in any case.
static void ignore_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGTERM, &ignore, NULL);
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
}

static void close_others(int fd)
{
	if (fd > STDERR_FILENO + 1)
		syscall(SYS_close_range, STDERR_FILENO + 1, fd - 1, 0);
	syscall(SYS_close_range, fd + 1, ~0U, 0);
}

static void serve(const struct listener *listener, int fd)
{
	u8 command = 0;

	while (sys(recv(fd, &command, sizeof(command), 0)) == sizeof(command))
		listener_keeper_do(listener, fd, command);
	listener_remove_file(listener);
}

int keeper_start(struct listener *listener, void (*lock)(void *context), void *context)
{
	int fds[2];
	pid_t pid;

	if (!listener->path)
		return 0; // inherited: nothing to remove, nobody to call
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return log_errno(-errno, "cannot make a pair of sockets");
	pid = fork();
	if (pid < 0)
		return log_errno(-errno, "cannot fork");
	if (pid == 0) {
		ignore_signals();
		close_others(fds[1]);
		listener->fd = -1;
		lock(context);
		serve(listener, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	listener->keeper_fd = fds[0];
	return 0;
}
