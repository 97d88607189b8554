// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/limits.c, with a sysfs of their own.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "applets/blk/limits.h"

enum { DISK = 8, PARTITION = 9 }; // minors

static char sys[256];

static void make_folder(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s", sys, name);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
}

static void make_link(const char *name, const char *target)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s", sys, name);
	assert_int_equal(symlink(target, path), 0);
}

// What the disk says; NULL: nothing.
static void says(const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/devices/disk/queue/%s", sys, name);
	if (!text) {
		unlink(path);
		return;
	}
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

// A disk with a partition, as the kernel shows them.
static int setup(void **state)
{
	static unsigned count;
	char name[16];

	(void)state;
	snprintf(name, sizeof(name), "sys%u", count++);
	snprintf(sys, sizeof(sys), "%s", unit_path(name));
	make_folder("");
	make_folder("/dev");
	make_folder("/dev/block");
	make_folder("/devices");
	make_folder("/devices/disk");
	make_folder("/devices/disk/queue");
	make_folder("/devices/disk/partition");
	make_link("/dev/block/7:8", "../../devices/disk");
	make_link("/dev/block/7:9", "../../devices/disk/partition");
	return 0;
}

TEST(limit_of_a_disk_is_its_partitions_too)
{
	says("write_zeroes_max_bytes", "4294966784\n");
	assert_true(limits_of_queue(sys, 7, DISK, "write_zeroes_max_bytes") == 4294966784);
	assert_true(limits_of_queue(sys, 7, PARTITION, "write_zeroes_max_bytes") == 4294966784);
	says("write_zeroes_max_bytes", "0\n");
	assert_int_equal(limits_of_queue(sys, 7, PARTITION, "write_zeroes_max_bytes"), 0);
}

TEST(limit_that_nobody_tells_is_unknown_and_not_zero)
{
	assert_int_equal(limits_of_queue(sys, 7, DISK, "discard_max_bytes"), -1);
	assert_int_equal(limits_of_queue(sys, 7, 1, "discard_max_bytes"), -1);
	assert_int_equal(limits_of_queue("/there/is/none", 7, DISK, "discard_max_bytes"), -1);
	says("discard_max_bytes", "");
	assert_int_equal(limits_of_queue(sys, 7, DISK, "discard_max_bytes"), -1);
	says("discard_max_bytes", "much\n");
	assert_int_equal(limits_of_queue(sys, 7, DISK, "discard_max_bytes"), -1);
}

struct ranges {
	const char *zeroes, *discards; // what sysfs says
	int asked;		       // what the device says
	bool can_zero, can_discard, by_ioctl;
};

TEST(block_device_discards_by_what_it_has)
{
	static const struct ranges cases[] = {
		{"4096\n", "4096\n", 1, .can_zero = true, .can_discard = true},
		// dm-thin, null_blk, virtio-blk with nothing but discard
		{"0\n", "4096\n", 1, .can_discard = true, .by_ioctl = true},
		// no sysfs
		{NULL, NULL, 1, .can_discard = true, .by_ioctl = true},
		{NULL, NULL, 0, .can_zero = false},
		{NULL, NULL, -1, .can_zero = false},
		// zeroes alone free nothing
		{"4096\n", "0\n", 0, .can_zero = true},
		{"4096\n", "0\n", -1, .can_zero = true},
		// the device could not be asked
		{"4096\n", "4096\n", -1, .can_zero = true, .can_discard = true},
		{"0\n", "4096\n", -1, .can_discard = true, .by_ioctl = true},
		// it knows better
		{"0\n", "0\n", 1, .can_discard = true, .by_ioctl = true},
		{"4096\n", "4096\n", 0, .can_zero = true},
	};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const struct ranges *wanted = &cases[i / 2];
		struct medium medium = {0};

		says("write_zeroes_max_bytes", wanted->zeroes);
		says("discard_max_bytes", wanted->discards);
		limits_of_ranges(&medium, sys, 7, i % 2 ? DISK : PARTITION, wanted->asked);
		if (medium.can_zero != wanted->can_zero ||
		    medium.can_discard != wanted->can_discard ||
		    medium.discards_by_ioctl != wanted->by_ioctl)
			fail_msg("case %u", i / 2);
	}
}

TEST(discard_granularity_is_the_devices_or_no_wish)
{
	struct medium medium = {0};

	says("discard_granularity", "65536\n");
	limits_of_ranges(&medium, sys, 7, PARTITION, 1);
	assert_int_equal(medium.discard_granularity, 65536);
	says("discard_granularity", NULL);
	limits_of_ranges(&medium, sys, 7, PARTITION, 1);
	assert_int_equal(medium.discard_granularity, 0);
}

TEST(alignment_is_that_of_the_file_systems_device)
{
	struct alignment alignment;

	assert_false(limits_align_by_device(sys, 7, PARTITION, &alignment));
	says("logical_block_size", "4096\n");
	says("dma_alignment", "511\n");
	assert_true(limits_align_by_device(sys, 7, PARTITION, &alignment));
	assert_int_equal(alignment.block, 4096);
	assert_int_equal(alignment.memory, 512);
	says("logical_block_size", "8192\n");
	says("dma_alignment", NULL);
	assert_true(limits_align_by_device(sys, 7, DISK, &alignment));
	assert_int_equal(alignment.block, 8192);
	assert_int_equal(alignment.memory, 4096);
}

static int open_file(const char *name, int flags)
{
	int fd = open(unit_file(name, 65536), O_RDWR | O_CLOEXEC | flags);

	assert_true(fd >= 0);
	return fd;
}

TEST(alignment_that_is_found_serves_whatever_is_in_the_file)
{
	static _Alignas(LIMITS_PAGE) u8 bytes[2 * LIMITS_PAGE];
	struct alignment told, found;
	int fd = open_file("file", O_DIRECT);

	limits_align_by_reading(fd, &found);
	assert_true(is_power_of_two(found.block) && found.block >= 512);
	assert_int_equal(pread(fd, bytes + found.memory, found.block, (off_t)found.block),
			 found.block);
	if (limits_align_by_kernel(fd, &told))
		assert_true(found.block >= told.block && found.memory >= told.memory);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, 65536), 0);
	limits_align_by_reading(fd, &found); // all of it a hole
	assert_true(is_power_of_two(found.block));
	close(fd);
}

// A file system that tells nothing, with a device that does, so the empty file is not asked.
TEST(direct_disk_never_offers_less_than_its_device_takes)
{
	int fd = open_file("file", 0);
	struct medium medium = {.fd = fd, .direct = true};
	struct alignment told;
	char link[64];
	struct stat file;

	assert_int_equal(fstat(fd, &file), 0);
	snprintf(link, sizeof(link), "/dev/block/%u:%u", major(file.st_dev), minor(file.st_dev));
	make_link(link, "../../devices/disk");
	says("logical_block_size", "131072\n");
	if (limits_align_by_kernel(fd, &told)) {
		assert_int_equal(limits_learn(&medium, sys), 0);
		assert_true(medium.logical_block >= told.block);
		assert_true(medium.memory_align >= told.memory);
	} else {
		assert_int_equal(limits_learn(&medium, sys), -EINVAL);
		says("logical_block_size", "16384\n");
		assert_int_equal(limits_learn(&medium, sys), 0);
		assert_int_equal(medium.logical_block, 16384);
	}
	close(fd);
}

// Memory has no alignment of its own; where it is mounted from is said to have one.
TEST(direct_disk_of_a_file_system_that_tells_nothing_is_as_its_device)
{
	static const struct {
		const char *says;
		int error;
		u32 block, memory;
	} cases[] = {
		{"131072\n", -EINVAL, 0, 0}, {"1000\n", -EINVAL, 0, 0}, {"65536\n", 0, 65536, 4096},
		{"1024\n", 0, 1024, 1024},   {"256\n", 0, 512, 512},	{NULL, 0, 512, 512},
	};
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct alignment told;
	struct stat file;
	char link[64];

	assert_int_equal(fstat(fd, &file), 0);
	assert_false(limits_align_by_kernel(fd, &told));
	snprintf(link, sizeof(link), "/dev/block/%u:%u", major(file.st_dev), minor(file.st_dev));
	make_link(link, "../../devices/disk");
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct medium medium = {.fd = fd, .direct = true};

		says("logical_block_size", cases[i].says);
		assert_int_equal(limits_learn(&medium, sys), cases[i].error);
		assert_int_equal(medium.logical_block, cases[i].block);
		if (!cases[i].error)
			assert_int_equal(medium.memory_align, cases[i].memory);
	}
	close(fd);
}

TEST(file_can_discard_unless_its_file_system_is_known_not_to)
{
	struct medium medium = {.fd = open_file("file", 0)};

	assert_int_equal(limits_learn(&medium, sys), 0);
	assert_true(medium.can_discard);
	assert_false(medium.discards_by_ioctl);
	assert_false(medium.in_memory);
	assert_int_equal(medium.logical_block, 512);
	medium.read_only = true;
	assert_int_equal(limits_learn(&medium, sys), 0);
	assert_false(medium.can_discard || medium.can_zero);
	close(medium.fd);

	medium = (struct medium){.fd = memfd_create("file", MFD_CLOEXEC)};
	assert_int_equal(limits_learn(&medium, sys), 0);
	assert_true(medium.can_discard && medium.can_zero && medium.in_memory);
	close(medium.fd);
}

TEST(file_without_extents_has_no_cheap_zeroes)
{
	struct medium medium = {.fd = open(unit_path("old"), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
	unsigned flags = 0;
	bool changed;

	assert_true(medium.fd >= 0);
	changed = ioctl(medium.fd, FS_IOC_GETFLAGS, &flags) == 0 && flags & FS_EXTENT_FL;
	flags &= ~(unsigned)FS_EXTENT_FL;
	changed = changed && ioctl(medium.fd, FS_IOC_SETFLAGS, &flags) == 0;
	if (!changed) {
		close(medium.fd);
		UNIT_SKIP("not on ext4");
	}
	assert_int_equal(limits_learn(&medium, sys), 0);
	assert_true(medium.can_discard);
	assert_false(medium.can_zero);
	close(medium.fd);
}

#define LIMITS_TEST(name) RUN_WITH(setup, name, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIMITS_TEST(limit_of_a_disk_is_its_partitions_too),
		LIMITS_TEST(limit_that_nobody_tells_is_unknown_and_not_zero),
		LIMITS_TEST(block_device_discards_by_what_it_has),
		LIMITS_TEST(discard_granularity_is_the_devices_or_no_wish),
		LIMITS_TEST(alignment_is_that_of_the_file_systems_device),
		LIMITS_TEST(alignment_that_is_found_serves_whatever_is_in_the_file),
		LIMITS_TEST(direct_disk_never_offers_less_than_its_device_takes),
		LIMITS_TEST(direct_disk_of_a_file_system_that_tells_nothing_is_as_its_device),
		LIMITS_TEST(file_can_discard_unless_its_file_system_is_known_not_to),
		LIMITS_TEST(file_without_extents_has_no_cheap_zeroes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
