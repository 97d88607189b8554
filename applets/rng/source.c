// SPDX-License-Identifier: Apache-2.0
// Opens and reads the source, and tries again after ever longer whiles when it gives nothing.
#include "applets/rng/source.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/process.h"
#include "core/sys.h"

enum { RETRY_FIRST_NS = 1000 * 1000, RETRY_LAST_NS = 1000 * 1000 * 1000 };

int source_fd_number(const char *name)
{
	char *end;
	unsigned long fd;

	if (strncmp(name, "fd:", 3) != 0 || name[3] < '0' || name[3] > '9')
		return -EINVAL;
	fd = strtoul(name + 3, &end, 10);
	return *end || fd > INT_MAX ? -EINVAL : (int)fd;
}

int source_check(const char *name)
{
	if (strncmp(name, "fd:", 3) == 0 && source_fd_number(name) < 0)
		return log_errno(-EINVAL, "--source %s: not a file descriptor's number, as in fd:3",
				 name);
	return 0;
}

// The fd that we were started with, made nonblocking.
static int inherited_fd(const char *name)
{
	int fd = source_fd_number(name);
	int flags = fd < 0 ? fd : process_was_closed(fd) ? -EBADF : sys_int(fcntl(fd, F_GETFL));

	if (flags < 0)
		return flags;
	if ((flags & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	flags = sys_int(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
	return flags < 0 ? flags : fd;
}

static int open_path(const char *path)
{
	struct stat status;
	cleanup_fd int fd = sys_int(open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));

	if (fd >= 0 && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
		return -EISDIR;
	return fd < 0 ? fd : take_fd(&fd);
}

int source_open(struct source *source, const char *name, size_t size)
{
	*source = (struct source){.name = name, .fd = -1, .retry_ns = RETRY_FIRST_NS, .size = size};
	if (strcmp(name, "getrandom") != 0) {
		source->fd = strncmp(name, "fd:", 3) == 0 ? inherited_fd(name) : open_path(name);
		if (source->fd < 0)
			return log_errno(source->fd, "cannot open --source %s", name);
	}
	source->bytes = malloc(size);
	if (!source->bytes) {
		close_fd(&source->fd);
		return log_errno(-ENOMEM, "cannot read --source %s", name);
	}
	return 0;
}

void source_close(struct source *source)
{
	close_fd(&source->fd);
	free(source->bytes);
}

// Bytes read; 0 at the end of a file or stream; -EAGAIN if there are none yet; or -errno.
static long read_some(const struct source *source)
{
	if (source->fd < 0)
		return sys(getrandom(source->bytes, source->size, GRND_NONBLOCK));
	return sys(read(source->fd, source->bytes, source->size));
}

// Logs the first failure after bytes that came. How long to wait before the next try.
static u64 after_failure(struct source *source, int error)
{
	u64 delay = source->retry_ns;

	if (error == -EAGAIN && source->polled)
		return 0;
	if (error != -EAGAIN && !source->failing) {
		log_errno(error, "--source %s %s, requests wait", source->name,
			  error ? "cannot be read" : "is at its end");
		source->failing = true;
	}
	source->retry_ns = min_u64(delay * 2, RETRY_LAST_NS);
	return delay;
}

size_t source_fill(struct source *source, u64 *retry_ns)
{
	long got;

	if (source->ready > 0)
		return source->ready;
	got = read_some(source);
	if (got <= 0) {
		*retry_ns = after_failure(source, (int)got);
		return 0;
	}
	if (source->failing)
		log_info("--source %s gives bytes again", source->name);
	source->failing = false;
	source->retry_ns = RETRY_FIRST_NS;
	source->first = 0;
	source->ready = (size_t)got;
	return source->ready;
}

void source_take(struct source *source, size_t len)
{
	explicit_bzero(source->bytes + source->first, len); // nobody gets them twice
	source->first += len;
	source->ready -= len;
}
