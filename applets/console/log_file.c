// SPDX-License-Identifier: Apache-2.0
// Appends to a file, line by line where lines get the time.
#include "applets/console/log_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/log.h"
#include "core/sys.h"

enum { STAMP_LEN = sizeof("2026-01-01T00:00:00.000Z ") - 1 };

int log_file_open(struct log_file *log, const char *path, bool timestamp)
{
	struct stat file;
	cleanup_fd int fd =
		sys_int(open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600));

	if (fd < 0)
		return log_errno(fd, "cannot open %s", path);
	if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
		return log_errno(-EINVAL, "%s is no regular file; see type=fifo and type=fd", path);
	*log = (struct log_file){.fd = take_fd(&fd), .path = path, .timestamp = timestamp};
	return 0;
}

void log_file_close(struct log_file *log)
{
	close_fd(&log->fd);
}

static void note_result(struct log_file *log, long error)
{
	if (error && !log->failing)
		log_errno((int)error, "cannot write to %s: output is lost", log->path);
	if (!error && log->failing)
		log_info("%s can be written again", log->path);
	log->failing = error != 0;
}

static void write_all(struct log_file *log, const void *bytes, size_t len)
{
	const u8 *next = bytes;

	while (len > 0) {
		long written = sys(write(log->fd, next, len));

		note_result(log, written < 0 ? written : 0);
		if (written <= 0)
			return;
		next += written;
		len -= (size_t)written;
	}
}

static void write_stamp(struct log_file *log)
{
	char stamp[STAMP_LEN + 1];
	struct timespec now;
	struct tm utc;
	size_t len;
	unsigned ms;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	len = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S.000Z ", &utc);
	ms = (unsigned)(now.tv_nsec / 1000000);
	for (size_t digit = len - 3; len && digit > len - 6; digit--, ms /= 10)
		stamp[digit] = (char)('0' + ms % 10);
	write_all(log, stamp, len);
}

void log_file_write(struct log_file *log, const u8 *bytes, size_t len)
{
	if (log->fd < 0)
		return;
	while (log->timestamp && len > 0) {
		const u8 *newline = memchr(bytes, '\n', len);
		size_t line = newline ? (size_t)(newline - bytes) + 1 : len;

		if (!log->line_goes_on)
			write_stamp(log);
		write_all(log, bytes, line);
		log->line_goes_on = !newline;
		bytes += line;
		len -= line;
	}
	write_all(log, bytes, len);
}
