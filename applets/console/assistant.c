// SPDX-License-Identifier: Apache-2.0
// The assistant's life: one byte names a port whose peer is to be called; the end of the other process is the end.
#include "applets/console/assistant.h"

#include <string.h>
#include <sys/ioctl.h>
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

enum { MOST_RULES = 19 };

// What it may ask of the kernel: as little as the ports that there are need.
struct rules {
	struct syscall_rule rules[MOST_RULES];
	size_t count;
};

static void add_rules(struct rules *rules, const struct syscall_rule *more, size_t count)
{
	assert(rules->count + count <= MOST_RULES);
	for (size_t i = 0; i < count; i++)
		rules->rules[rules->count++] = more[i];
}

#define ADD_RULES(rules, ...) \
	do { \
		static const struct syscall_rule more[] = {__VA_ARGS__}; \
		add_rules(rules, more, ARRAY_SIZE(more)); \
	} while (0)

static bool calls(const struct console *console, sa_family_t family)
{
	for (unsigned i = 0; i < console->port_count; i++)
		if (console->ports[i].host.kind == HOST_CALLS &&
		    console->ports[i].host.address.ss_family == family)
			return true;
	return false;
}

static void add_calling(const struct console *console, struct rules *rules)
{
	static const sa_family_t families[] = {AF_UNIX, AF_INET, AF_INET6};
	size_t count = rules->count;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct syscall_rule rule =
			RULE_IF(socket, "calls a peer", ARGUMENT_INT_IS(0, families[i]));

		if (calls(console, families[i]))
			add_rules(rules, &rule, 1);
	}
	if (rules->count > count)
		ADD_RULES(rules, RULE(connect, "calls a peer"),
			  RULE(close, "gives back what it has passed on"));
	if (calls(console, AF_INET) || calls(console, AF_INET6))
		ADD_RULES(rules, RULE(setsockopt, "sends at once what is typed"));
}

// The C library asks by the older numbers where there are any.
static void add_removing(const struct console *console, struct rules *rules)
{
	bool sockets = false, links = false;

	for (unsigned i = 0; i < console->port_count; i++) {
		sockets |= console->ports[i].host.listener.path != NULL;
		links |= console->ports[i].host.link != NULL;
	}
	if (sockets)
		ADD_RULES(rules, RULE(newfstatat, "whether a socket file is still ours"));
	if (links)
		ADD_RULES(rules, RULE(readlinkat, "whether a link is still ours"));
	if (sockets || links)
		ADD_RULES(rules, RULE(unlinkat, "removes a socket file or a link"));
#ifdef __NR_unlink
	if (sockets)
		ADD_RULES(rules, RULE(lstat, "whether a socket file is still ours"));
	if (links)
		ADD_RULES(rules, RULE(readlink, "whether a link is still ours"));
	if (sockets || links)
		ADD_RULES(rules, RULE(unlink, "removes a socket file or a link"));
#endif
}

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

static void make_rules(const struct console *console, struct rules *rules)
{
	ADD_RULES(rules, RULE(recvfrom, "waits for a command or the end"),
		  RULE(sendmsg, "answers, with a socket"), RULE(exit_group, "ends"));
	add_calling(console, rules);
	add_removing(console, rules);
	if (console->terminal.fd >= 0)
		ADD_RULES(rules,
			  RULE_IF(ioctl, "restores the terminal", ARGUMENT_INT_IS(0, STDIN_FILENO),
				  ARGUMENT_INT_IS(1, TCSETS)));
	if (tell_logs(console, -1))
		add_rules(rules, log_file_rotate_rules, LOG_FILE_ROTATE_RULES);
}

static void obey(struct console *console, int socket, u8 command)
{
	if (command == ANSWER)
		helper_answer(socket, -ENODATA);
	else if (log_of(console, command))
		rotate(log_of(console, command), socket);
	else if (command < console->port_count && console->ports[command].host.kind == HOST_CALLS)
		call_peer(console, socket, command);
	else
		helper_answer(socket, -EPERM); // who asks for that has taken over the other process
}

static void clean_up(struct console *console)
{
	if (console->terminal.fd >= 0)
		terminal_restore(&console->terminal);
	for (unsigned i = 0; i < console->port_count; i++)
		host_remove_files(&console->ports[i].host);
}

struct duty {
	struct console *console;
	const struct applet_arguments *arguments;
};

static void serve(void *context, int socket)
{
	const struct duty *duty = context;
	struct console *console = duty->console;
	struct rules rules = {.count = 0};
	u8 command = 0;
	bool locked;

	make_rules(console, &rules);
	locked = !duty->arguments->lock_helper(duty->arguments->lock_context, rules.rules,
					       rules.count);
	while (locked && helper_next(socket, &command) && command != END)
		obey(console, socket, command);
	clean_up(console); // also if it is not locked in: by now the other process cannot
	if (locked)	   // or it would pass for the word that it is
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
	socket = helper_start("assistant", serve, &duty);
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
