// SPDX-License-Identifier: Apache-2.0
// Opens the medium and finds out what it can do.
#include "applets/blk/medium.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "applets/options.h"
#include "core/log.h"
#include "core/process.h"
#include "core/sys.h"

enum { MIN_BLOCK = 512, MAX_BLOCK = 65536, PAGE = 4096 };

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

// "memory:SIZE" and "null:SIZE": 1 if the path is one of them and open, 0 if it is neither.
static int open_embedded(struct medium *medium, const struct medium_options *options)
{
	bool memory = strncmp(options->path, "memory:", 7) == 0;
	int error;

	if (!memory && strncmp(options->path, "null:", 5) != 0)
		return 0;
	error = options_parse_size(strchr(options->path, ':') + 1, &medium->len);
	if (error || medium->len > INT64_MAX)
		return log_errno(-EINVAL, "--path %s: needs a size, such as memory:512M or null:4G",
				 options->path);
	medium->in_memory = true;
	error = memory ? open_memory(medium, medium->len) : 0;
	return error ? error : 1;
}

static bool file_system_is_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC ||
					 fs.f_type == HUGETLBFS_MAGIC);
}

static u32 block_size_or(u64 wanted, u32 otherwise)
{
	return is_power_of_two(wanted) && wanted >= MIN_BLOCK && wanted <= MAX_BLOCK ? (u32)wanted
										     : otherwise;
}

// Direct I/O has rules of alignment, which are the same for the offset, the length and the address in memory.
static u32 try_direct_block(int fd)
{
	static _Alignas(MAX_BLOCK) u8 block[MIN_BLOCK];

	return pread(fd, block, MIN_BLOCK, MIN_BLOCK) < 0 && errno == EINVAL ? PAGE : MIN_BLOCK;
}

static void learn_file(struct medium *medium, const struct stat *file)
{
	medium->len = (u64)file->st_size;
	medium->in_memory = file_system_is_memory(medium->fd);
	medium->physical_block = block_size_or((u64)file->st_blksize, PAGE);
	medium->discard_granularity = medium->physical_block;
	medium->logical_block = MIN_BLOCK;
}

// A number from the block device's queue folder in sysfs; 0 if it cannot be read.
static u32 queue_limit(dev_t device, const char *name)
{
	char path[128], text[32] = "";
	cleanup_fd int fd = -1;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/%s", major(device), minor(device),
		 name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return 0;
	return (u32)strtoul(text, NULL, 10);
}

static int learn_block_device(struct medium *medium, const struct stat *file)
{
	unsigned physical = 0, optimal = 0;
	off_t end = lseek(medium->fd, 0, SEEK_END);
	int logical = 0;

	if (end < 0 || ioctl(medium->fd, BLKSSZGET, &logical) != 0 ||
	    ioctl(medium->fd, BLKPBSZGET, &physical) != 0 ||
	    ioctl(medium->fd, BLKIOOPT, &optimal) != 0)
		return log_errno(-errno, "cannot read the size of the block device");
	medium->len = (u64)end;
	medium->logical_block = block_size_or((u64)logical, MIN_BLOCK);
	medium->physical_block = block_size_or(physical, medium->logical_block);
	medium->optimal_io = optimal;
	medium->discard_granularity = queue_limit(file->st_rdev, "discard_granularity");
	return 0;
}

static int open_file(struct medium *medium, const struct medium_options *options)
{
	// O_NONBLOCK while we do not know what it is: a FIFO would wait for its writer
	int flags = O_CLOEXEC | O_NOCTTY | (options->read_only ? O_RDONLY : O_RDWR) |
		    (options->direct ? O_DIRECT : 0);
	struct stat file;

	medium->fd = sys_int(open(options->path, flags | O_NONBLOCK));
	if (medium->fd < 0)
		return log_errno(medium->fd, "cannot open %s%s", options->path,
				 medium->fd == -EACCES || medium->fd == -EROFS
					 ? " for writing; --read-only may help"
				 : medium->fd == -EINVAL && options->direct
					 ? " with --direct, which its file system does not support"
					 : "");
	if (fstat(medium->fd, &file) != 0 || fcntl(medium->fd, F_SETFL, flags) != 0)
		return log_errno(-errno, "cannot look at %s", options->path);
	if (!S_ISREG(file.st_mode) && !S_ISBLK(file.st_mode))
		return log_errno(-EINVAL, "%s is neither a regular file nor a block device",
				 options->path);
	if (process_take_apart(medium->fd) != medium->fd)
		return log_errno(-EIO, "cannot keep standard error off %s", options->path);
	medium->direct = options->direct;
	if (S_ISREG(file.st_mode))
		learn_file(medium, &file);
	else if (learn_block_device(medium, &file))
		return -EINVAL;
	if (medium->direct)
		medium->logical_block =
			block_size_or(try_direct_block(medium->fd), medium->logical_block);
	return medium_lock_at_open(medium, options);
}

// An allocation behind the end of a file changes nothing, but tells whether it can be done.
static bool try_allocate(const struct medium *medium, int mode)
{
	return fallocate(medium->fd, mode | FALLOC_FL_KEEP_SIZE,
			 (off_t)((medium->len + PAGE - 1) & ~(u64)(PAGE - 1)), PAGE) == 0;
}

// The same of zeroes, for which blocks are taken. Not every file system gives them back by a hole behind the end; to set the length
// that the file has makes it do so.
static bool try_zero_range(const struct medium *medium, const struct stat *before)
{
	bool can = try_allocate(medium, FALLOC_FL_ZERO_RANGE);
	struct stat after;

	if (can && fstat(medium->fd, &after) == 0 && after.st_blocks > before->st_blocks &&
	    ftruncate(medium->fd, after.st_size) != 0)
		log_debug("4 KiB stay allocated behind the end of the disk");
	return can;
}

static void learn_allocation(struct medium *medium)
{
	struct stat file;

	if (fstat(medium->fd, &file) != 0)
		return;
	if (S_ISBLK(file.st_mode)) {
		// fallocate(2) on a block device: both are its command to write zeroes
		medium->can_punch = queue_limit(file.st_rdev, "write_zeroes_max_bytes") > 0;
		medium->can_zero = medium->can_punch;
		return;
	}
	medium->can_punch = try_allocate(medium, FALLOC_FL_PUNCH_HOLE);
	medium->can_zero = medium->in_memory ? medium->can_punch : try_zero_range(medium, &file);
}

int medium_open(struct medium *medium, const struct medium_options *options)
{
	int error;

	*medium = (struct medium){.fd = -1, .logical_block = MIN_BLOCK, .physical_block = PAGE};
	error = open_embedded(medium, options);
	if (error == 0)
		error = open_file(medium, options);
	if (error < 0) {
		medium_close(medium);
		return error;
	}
	if (medium->len < MIN_BLOCK)
		log_warning("%s holds no whole sector of %d bytes", options->path, MIN_BLOCK);
	if (medium->fd >= 0 && !options->read_only)
		learn_allocation(medium);
	return 0;
}

void medium_close(struct medium *medium)
{
	// not left to close: an io_uring may hold the file for a moment longer
	if (medium->fd >= 0)
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

// True if all of the block can be read, else false or -errno. A read may fall short for other reasons than the end.
static int block_is_there(const struct medium *medium, u32 block, u64 index)
{
	static _Alignas(MAX_BLOCK) u8 bytes[MAX_BLOCK];
	u32 done = 0;
	int got;

	do {
		const struct iovec segment = {.iov_base = bytes + done, .iov_len = block - done};

		got = medium_read(medium, &segment, 1, index * block + done, 0);
		done += got > 0 ? (u32)got : 0;
	} while (got > 0 && done < block);
	return got < 0 && done == 0 ? got : done == block;
}

// From the old end on in steps that grow, then by halves.
int medium_measure(const struct medium *medium, u32 block, u64 *len)
{
	u64 there = 0,
	    gone = (u64)INT64_MAX / block; // all blocks below the one; none from the other on
	bool some_there = false, some_gone = false;
	u64 index = *len / block, step = 1;

	for (; there < gone; step *= 2) {
		int is_there = block_is_there(medium, block, index);

		if (is_there < 0)
			return is_there;
		if (is_there) {
			there = index + 1;
			some_there = true;
		} else {
			gone = index;
			some_gone = true;
		}
		if (some_there && some_gone)
			index = there + (gone - there) / 2;
		else if (some_there)
			index = there + min_u64(step, gone - there) - 1;
		else
			index = gone - min_u64(step, gone);
	}
	*len = there * block;
	return 0;
}
