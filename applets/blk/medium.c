// SPDX-License-Identifier: Apache-2.0
// Opens the medium, reads and writes it, and finds its end.
#include "applets/blk/medium.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "applets/blk/limits.h"
#include "applets/options.h"
#include "core/log.h"
#include "core/process.h"
#include "core/sys.h"

static int open_memory(struct medium *medium, u64 len)
{
	medium->fd = sys_int(memfd_create("vhost-multi-disk", MFD_CLOEXEC));
	if (medium->fd < 0)
		return log_errno(medium->fd, "cannot make a disk in memory");
	if (ftruncate(medium->fd, (off_t)len) != 0)
		return log_errno(-errno, "cannot make a disk of %llu bytes in memory",
				 (unsigned long long)len);
	return 0;
}

// "memory:SIZE" and "null:SIZE": 1 if the path is one of them, 0 if it is neither, or -EINVAL, logged.
static int parse_embedded(const char *path, u64 *len)
{
	if (strncmp(path, "memory:", 7) != 0 && strncmp(path, "null:", 5) != 0)
		return 0;
	if (options_parse_size(strchr(path, ':') + 1, len) || *len > INT64_MAX)
		return log_errno(-EINVAL, "--path %s: needs a size, such as memory:512M or null:4G",
				 path);
	return 1;
}

int medium_check(const struct medium_options *options)
{
	u64 len;
	int kind = parse_embedded(options->path, &len);
	bool locks = options->lock_handover || options->lock == MEDIUM_LOCK_SHARED ||
		     options->lock == MEDIUM_LOCK_EXCLUSIVE;

	if (options->lock_handover && options->lock == MEDIUM_LOCK_OFF)
		return log_errno(-EINVAL, "--lock-handover: with --lock off there is no lock");
	if (options->lock == MEDIUM_LOCK_EXCLUSIVE && options->read_only)
		return log_errno(-EINVAL,
				 "--lock exclusive needs a disk that can be written; leave "
				 "out --read-only");
	if (kind > 0 && options->direct)
		log_warning("--direct has no effect on %s, which is no file", options->path);
	if (kind > 0 && locks)
		log_warning("--lock and --lock-handover have no effect on %s, which is nobody "
			    "else's",
			    options->path);
	return kind < 0 ? kind : 0;
}

// As parse_embedded, and opens it.
static int open_embedded(struct medium *medium, const struct medium_options *options)
{
	int kind = parse_embedded(options->path, &medium->len), error = 0;

	if (kind <= 0)
		return kind;
	medium->in_memory = true;
	medium->can_discard = medium->can_zero = !options->read_only;
	if (*options->path == 'm')
		error = open_memory(medium, medium->len);
	return error ? error : 1;
}

// ---- fds that we were started with ----

int medium_fd_number(const char *path)
{
	static const char *const names[] = {"fd:", "/dev/fd/", "/proc/self/fd/"};
	const char *number = NULL;
	unsigned long fd;
	char *end;

	if (strcmp(path, "/dev/stdin") == 0)
		return STDIN_FILENO;
	for (unsigned i = 0; i < ARRAY_SIZE(names) && !number; i++)
		if (strncmp(path, names[i], strlen(names[i])) == 0)
			number = path + strlen(names[i]);
	if (!number || *number < '0' || *number > '9')
		return -EINVAL;
	fd = strtoul(number, &end, 10);
	return *end || fd > INT_MAX ? -EINVAL : (int)fd;
}

static int adopt_fd(struct medium *medium, const struct medium_options *options, int number)
{
	int flags = process_was_closed(number) ? -EBADF : sys_int(fcntl(number, F_GETFL));

	if (flags < 0)
		return log_errno(flags, "--path %s: no such file was handed to the process",
				 options->path);
	if (number == STDOUT_FILENO || number == STDERR_FILENO)
		return log_errno(-EINVAL, "--path %s: is for messages; use another number",
				 options->path);
	if (flags & O_PATH || (flags & O_ACCMODE) == O_WRONLY)
		return log_errno(-EACCES, "--path %s: was not opened for reading", options->path);
	if (number == STDIN_FILENO) // what stays there is replaced once it is known to be a disk
		number = sys_int(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
	medium->fd = number;
	if (medium->fd < 0)
		return log_errno(medium->fd, "cannot use %s", options->path);
	medium->read_only = options->read_only || (flags & O_ACCMODE) == O_RDONLY;
	return sys_int(fcntl(medium->fd, F_SETFD, FD_CLOEXEC));
}

// ---- files and block devices ----

static int open_path(struct medium *medium, const struct medium_options *options)
{
	// O_NONBLOCK while we do not know what it is: a FIFO would wait for its writer
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (options->read_only ? O_RDONLY : O_RDWR) |
		    (options->direct ? O_DIRECT : 0);

	medium->read_only = options->read_only;
	medium->fd = sys_int(open(options->path, flags));
	if (medium->fd < 0)
		return log_errno(medium->fd, "cannot open %s%s", options->path,
				 medium->fd == -EACCES || medium->fd == -EROFS
					 ? " for writing; --read-only may help"
				 : medium->fd == -EINVAL && options->direct
					 ? " with --direct, which its file system does not support"
					 : "");
	return 0;
}

// What an fd was opened with may not suit a disk: O_APPEND would let every write go to its end.
static int set_flags(const struct medium *medium, const struct medium_options *options)
{
	int flags = sys_int(fcntl(medium->fd, F_GETFL));

	if (flags >= 0)
		flags = sys_int(fcntl(medium->fd, F_SETFL,
				      (flags & ~(O_APPEND | O_NONBLOCK | O_DIRECT)) |
					      (options->direct ? O_DIRECT : 0)));
	return flags < 0
		       ? log_errno(
				 flags, "cannot use %s%s", options->path,
				 flags == -EINVAL && options->direct
					 ? " with --direct, which its file system does not support"
				 : flags == -EPERM ? ", which can only be appended to"
						   : "")
		       : 0;
}

static int find_len(struct medium *medium, const struct medium_options *options)
{
	struct stat file;
	off_t end;

	if (fstat(medium->fd, &file) != 0)
		return log_errno(-errno, "cannot look at %s", options->path);
	if (!S_ISREG(file.st_mode) && !S_ISBLK(file.st_mode))
		return log_errno(-EINVAL, "%s is neither a regular file nor a block device",
				 options->path);
	if (process_take_apart(medium->fd) != medium->fd)
		return log_errno(-EIO, "cannot keep standard error off %s", options->path);
	end = S_ISREG(file.st_mode) ? file.st_size : lseek(medium->fd, 0, SEEK_END);
	if (end < 0)
		return log_errno(-errno, "cannot find the size of %s", options->path);
	medium->len = (u64)end;
	return 0;
}

// The guest may have written what it looks like, but a guest that is shown another format's bytes may overwrite them.
static int check_format(const struct medium *medium, const struct medium_options *options)
{
	const char *format = options->raw ? NULL : medium_format(medium);

	if (!format)
		return 0;
	return log_errno(
		-EINVAL,
		"%s begins as a %s image does, of which a guest could make no sense: "
		"convert it (qemu-img convert -O raw), or, if it is a disk whose guest has "
		"written that, use --raw",
		options->path, format);
}

static int open_file(struct medium *medium, const struct medium_options *options)
{
	int number = medium_fd_number(options->path);
	int error = number >= 0 ? adopt_fd(medium, options, number) : open_path(medium, options);

	medium->direct = options->direct;
	if (!error)
		error = find_len(medium, options);
	if (!error)
		error = set_flags(medium, options);
	if (!error)
		error = limits_learn(medium, options->sys ? options->sys : "/sys");
	if (!error)
		error = medium_lock_at_open(medium, options);
	return error ? error : check_format(medium, options);
}

int medium_open(struct medium *medium, const struct medium_options *options)
{
	int error;

	*medium = (struct medium){.fd = -1,
				  .read_only = options->read_only,
				  .logical_block = LIMITS_MIN_BLOCK,
				  .physical_block = LIMITS_PAGE,
				  .memory_align = LIMITS_MIN_BLOCK,
				  .range_align = LIMITS_MIN_BLOCK};
	error = open_embedded(medium, options);
	if (error == 0)
		error = open_file(medium, options);
	if (error < 0) {
		medium_close(medium);
		return error;
	}
	return 0;
}

void medium_close(struct medium *medium)
{
	// not left to close: an io_uring may hold the file for a moment longer, or who has handed it to us
	if (medium->fd >= 0 && medium->locks)
		medium_unlock(medium);
	close_fd(&medium->fd);
}

// musl before 1.2.5 has no wrappers. The offset goes in two halves, of which 64-bit kernels take just the first.
int medium_read(const struct medium *medium, const struct iovec *segments, unsigned count,
		u64 offset, int flags)
{
	return sys_int(syscall(SYS_preadv2, medium->fd, segments, count, (long)offset,
			       (long)(offset >> 32), flags));
}

int medium_write(const struct medium *medium, const struct iovec *segments, unsigned count,
		 u64 offset, int flags)
{
	return sys_int(syscall(SYS_pwritev2, medium->fd, segments, count, (long)offset,
			       (long)(offset >> 32), flags));
}

int medium_discard(const struct medium *medium, u64 offset, u64 len)
{
	const u64 range[2] = {offset, len};

	return sys_int(ioctl(medium->fd, BLKDISCARD, range));
}

// How many bytes of the block can be read, or -errno. A read may fall short for other reasons than the end.
static int bytes_there(const struct medium *medium, u32 block, u64 index)
{
	static _Alignas(LIMITS_MAX_BLOCK) u8 bytes[LIMITS_MAX_BLOCK];
	u32 done = 0;
	int got;

	do {
		const struct iovec segment = {.iov_base = bytes + done, .iov_len = block - done};

		got = medium_read(medium, &segment, 1, index * block + done, 0);
		done += got > 0 ? (u32)got : 0;
	} while (got > 0 && done < block);
	return got < 0 && done == 0 ? got : (int)done;
}

// From the old end on in steps that grow, then by halves.
int medium_measure(const struct medium *medium, u32 block, u64 *len)
{
	u64 there = 0,
	    gone = (u64)INT64_MAX / block; // all blocks below the one; none from the other on
	bool some_there = false, some_gone = false;
	u64 index = *len / block, step = 1;
	u32 rest = 0; // of the first that is gone

	for (; there < gone; step *= 2) {
		int got = bytes_there(medium, block, index);

		if (got < 0)
			return got;
		if ((u32)got == block) {
			there = index + 1;
			some_there = true;
		} else {
			gone = index;
			rest = (u32)got;
			some_gone = true;
		}
		if (some_there && some_gone)
			index = there + (gone - there) / 2;
		else if (some_there)
			index = there + min_u64(step, gone - there) - 1;
		else
			index = gone - min_u64(step, gone);
	}
	*len = there * block + rest;
	return 0;
}
