// SPDX-License-Identifier: Apache-2.0
// The helper's birth, and how a byte goes to it and an int comes back, with an fd beside it if it is no errno.
#include "core/helper.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "core/log.h"
#include "core/process_name.h"
#include "core/sys.h"

union fd_control {
	struct cmsghdr header;
	u8 bytes[CMSG_SPACE(sizeof(int))];
};

static void close_others(int fd)
{
	if (fd > STDERR_FILENO + 1)
		syscall(SYS_close_range, STDERR_FILENO + 1, fd - 1, 0);
	syscall(SYS_close_range, fd + 1, ~0U, 0);
}

// No signal is to find the helper before it has blocked all of them, so it is born with them blocked.
static pid_t fork_deaf(int *error)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	*error = -errno;
	if (pid != 0)
		sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

int helper_start(const char *role, void (*serve)(void *context, int socket), void *context)
{
	int fds[2], error, parent = (int)getpid();
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return log_errno(-errno, "cannot make a pair of sockets");
	pid = fork_deaf(&error);
	if (pid == 0) {
		setsid(); // out of our terminal's reach, and free to set what is no terminal of its own
		close_others(fds[1]);
		process_name_set(role, parent);
		serve(context, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	if (pid > 0)
		return fds[0];
	close(fds[0]);
	return log_errno(error, "cannot fork");
}

int helper_ask(int socket, u8 command)
{
	union fd_control control;
	int result = 0, fd;
	struct iovec segment = {.iov_base = &result, .iov_len = sizeof(result)};
	struct msghdr message = {.msg_iov = &segment,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};

	if (sys(write(socket, &command, sizeof(command))) != sizeof(command) ||
	    sys(recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) != sizeof(result))
		return -EPIPE;
	if (result < 0 || !CMSG_FIRSTHDR(&message))
		return result < 0 ? result : -EMFILE; // the kernel had no number left for the fd
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

bool helper_next(int socket, u8 *command)
{
	return sys(recv(socket, command, sizeof(*command), 0)) == sizeof(*command);
}

void helper_answer(int socket, int fd)
{
	union fd_control control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
					       .cmsg_level = SOL_SOCKET,
					       .cmsg_type = SCM_RIGHTS}};
	struct iovec segment = {.iov_base = &fd, .iov_len = sizeof(fd)};
	struct msghdr message = {.msg_iov = &segment, .msg_iovlen = 1};
	long sent;

	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	sent = sys(sendmsg(socket, &message, MSG_NOSIGNAL));
	(void)sent; // who asked has ended
}
