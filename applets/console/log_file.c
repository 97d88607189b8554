// SPDX-License-Identifier: Apache-2.0
// Appends to a file, line by line where lines get the time, and begins a new one when it is full.
#include "applets/console/log_file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/helper.h"
#include "core/log.h"
#include "core/sys.h"

enum {
	STAMP_LEN = sizeof("2026-01-01T00:00:00.000Z ") - 1,
	STAMPED_LEN = 64 * 1024,
	TRY_AGAIN_NS = 1000 * 1000 * 1000,
	MODE = 0600,
	APPEND = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK,
	BEGIN = APPEND | O_EXCL | O_NOFOLLOW | O_LARGEFILE, // the C library adds the last by itself
};

static int open_to_append(const struct log_file_options *options)
{
	int fd = sys_int(open(options->path, APPEND | (options->max ? O_NOFOLLOW : 0), MODE));

	if (fd == -ELOOP && options->max)
		return log_errno(fd, "cannot open %s: with log-max= it must be no symlink",
				 options->path);
	return fd < 0 ? log_errno(fd, "cannot open %s", options->path) : fd;
}

int log_file_open(struct log_file *log, const struct log_file_options *options)
{
	struct stat file;
	cleanup_fd int fd = open_to_append(options);

	if (fd < 0)
		return fd;
	if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
		return log_errno(-EINVAL, "%s is no regular file; see type=fifo and type=fd",
				 options->path);
	*log = (struct log_file){
		.fd = -1, .options = *options, .len = (u64)file.st_size, .assistant_fd = -1};
	if (options->timestamp) {
		log->stamped = sys_reserve(STAMPED_LEN);
		if (!log->stamped)
			return log_errno(-ENOMEM, "cannot reserve memory for %s", options->path);
	}
	log->fd = take_fd(&fd);
	return 0;
}

void log_file_close(struct log_file *log)
{
	close_fd(&log->fd);
	sys_release(log->stamped, STAMPED_LEN);
	log->stamped = NULL;
}

bool log_file_is(const struct log_file *log, const struct log_file *other)
{
	struct stat file, other_file;

	return log->fd >= 0 && other->fd >= 0 && fstat(log->fd, &file) == 0 &&
	       fstat(other->fd, &other_file) == 0 && file.st_dev == other_file.st_dev &&
	       file.st_ino == other_file.st_ino;
}

// ---- a new file ----

const struct syscall_rule log_file_rotate_rules[LOG_FILE_ROTATE_RULES] = {
	RULE(renameat, "moves a full log out of the way"),
	RULE_IF(openat, "begins a log anew", ARGUMENT_INT_IS(2, BEGIN)),
	RULE(close, "gives back what it has passed on"),
};

// The name of the file that is the number-th before the present one.
static int older_name(const char *path, unsigned number, char *name)
{
	int len = snprintf(name, PATH_MAX, number ? "%s.%u" : "%s", path, number);

	return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int log_file_rotate(const struct log_file_options *options)
{
	char from[PATH_MAX], to[PATH_MAX];

	for (unsigned number = options->keep; number > 0; number--) {
		int error = older_name(options->path, number, to);

		if (!error)
			error = older_name(options->path, number - 1, from);
		if (!error)
			error = sys_int(renameat(AT_FDCWD, from, AT_FDCWD, to));
		if (error && error != -ENOENT)
			return error;
	}
	return sys_int(openat(AT_FDCWD, options->path, BEGIN, MODE));
}

static void note_result(struct log_file *log, int error, const char *what)
{
	if (error && !log->failing)
		log_errno(error,
			  "cannot %s %s: output is lost until that can be done; is there room?",
			  what, log->options.path);
	if (!error && log->failing)
		log_info("%s can be written again", log->options.path);
	log->failing = error != 0;
}

// A folder that lets nothing be renamed now is not asked again for each buffer.
static int begin_new(struct log_file *log)
{
	u64 now = sys_clock_coarse_ns();
	int fd;

	if (now < log->try_again_ns)
		return -EAGAIN;
	fd = helper_ask(log->assistant_fd, log->rotate_command);
	if (fd < 0) {
		log->try_again_ns = now + TRY_AGAIN_NS;
		note_result(log, fd, "begin a new");
		return fd;
	}
	close_fd(&log->fd);
	log->fd = fd;
	log->len = 0;
	return 0;
}

// How many of the bytes belong into this file: all, or whole lines, or none. A line that is longer than a file is cut.
static size_t fitting(const struct log_file *log, const u8 *bytes, size_t len)
{
	u64 max = log->options.max;
	u64 room = log->len < max ? max - log->len : 0;
	size_t fits = (size_t)min_u64(room, len);

	if (max == 0 || fits == len)
		return len;
	for (size_t i = fits; i > 0; i--)
		if (bytes[i - 1] == '\n')
			return i;
	return log->len == 0 ? fits : 0;
}

// ---- writing ----

// 0 only if all was written: a disk that is nearly full takes a part of each buffer.
static int write_all(struct log_file *log, const u8 *bytes, size_t len)
{
	while (len > 0) {
		long written = sys(write(log->fd, bytes, len));

		if (written <= 0)
			return written < 0 ? (int)written : -ENOSPC;
		log->len += (u64)written;
		bytes += written;
		len -= (size_t)written;
	}
	return 0;
}

static void append(struct log_file *log, const u8 *bytes, size_t len)
{
	while (len > 0) {
		size_t part = fitting(log, bytes, len);

		if (part == 0 && begin_new(log))
			return;
		if (part == 0)
			continue;
		note_result(log, write_all(log, bytes, part), "write to");
		bytes += part;
		len -= part;
	}
}

static void make_stamp(char stamp[STAMP_LEN + 1])
{
	struct timespec now;
	struct tm utc;
	unsigned ms;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, STAMP_LEN + 1, "%Y-%m-%dT%H:%M:%S.000Z ", &utc);
	ms = (unsigned)(now.tv_nsec / 1000000);
	for (size_t digit = STAMP_LEN - 3; digit > STAMP_LEN - 6; digit--, ms /= 10)
		stamp[digit] = (char)('0' + ms % 10);
}

// All lines of a buffer have the same time, and are written at once.
static size_t append_stamped(struct log_file *log, const u8 *bytes, size_t len)
{
	char stamp[STAMP_LEN + 1];
	size_t filled = 0, total = 0;

	make_stamp(stamp);
	while (len > 0) {
		const u8 *newline = memchr(bytes, '\n', len);
		size_t line = newline ? (size_t)(newline - bytes) + 1 : len;

		if (STAMPED_LEN - filled <= STAMP_LEN) {
			append(log, log->stamped, filled);
			total += filled;
			filled = 0;
		}
		if (!log->line_goes_on)
			memcpy(log->stamped + filled, stamp, STAMP_LEN);
		filled += log->line_goes_on ? 0 : STAMP_LEN;
		line = min_size(line, STAMPED_LEN - filled);
		memcpy(log->stamped + filled, bytes, line);
		filled += line;
		bytes += line;
		len -= line;
		log->line_goes_on = bytes[-1] != '\n';
	}
	append(log, log->stamped, filled);
	return total + filled;
}

size_t log_file_write(struct log_file *log, const u8 *bytes, size_t len)
{
	if (log->fd < 0 || len == 0)
		return 0;
	if (log->options.timestamp)
		return append_stamped(log, bytes, len);
	append(log, bytes, len);
	return len;
}
