// SPDX-License-Identifier: Apache-2.0
// Finds out what a medium can do. "Cannot" is what somebody has said; where nobody tells, it is tried at its first use.
#include "applets/blk/limits.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "core/log.h"
#include "core/sys.h"

enum { TYPE_MASK = 0170000, TYPE_BLOCK_DEVICE = 0060000 };

// The C library's own struct may have no room for the alignment, so this is the kernel's.
static int ask_kernel(int fd, unsigned mask, struct statx *answer)
{
	*answer = (struct statx){0};
	return sys_int(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, mask, answer));
}

static u32 block_size_or(u64 wanted, u32 otherwise)
{
	return is_power_of_two(wanted) && wanted >= LIMITS_MIN_BLOCK && wanted <= LIMITS_MAX_BLOCK
		       ? (u32)wanted
		       : otherwise;
}

// ---- sysfs

static int64_t read_number(const char *path)
{
	char text[32] = "", *end;
	unsigned long long number;
	cleanup_fd int fd = sys_int(open(path, O_RDONLY | O_CLOEXEC));

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	number = strtoull(text, &end, 10);
	return end == text || number > INT64_MAX ? -1 : (int64_t)number;
}

int64_t limits_of_queue(const char *sys, u32 major, u32 minor, const char *name)
{
	static const char *const folders[] = {"queue", "../queue"}; // a partition's disk has it
	char path[256];
	int64_t number = -1;

	for (unsigned i = 0; i < ARRAY_SIZE(folders) && number < 0; i++) {
		snprintf(path, sizeof(path), "%s/dev/block/%u:%u/%s/%s", sys, major, minor,
			 folders[i], name);
		number = read_number(path);
	}
	return number;
}

// ---- how direct I/O must be aligned

bool limits_align_by_kernel(int fd, struct alignment *alignment)
{
	struct statx answer;

	if (ask_kernel(fd, STATX_DIOALIGN, &answer) || !(answer.stx_mask & STATX_DIOALIGN) ||
	    answer.stx_dio_offset_align == 0)
		return false;
	alignment->block = answer.stx_dio_offset_align;
	alignment->memory = answer.stx_dio_mem_align;
	return true;
}

bool limits_align_by_device(const char *sys, u32 major, u32 minor, struct alignment *alignment)
{
	int64_t block = limits_of_queue(sys, major, minor, "logical_block_size");
	int64_t memory = limits_of_queue(sys, major, minor, "dma_alignment"); // a mask

	if (block <= 0)
		return false;
	alignment->block = (u64)block;
	alignment->memory = memory >= 0 ? (u64)memory + 1 : min_u64((u64)block, LIMITS_PAGE);
	return true;
}

void limits_align_by_reading(int fd, struct alignment *alignment)
{
	static _Alignas(LIMITS_PAGE) u8 bytes[LIMITS_PAGE + LIMITS_MAX_BLOCK];
	off_t data = lseek(fd, 0, SEEK_DATA);
	u64 there = data < 0 ? 0 : (u64)data, block = LIMITS_MIN_BLOCK;

	// to an address that is no better aligned than the block
	while (block < LIMITS_MAX_BLOCK &&
	       pread(fd, bytes + block % LIMITS_PAGE, block, (off_t)(there & ~(block - 1))) < 0 &&
	       errno == EINVAL)
		block *= 2;
	alignment->block = block;
	alignment->memory = min_u64(block, LIMITS_PAGE);
}

static int learn_alignment(struct medium *medium, const char *sys, u32 major, u32 minor)
{
	struct alignment found;
	u64 least = medium->logical_block;

	if (!limits_align_by_kernel(medium->fd, &found) &&
	    !limits_align_by_device(sys, major, minor, &found))
		limits_align_by_reading(medium->fd, &found);
	found.block = found.block > least ? found.block : least;
	medium->logical_block = block_size_or(found.block, 0);
	medium->memory_align = block_size_or(found.memory, LIMITS_MIN_BLOCK);
	if (medium->logical_block == 0)
		return log_errno(-EINVAL,
				 "--direct: the disk is read in blocks of %llu bytes, and a "
				 "guest's can have %d to %d; leave out --direct",
				 (unsigned long long)found.block, LIMITS_MIN_BLOCK,
				 LIMITS_MAX_BLOCK);
	return 0;
}

// ---- files

// What file systems are known for. One that is not here may well be able to do both, which shows at the first use.
static const struct file_system {
	unsigned type;
	bool discards, zeroes, in_memory;
} file_systems[] = {
	{.type = XFS_SUPER_MAGIC, .discards = true, .zeroes = true},
	{.type = EXT4_SUPER_MAGIC, .discards = true, .zeroes = true},
	{.type = BTRFS_SUPER_MAGIC, .discards = true, .zeroes = true},
	{.type = F2FS_SUPER_MAGIC, .discards = true, .zeroes = true},
	{.type = TMPFS_MAGIC, .discards = true, .zeroes = true, .in_memory = true},
	{.type = HUGETLBFS_MAGIC, .discards = true, .zeroes = true, .in_memory = true},
	{.type = RAMFS_MAGIC, .in_memory = true},
	{.type = MSDOS_SUPER_MAGIC},
	{.type = EXFAT_SUPER_MAGIC},
};

static struct file_system file_system_of(int fd)
{
	struct statfs answer;

	if (fstatfs(fd, &answer) == 0)
		for (unsigned i = 0; i < ARRAY_SIZE(file_systems); i++)
			if ((unsigned)answer.f_type == file_systems[i].type)
				return file_systems[i];
	return (struct file_system){.discards = true};
}

// A file of ext2's and ext3's layout, which have the number of ext4, can have holes but no zeroes that are not written.
static bool has_extents(int fd)
{
	unsigned flags = 0;

	return syscall(SYS_ioctl, fd, FS_IOC_GETFLAGS, &flags) != 0 || flags & FS_EXTENT_FL;
}

static void learn_file(struct medium *medium, const struct statx *file)
{
	struct file_system known = file_system_of(medium->fd);

	medium->in_memory = known.in_memory;
	medium->logical_block = LIMITS_MIN_BLOCK;
	medium->physical_block = block_size_or(file->stx_blksize, LIMITS_PAGE);
	medium->discard_granularity = medium->physical_block;
	medium->can_discard = known.discards;
	medium->can_zero =
		known.zeroes && (known.type != EXT4_SUPER_MAGIC || has_extents(medium->fd));
}

// ---- block devices

// A range that no device has: one that can discard refuses it for that alone.
static int ask_to_discard(int fd)
{
	const u64 range[2] = {1, 0};

	if (ioctl(fd, BLKDISCARD, range) == 0 || errno == EINVAL)
		return 1;
	return errno == EOPNOTSUPP ? 0 : -1;
}

void limits_of_ranges(struct medium *medium, const char *sys, u32 major, u32 minor, int can_discard)
{
	int64_t most = limits_of_queue(sys, major, minor, "discard_max_bytes");
	int64_t granularity = limits_of_queue(sys, major, minor, "discard_granularity");

	// what fallocate does to a block device is its command to write zeroes
	medium->can_zero = limits_of_queue(sys, major, minor, "write_zeroes_max_bytes") > 0;
	medium->can_discard = can_discard < 0 ? most > 0 : can_discard;
	medium->discards_by_ioctl = medium->can_discard && !medium->can_zero;
	medium->discard_granularity = granularity > 0 ? (u32)granularity : 0;
}

static int learn_block_device(struct medium *medium, const char *sys, const struct statx *file)
{
	unsigned physical = 0, optimal = 0;
	int logical = 0, read_only = 0;

	if (ioctl(medium->fd, BLKSSZGET, &logical) != 0 ||
	    ioctl(medium->fd, BLKPBSZGET, &physical) != 0 ||
	    ioctl(medium->fd, BLKIOOPT, &optimal) != 0 ||
	    ioctl(medium->fd, BLKROGET, &read_only) != 0)
		return log_errno(-errno, "cannot read the limits of the block device");
	if (read_only && !medium->read_only)
		return log_errno(-EROFS, "the block device is write-protected; --read-only serves "
					 "it so");
	medium->logical_block = block_size_or((u64)logical, 0);
	if (medium->logical_block == 0)
		return log_errno(-EINVAL,
				 "the block device has blocks of %d bytes, and a guest's can have "
				 "%d to %d",
				 logical, LIMITS_MIN_BLOCK, LIMITS_MAX_BLOCK);
	medium->physical_block = block_size_or(physical, medium->logical_block);
	medium->optimal_io = optimal;
	medium->range_align = medium->logical_block;
	limits_of_ranges(medium, sys, file->stx_rdev_major, file->stx_rdev_minor,
			 medium->read_only ? 0 : ask_to_discard(medium->fd));
	return 0;
}

int limits_learn(struct medium *medium, const char *sys)
{
	struct statx file;
	bool is_device;
	int error = ask_kernel(medium->fd, STATX_BASIC_STATS, &file);

	if (error)
		return log_errno(error, "cannot look at the disk");
	is_device = (file.stx_mode & TYPE_MASK) == TYPE_BLOCK_DEVICE;
	if (is_device)
		error = learn_block_device(medium, sys, &file);
	else
		learn_file(medium, &file);
	if (!error && medium->direct)
		error = learn_alignment(medium, sys,
					is_device ? file.stx_rdev_major : file.stx_dev_major,
					is_device ? file.stx_rdev_minor : file.stx_dev_minor);
	if (medium->read_only)
		medium->can_discard = medium->can_zero = medium->discards_by_ioctl = false;
	return error;
}
