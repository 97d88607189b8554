// SPDX-License-Identifier: Apache-2.0
// One-line messages on standard error, each by a single write(2): "vhost-multi NAME[421]: error: text".
#pragma once

#include "core/base.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_TRACE
};

// Sets the name in front of each line (kept by reference) and the most talkative level that is
// shown. Control thread, before any other thread exists.
void log_init(const char *name, enum log_level level);

// What ends each line (kept by reference): "\n" unless said otherwise, "\r\n" on a terminal that is raw. Control
// thread, while no other thread exists.
void log_set_line_end(const char *end);

// Whether lines of this level are shown: asked by who has to work for one.
bool log_shows(enum log_level level);

// Writes one line; longer than 1 KiB is cut. Of more than 100 in a second the rest is only counted, but for
// debug and trace level. Any thread.
printf_like(2, 3) void log_line(enum log_level level, const char *format, ...);

// As log_line at error level, followed by ": " and the text of `error` (a negative errno, or 0 for no
// text), and answers `error`: "return log_errno(fd, "cannot open %s", path);"
printf_like(2, 3) int log_errno(int error, const char *format, ...);

// As log_warning, but shown at every level: what nobody may have chosen not to know.
printf_like(1, 2) void log_alarm(const char *format, ...);

// Where relative paths lead, if that is not where the user was (kept by reference): said of each file that log_errno finds missing.
void log_set_folder(const char *folder);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
