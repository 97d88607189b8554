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
#include <time.h>

#include "applets/options.h"
#include "core/log.h"
#include "core/sys.h"

enum { MIN_BLOCK = 512, MAX_BLOCK = 65536, PAGE = 4096 };
enum { LOCK_TRIES = 20, LOCK_RETRY_NS = 25 * 1000 * 1000 };

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

// Locks of the open file description, as other virtual machine software uses them too. The kernel may take a
// moment to let go of the lock of a process that has just ended.
static int try_lock(int fd, short type)
{
	struct flock lock = {.l_whence = SEEK_SET, .l_type = type};
	const struct timespec moment = {.tv_nsec = LOCK_RETRY_NS};
	int error = 0;

	for (int i = 0; i < LOCK_TRIES; i++) {
		error = sys_int(fcntl(fd, F_OFD_SETLK, &lock));
		if (error != -EAGAIN && error != -EACCES)
			return error;
		nanosleep(&moment, NULL);
	}
	return error;
}

static int lock_medium(const struct medium *medium, const struct medium_options *options)
{
	bool shared = options->lock == MEDIUM_LOCK_SHARED ||
		      (options->lock == MEDIUM_LOCK_AUTO && options->read_only);
	int error;

	if (options->lock == MEDIUM_LOCK_OFF)
		return 0;
	if (!shared && options->read_only)
		return log_errno(-EINVAL,
				 "--lock exclusive needs a disk that can be written; leave "
				 "out --read-only");
	error = try_lock(medium->fd, shared ? F_RDLCK : F_WRLCK);
	if (error == -EAGAIN || error == -EACCES)
		return log_errno(-EBUSY,
				 "%s is in use by another process; stop that, or use "
				 "--read-only on both sides, or --lock off",
				 options->path);
	return error ? log_errno(error, "cannot lock %s; --lock off does without", options->path)
		     : 0;
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
	medium->direct = options->direct;
	if (S_ISREG(file.st_mode))
		learn_file(medium, &file);
	else if (learn_block_device(medium, &file))
		return -EINVAL;
	if (medium->direct)
		medium->logical_block =
			block_size_or(try_direct_block(medium->fd), medium->logical_block);
	return lock_medium(medium, options);
}

// An allocation behind the end of a file changes nothing, but tells whether it can be done.
static bool try_allocate(const struct medium *medium, int mode)
{
	return fallocate(medium->fd, mode | FALLOC_FL_KEEP_SIZE,
			 (off_t)((medium->len + PAGE - 1) & ~(u64)(PAGE - 1)), PAGE) == 0;
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
	medium->can_zero =
		medium->in_memory ? medium->can_punch : try_allocate(medium, FALLOC_FL_ZERO_RANGE);
	// what ZERO_RANGE has allocated behind the end goes again
	if (medium->can_zero && !medium->in_memory)
		try_allocate(medium, FALLOC_FL_PUNCH_HOLE);
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
	struct flock unlock = {.l_whence = SEEK_SET, .l_type = F_UNLCK};

	// not left to close: an io_uring may hold the file for a moment longer
	if (medium->fd >= 0)
		(void)fcntl(medium->fd, F_OFD_SETLK, &unlock);
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
