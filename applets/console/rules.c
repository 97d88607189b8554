// SPDX-License-Identifier: Apache-2.0
// What the worker may ask of the kernel, beside what every worker may: as little as the ports that there are need.
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include "applets/console/console.h"

static bool has_kind(const struct console *console, enum host_kind kind)
{
	for (unsigned i = 0; console && i < console->port_count; i++)
		if (console->ports[i].host.kind == kind)
			return true;
	return !console;
}

static bool has_type(const struct console *console, enum port_type type)
{
	for (unsigned i = 0; console && i < console->port_count; i++)
		if (console->ports[i].options.type == type)
			return true;
	return !console;
}

static bool has_rotating_log(const struct console *console)
{
	for (unsigned i = 0; console && i < console->port_count; i++)
		if (port_rotating_log(&console->ports[i], 0) ||
		    port_rotating_log(&console->ports[i], 1))
			return true;
	return !console;
}

size_t rules_make(const struct console *console, struct syscall_rule *rules)
{
	size_t count = 0;

	if (has_kind(console, HOST_LISTENS))
		rules[count++] = (struct syscall_rule)RULE_IF(
			accept4, "takes the next client", ARGUMENT_INT_IS(0, RULE_OWN_FDS),
			ARGUMENT_INT_IS(3, SOCK_CLOEXEC | SOCK_NONBLOCK));
	if (has_kind(console, HOST_CALLS)) {
		rules[count++] =
			(struct syscall_rule)RULE(recvmsg, "a socket that the assistant called by");
		rules[count++] = (struct syscall_rule)RULE(timerfd_settime, "when to call again");
	}
	if (has_rotating_log(console) && !has_kind(console, HOST_CALLS))
		rules[count++] = (struct syscall_rule)RULE(
			recvmsg, "a new log file that the assistant has opened");
	if (has_type(console, PORT_PTY)) {
		rules[count++] = (struct syscall_rule)RULE_IF(
			ioctl, "leaves nothing unread for a pty's next client",
			ARGUMENT_INT_IS(1, TCFLSH), ARGUMENT_INT_IS(2, TCOFLUSH));
		rules[count++] = (struct syscall_rule)RULE_IF(ioctl, "makes a pty raw again",
							      ARGUMENT_INT_IS(1, TCSETSF));
	}
	if (!console || console->resized_fd >= 0)
		rules[count++] = (struct syscall_rule)RULE_IF(ioctl, "the terminal's size",
							      ARGUMENT_INT_IS(1, TIOCGWINSZ));
	if (!console || console->terminal.fd >= 0)
		rules[count++] = (struct syscall_rule)RULE_IF(
			kill, "Ctrl-] q ends us as SIGTERM does", ARGUMENT_INT_IS(0, RULE_OWN_PID),
			ARGUMENT_INT_IS(1, SIGTERM));
	assert(count <= CONSOLE_MAX_RULES);
	return count;
}
