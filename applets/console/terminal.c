// SPDX-License-Identifier: Apache-2.0
// Raw mode and the escape key.
#include "applets/console/terminal.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/log.h"
#include "core/sys.h"

enum { ESCAPE = ']' & 0x1f };

static const char help[] = "\r\n"
			   "Ctrl-] q       end\r\n"
			   "Ctrl-] Ctrl-]  send Ctrl-] to the guest\r\n"
			   "Ctrl-] ?       this\r\n";

int terminal_open(struct terminal *terminal, int fd)
{
	*terminal = (struct terminal){.fd = fd, .pid = getpid()};
	if (tcgetattr(fd, &terminal->before) == 0)
		return 0;
	terminal->fd = -1;
	return log_errno(-errno, "cannot ask the terminal for its mode");
}

int terminal_make_raw(const struct terminal *terminal)
{
	struct termios raw = terminal->before;

	log_info("the guest's console is on this terminal; Ctrl-] q ends, Ctrl-] ? helps");
	cfmakeraw(&raw);
	if (tcsetattr(terminal->fd, TCSANOW, &raw) != 0)
		return log_errno(-errno, "cannot make the terminal raw");
	if (isatty(STDERR_FILENO))
		log_set_line_end("\r\n");
	return 0;
}

void terminal_restore(const struct terminal *terminal)
{
	tcsetattr(terminal->fd, TCSANOW, &terminal->before);
}

// The byte after Ctrl-]. Answers how many bytes it leaves.
static size_t escape(const struct terminal *terminal, u8 typed, u8 *kept)
{
	long written;

	switch (typed) {
	case 'q':
		kill(terminal->pid, SIGTERM);
		return 0;
	case '?':
		written = sys(write(terminal->fd, help, strlen(help)));
		(void)written; // whoever asked will ask again
		return 0;
	case ESCAPE:
		kept[0] = ESCAPE;
		return 1;
	default:
		kept[0] = ESCAPE;
		kept[1] = typed;
		return 2;
	}
}

size_t terminal_type(struct terminal *terminal, const u8 *typed, size_t len, u8 *kept)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i++) {
		if (terminal->escaped) {
			terminal->escaped = false;
			count += escape(terminal, typed[i], kept + count);
		} else if (typed[i] == ESCAPE) {
			terminal->escaped = true;
		} else {
			kept[count++] = typed[i];
		}
	}
	return count;
}

int terminal_size(int fd, u16 *cols, u16 *rows)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) != 0)
		return -errno;
	*cols = size.ws_col;
	*rows = size.ws_row;
	return 0;
}
