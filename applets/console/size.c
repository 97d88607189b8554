// SPDX-License-Identifier: Apache-2.0
// The console's size: as the command line says, or as the terminal has it, followed as that changes.
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "applets/console/console.h"
#include "core/log.h"
#include "core/sys.h"

// "80x24". 0 or -EINVAL.
static int parse_size(const char *text, u16 *cols, u16 *rows)
{
	char *end;
	unsigned long width = strtoul(text, &end, 10), height;

	if (*text < '0' || *text > '9' || *end != 'x' || end[1] < '0' || end[1] > '9')
		return -EINVAL;
	height = strtoul(end + 1, &end, 10);
	if (*end || width == 0 || height == 0 || width > UINT16_MAX || height > UINT16_MAX)
		return -EINVAL;
	*cols = (u16)width;
	*rows = (u16)height;
	return 0;
}

// The terminal that a port of type stdio writes to or reads from; -1: none.
static int find_terminal(const struct console *console)
{
	for (unsigned i = 0; i < console->port_count; i++) {
		if (console->ports[i].options.type != PORT_STDIO)
			continue;
		if (isatty(STDOUT_FILENO))
			return STDOUT_FILENO;
		return isatty(STDIN_FILENO) ? STDIN_FILENO : -1;
	}
	return -1;
}

static int follow_terminal(struct console *console)
{
	sigset_t resized;

	sigemptyset(&resized);
	sigaddset(&resized, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &resized, NULL);
	console->resized_fd = sys_int(signalfd(-1, &resized, SFD_NONBLOCK | SFD_CLOEXEC));
	if (console->resized_fd < 0)
		return log_errno(console->resized_fd, "cannot follow the terminal's size");
	console->has_size = true;
	return terminal_size(console->size_fd, &console->cols, &console->rows);
}

int size_check(const char *text)
{
	u16 cols, rows;

	if (!text || strcmp(text, "inherit") == 0 || parse_size(text, &cols, &rows) == 0)
		return 0;
	return log_errno(-EINVAL, "--size %s: not like 80x24 or inherit", text);
}

int size_open(struct console *console, const char *text)
{
	bool inherit = !text || strcmp(text, "inherit") == 0;

	if (!inherit) {
		console->has_size = true;
		return parse_size(text, &console->cols, &console->rows);
	}
	console->size_fd = find_terminal(console);
	if (console->size_fd >= 0)
		return follow_terminal(console);
	return text ? log_errno(-EINVAL, "--size inherit: no port is of type stdio on a terminal")
		    : 0;
}

static void terminal_resized(struct watch *watch, u32 events)
{
	struct console *console = container_of(watch, struct console, resized);
	u16 cols = console->cols, rows = console->rows;
	struct signalfd_siginfo ignored;

	(void)events;
	while (sys(read(console->resized_fd, &ignored, sizeof(ignored))) > 0)
		; // what the size is now is all that counts
	if (terminal_size(console->size_fd, &console->cols, &console->rows))
		return;
	if (cols == console->cols && rows == console->rows)
		return;
	device_config_changed(&console->device);
	for (unsigned i = 0; i < console->port_count; i++)
		if (console->ports[i].is_console)
			control_tell(&console->ports[i], TELL_SIZE);
}

int size_start(struct console *console)
{
	int error;

	if (console->resized_fd < 0)
		return 0;
	console->resized.ready = terminal_resized;
	error = worker_watch(console->worker, console->resized_fd, EPOLLIN, &console->resized);
	return error ? log_errno(error, "cannot follow the terminal's size") : 0;
}

void size_stop(struct console *console)
{
	if (console->resized_fd >= 0)
		worker_unwatch(console->worker, console->resized_fd, &console->resized);
}
