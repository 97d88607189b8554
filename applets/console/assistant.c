// SPDX-License-Identifier: Apache-2.0
// The assistant's life: one byte names a port whose peer is to be called; the end of the other process is the end.
#include "applets/console/assistant.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "applets/applet.h"
#include "applets/console/console.h"
#include "core/helper.h"
#include "core/log.h"
#include "core/sys.h"

// The byte that is asked; lower ones are numbers of ports, to be called.
enum {
	ROTATE = 128, // and more: log_of
	ANSWER = UINT8_MAX - 1,
	END = UINT8_MAX,
};
static_assert(ROTATE + 2 * CONSOLE_MAX_PORTS <= ANSWER, "two logs a port");

static const struct syscall_rule assistant_rules[] = {
	RULE(recvfrom, "waits for a command or the end"),
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

static void call_peer(struct console *console, int socket, u8 port)
{
	struct host *host = &console->ports[port].host;
	int error = host_connect(host);

	helper_answer(socket, error ? error : host->call_fd);
	close_fd(&host->call_fd);
}

// The log that a command is about; NULL: none, or one that is to have no new file.
static struct log_file *log_of(const struct console *console, u8 command)
{
	unsigned index = (unsigned)command - ROTATE;

	return command >= ROTATE && index / 2 < console->port_count
		       ? port_rotating_log(&console->ports[index / 2], index % 2)
		       : NULL;
}

static void rotate(const struct log_file *log, int socket)
{
	int fd = log_file_rotate(&log->options);

	helper_answer(socket, fd);
	close_fd(&fd);
}

// Tells all logs that are to have new files whom to ask for them; answers whether there are any.
static bool tell_logs(const struct console *console, int assistant_fd)
{
	bool any = false;

	for (unsigned command = ROTATE; command < ANSWER; command++) {
		struct log_file *log = log_of(console, (u8)command);

		if (!log)
			continue;
		log->assistant_fd = assistant_fd;
		log->rotate_command = (u8)command;
		any = true;
	}
	return any;
}

static void obey(struct console *console, int socket, u8 command)
{
	if (command == ANSWER)
		helper_answer(socket, -ENODATA);
	else if (log_of(console, command))
		rotate(log_of(console, command), socket);
	else if (command < console->port_count)
		call_peer(console, socket, command);
}

static void clean_up(struct console *console)
{
	if (console->terminal.fd >= 0)
		terminal_restore(&console->terminal);
	for (unsigned i = 0; i < console->port_count; i++)
		host_remove_files(&console->ports[i].host);
}

// What it gives up is all but this; it begins no log anew if none was declared.
static int lock(const struct console *console, const struct applet_arguments *arguments)
{
	struct syscall_rule rules[ARRAY_SIZE(assistant_rules) + LOG_FILE_ROTATE_RULES];
	size_t count = ARRAY_SIZE(assistant_rules);

	memcpy(rules, assistant_rules, sizeof(assistant_rules));
	if (tell_logs(console, -1)) {
		memcpy(rules + count, log_file_rotate_rules, sizeof(log_file_rotate_rules));
		count += LOG_FILE_ROTATE_RULES;
	}
	return arguments->lock_helper(arguments->lock_context, rules, count);
}

struct duty {
	struct console *console;
	const struct applet_arguments *arguments;
};

static void serve(void *context, int socket)
{
	const struct duty *duty = context;
	struct console *console = duty->console;
	u8 command = 0;

	prctl(PR_SET_NAME, "assistant");
	if (!lock(console, duty->arguments))
		while (helper_next(socket, &command) && command != END)
			obey(console, socket, command);
	clean_up(console); // also if it is not locked in: by now the other process cannot
	helper_answer(socket, -ENODATA);
}

static bool is_needed(const struct console *console)
{
	for (unsigned i = 0; i < console->port_count; i++) {
		const struct host *host = &console->ports[i].host;

		if (host->kind == HOST_CALLS || host->listener.path || host->link)
			return true;
	}
	return console->terminal.fd >= 0 || tell_logs(console, -1);
}

int assistant_start(struct console *console, const struct applet_arguments *arguments)
{
	struct duty duty = {.console = console, .arguments = arguments};
	int socket;

	if (!is_needed(console))
		return 0;
	socket = helper_start(serve, &duty);
	if (socket < 0)
		return socket;
	console->assistant_fd = socket;
	tell_logs(console, socket);
	return 0;
}

int assistant_wait(const struct console *console)
{
	if (console->assistant_fd < 0 || helper_ask(console->assistant_fd, ANSWER) == -ENODATA)
		return 0;
	return log_errno(-EPIPE, "the process that finds sockets again has not locked itself in");
}

int assistant_call(const struct console *console, unsigned port)
{
	return helper_ask(console->assistant_fd, (u8)port);
}

// What is answered is no fd, so that read() does, which every console's worker may call.
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
