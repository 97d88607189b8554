// SPDX-License-Identifier: Apache-2.0
// Puts a traced message into lines of the log.
#include "core/trace_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/log.h"

void trace_add(struct trace *trace, const char *format, ...)
{
	size_t room = sizeof(trace->text) - trace->len;
	va_list arguments;
	int wanted;

	va_start(arguments, format);
	wanted = vsnprintf(trace->text + trace->len, room, format, arguments);
	va_end(arguments);
	trace->len += min_size((size_t)wanted, room - 1);
}

void trace_end_line(struct trace *trace)
{
	log_line(LOG_LEVEL_TRACE, "%s", trace->text);
	trace->len = trace->head_len;
}

void trace_add_bytes(struct trace *trace, const u8 *bytes, size_t len)
{
	for (size_t i = 0; i < len && i < TRACE_MOST_BYTES; i++)
		trace_add(trace, " %02x", bytes[i]);
	if (len > TRACE_MOST_BYTES)
		trace_add(trace, " ...");
}

void trace_add_fd(struct trace *trace)
{
	// clang-format off
	static const char kinds[16][TRACE_NAME_LEN] = {
		[0] = "eventfd or the like", [S_IFIFO >> 12] = "pipe", [S_IFSOCK >> 12] = "socket",
		[S_IFREG >> 12] = "file", [S_IFDIR >> 12] = "folder", [S_IFLNK >> 12] = "symbolic link",
		[S_IFBLK >> 12] = "block device", [S_IFCHR >> 12] = "character device"};
	// clang-format on
	int fd = *trace->fds++;
	struct stat file;

	trace->fd_count--;
	if (fstat(fd, &file) != 0) {
		trace_add(trace, ", fd %d (closed)", fd);
		return;
	}
	trace_add(trace, ", fd %d (%s", fd, kinds[(file.st_mode & S_IFMT) >> 12]);
	if (S_ISREG(file.st_mode))
		trace_add(trace, "%s, %#llx bytes", file.st_nlink ? "" : " without a name",
			  (unsigned long long)file.st_size);
	trace_add(trace, ")");
}

void trace_add_number(struct trace *trace, u64 value)
{
	trace_add(trace, value > UINT16_MAX ? " %#" PRIx64 : " %" PRIu64, value);
}

void trace_add_bits(struct trace *trace, u64 bits, const char (*names)[TRACE_NAME_LEN],
		    unsigned count)
{
	u64 nameless = bits;

	trace_add(trace, " %#" PRIx64, bits);
	for (unsigned i = 0; i < count; i++)
		if (bits & BIT64(i) && names[i][0]) {
			trace_add(trace, " %s", names[i]);
			nameless &= ~BIT64(i);
		}
	if (nameless && nameless != bits)
		trace_add(trace, " and %#" PRIx64, nameless);
}
