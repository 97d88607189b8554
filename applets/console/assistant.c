// SPDX-License-Identifier: Apache-2.0
// The assistant's life: one byte names a port whose peer is to be called; the end of the other process is the end.
#include "applets/console/assistant.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "applets/applet.h"
#include "applets/console/console.h"
#include "core/log.h"
#include "core/sys.h"

enum { END = UINT8_MAX }; // as the byte; others are numbers of ports

static const struct syscall_rule assistant_rules[] = {
	RULE(read, "waits for a command or the end"),
	RULE(sendmsg, "answers, with a socket"),
	RULE_IF(socket, "calls a peer", ARGUMENT_INT_IS(0, AF_UNIX)),
	RULE_IF(socket, "calls a peer", ARGUMENT_INT_IS(0, AF_INET)),
	RULE_IF(socket, "calls a peer", ARGUMENT_INT_IS(0, AF_INET6)),
	RULE(setsockopt, "sends at once what is typed"),
	RULE(connect, "calls a peer"),
	RULE(close, "gives back what it has passed on"),
	RULE(newfstatat, "whether a socket file is still ours"),
	RULE(readlinkat, "whether a link is still ours"),
	RULE(unlinkat, "removes a socket file or a link"),
#ifdef __NR_unlink
	RULE(lstat, "whether a socket file is still ours"),
	RULE(readlink, "whether a link is still ours"),
	RULE(unlink, "removes a socket file or a link"),
#endif
	RULE_IF(ioctl, "restores the terminal", ARGUMENT_INT_IS(1, TCSETS)),
	RULE(write, "logs"),
	RULE(exit_group, "ends"),
};

// One int, with an fd beside it if it is 0.
union fd_message {
	struct cmsghdr header;
	u8 bytes[CMSG_SPACE(sizeof(int))];
};

static void answer(int socket, int result, int fd)
{
	union fd_message control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
					       .cmsg_level = SOL_SOCKET,
					       .cmsg_type = SCM_RIGHTS}};
	struct iovec segment = {.iov_base = &result, .iov_len = sizeof(result)};
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

static void call_peer(struct console *console, int socket, u8 port)
{
	struct host *host = &console->ports[port].host;
	int error = host_connect(host);

	answer(socket, error, error ? -1 : host->call_fd);
	close_fd(&host->call_fd);
}

static void clean_up(struct console *console)
{
	if (console->terminal.fd >= 0)
		terminal_restore(&console->terminal);
	for (unsigned i = 0; i < console->port_count; i++)
		host_remove_files(&console->ports[i].host);
}

static void serve(struct console *console, int socket)
{
	u8 command = 0;

	while (sys(read(socket, &command, sizeof(command))) == sizeof(command) && command != END)
		if (command < console->port_count)
			call_peer(console, socket, command);
	clean_up(console);
	answer(socket, 0, -1);
}

// A session of its own keeps it out of the reach of the terminal's signals, and lets it set what is no terminal of its own.
_Noreturn static void assist(struct console *console, int socket,
			     const struct applet_arguments *arguments)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	setsid();
	prctl(PR_SET_NAME, "assistant");
	if (socket > STDERR_FILENO + 1)
		syscall(SYS_close_range, STDERR_FILENO + 1, socket - 1, 0);
	syscall(SYS_close_range, socket + 1, ~0U, 0);
	arguments->lock_helper(arguments->lock_context, assistant_rules,
			       ARRAY_SIZE(assistant_rules));
	serve(console, socket);
	_exit(0);
}

static bool is_needed(const struct console *console)
{
	for (unsigned i = 0; i < console->port_count; i++) {
		const struct host *host = &console->ports[i].host;

		if (host->kind == HOST_CALLS || host->listener.path || host->link)
			return true;
	}
	return console->terminal.fd >= 0;
}

int assistant_start(struct console *console, const struct applet_arguments *arguments)
{
	int fds[2];
	pid_t pid;

	if (!is_needed(console))
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return log_errno(-errno, "cannot make a pair of sockets");
	pid = fork();
	if (pid == 0)
		assist(console, fds[1], arguments);
	close(fds[1]);
	console->assistant_fd = fds[0];
	return pid < 0 ? log_errno(-errno, "cannot fork") : 0;
}

int assistant_call(const struct console *console, unsigned port)
{
	const u8 command = (u8)port;
	union fd_message control;
	int result = 0, fd;
	struct iovec segment = {.iov_base = &result, .iov_len = sizeof(result)};
	struct msghdr message = {.msg_iov = &segment,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};

	if (sys(write(console->assistant_fd, &command, 1)) != 1 ||
	    sys(recvmsg(console->assistant_fd, &message, MSG_CMSG_CLOEXEC)) != sizeof(result))
		return -EPIPE;
	if (result || !CMSG_FIRSTHDR(&message))
		return result ? result : -EPIPE;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

void assistant_end(struct console *console)
{
	const u8 command = END;
	int ignored;

	if (console->assistant_fd < 0)
		return;
	if (sys(write(console->assistant_fd, &command, 1)) == 1)
		(void)!sys(read(console->assistant_fd, &ignored, sizeof(ignored)));
	close_fd(&console->assistant_fd);
}
