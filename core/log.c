// SPDX-License-Identifier: Apache-2.0
// Formats a log line on the stack and writes it at once, so that lines of threads never mix.
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/sys.h"

enum { LINE_MAX_LEN = 1024, LINES_PER_SECOND = 100 };

static const char *log_name = "vhost-multi";
static enum log_level log_most = LOG_LEVEL_INFO;
static int log_pid;
static const char *log_line_end = "\n";
static unsigned lost; // lines, since the last one that was written
static const char *log_folder;

void log_init(const char *name, enum log_level level)
{
	log_name = name;
	log_most = level;
	log_pid = (int)getpid();
}

bool log_shows(enum log_level level)
{
	return level <= log_most;
}

void log_set_line_end(const char *end)
{
	assert(strlen(end) <= 2);
	log_line_end = end;
}

void log_set_folder(const char *folder)
{
	log_folder = folder;
}

static void append(char *line, size_t *len, const char *format, va_list arguments)
{
	int wanted = vsnprintf(line + *len, LINE_MAX_LEN - *len, format, arguments);

	if (wanted > 0)
		*len = min_size(*len + (size_t)wanted, LINE_MAX_LEN - 1);
}

printf_like(3, 4) static void append_text(char *line, size_t *len, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	append(line, len, format, arguments);
	va_end(arguments);
}

// A front-end can make us log as fast as it can send: each second has room for LINES_PER_SECOND. Threads may race
// for the last ones, which does no harm. *dropped: lines that found none since the last that did.
static bool has_room(unsigned *dropped)
{
	static u64 second;
	static unsigned lines;
	u64 now = sys_clock_coarse_ns() / 1000000000;

	if (__atomic_exchange_n(&second, now, __ATOMIC_RELAXED) != now)
		__atomic_store_n(&lines, 0, __ATOMIC_RELAXED);
	if (__atomic_fetch_add(&lines, 1, __ATOMIC_RELAXED) >= LINES_PER_SECOND) {
		__atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
		return false;
	}
	*dropped = __atomic_exchange_n(&lost, 0, __ATOMIC_RELAXED);
	return true;
}

static void emit(enum log_level level, int error, const char *format, va_list arguments)
{
	static const char *const level_names[] = {"error: ", "warning: ", "", "debug: ", "trace: "};
	char line[LINE_MAX_LEN + 2];
	size_t len = 0;
	unsigned dropped = 0;

	if (level < LOG_LEVEL_DEBUG && !has_room(&dropped))
		return;
	append_text(line, &len, "%s[%d]: %s", log_name, log_pid, level_names[level]);
	if (dropped > 0)
		append_text(line, &len, "(%u lines dropped) ", dropped);
	append(line, &len, format, arguments);
	if (error < 0 && error != -EINVAL) // that one says no more than the line does
		append_text(line, &len, ": %s", strerror(-error));
	if (error == -ENOENT && log_folder)
		append_text(line, &len, " (relative paths begin in %s)", log_folder);
	if (error == -EMFILE)
		append_text(line, &len, "; raise the limit: ulimit -n, LimitNOFILE= of a unit");
	for (const char *end = log_line_end; *end; end++)
		line[len++] = *end;
	// others may have made it nonblocking, and it be full; if it is gone nobody is left to tell
	if (sys(write(STDERR_FILENO, line, len)) < 0)
		__atomic_fetch_add(&lost, dropped + 1, __ATOMIC_RELAXED);
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list arguments;

	if (!log_shows(level))
		return;
	va_start(arguments, format);
	emit(level, 0, format, arguments);
	va_end(arguments);
}

void log_alarm(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	emit(LOG_LEVEL_WARNING, 0, format, arguments);
	va_end(arguments);
}

int log_errno(int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	emit(LOG_LEVEL_ERROR, error, format, arguments);
	va_end(arguments);
	return error;
}
