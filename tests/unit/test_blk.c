// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/blk.c and geometry.c: options, features and configuration.
#include "tests/unit/disk.h"

#include <string.h>
#include <sys/eventfd.h>

#include "applets/blk/blk.h"

static struct unit_disk disk;

static int teardown(void **state)
{
	(void)state;
	unit_disk_close(&disk);
	return 0;
}

#define TRY(...) unit_disk_try(&disk, (const char *const[]){__VA_ARGS__, NULL})
#define OPEN(...) assert_int_equal(TRY(__VA_ARGS__), 0)

// The device is not opened, and what was tried is given back.
#define REFUSED(error, ...) \
	do { \
		assert_int_equal(TRY(__VA_ARGS__), error); \
		unit_disk_close(&disk); \
	} while (0)

static const struct blk *blk(void)
{
	return blk_of_const(disk.device);
}

static bool offers(unsigned bit)
{
	return disk.device->ops->features(disk.device) & BIT64(bit);
}

static void negotiate(u64 features)
{
	disk.device->ops->negotiated(disk.device, features);
}

static int write_config(size_t offset, u8 value)
{
	return disk.device->ops->config_write(disk.device, offset, &value, 1);
}

TEST(disk_is_required)
{
	REFUSED(-EINVAL, "--serial", "x");
	REFUSED(-ENOENT, "--path", "build/there/is/none");
}

TEST(bad_combinations_are_refused)
{
	REFUSED(-EINVAL, "--path", "memory:1M", "--queue-size", "100");
	REFUSED(-EINVAL, "--path", "memory:1M", "--block-size", "1000");
	REFUSED(-EINVAL, "--path", "memory:1M", "--serial", "123456789012345678901");
	REFUSED(-EINVAL, "--path", "memory:1Q");
	REFUSED(-EINVAL, "--path", "memory:1M", "--lock=off", "--lock-handover");
}

TEST(serial_may_be_as_long_as_its_field)
{
	OPEN("--path", "memory:1M", "--serial", "12345678901234567890");
}

TEST(workers_tell_how_many_files_they_open)
{
	const char *path = unit_file("disk", 4096);

	OPEN("--path", path, "--engine=sync", "--on-enospc=stop");
	assert_int_equal(blk()->device.worker_fds, 1);
	unit_disk_close(&disk);
	OPEN("--path", path);
	assert_int_equal(blk()->device.worker_fds, blk_engine_uring.worker_fds);
	unit_disk_close(&disk);
	OPEN("--path", path, "--on-enospc=stop");
	assert_int_equal(blk()->device.worker_fds, blk_engine_uring.worker_fds + 1);
}

TEST(engine_without_effect_is_told_and_no_other)
{
	const char *const engines[] = {"auto", "sync", "uring"};

	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++) {
		unit_capture(STDERR_FILENO);
		OPEN("--path", "null:1M", "--engine", engines[i]);
		assert_int_equal(!!strstr(unit_captured(), "--engine uring has no effect"), i == 2);
		unit_disk_close(&disk);
	}
	unit_capture(STDERR_FILENO);
	OPEN("--path", unit_file("disk", 4096), "--engine=uring");
	assert_null(strstr(unit_captured(), "no effect"));
}

TEST(writable_disk_offers_what_it_can)
{
	OPEN("--path", "memory:1M");
	assert_true(offers(VIRTIO_BLK_F_FLUSH) && offers(VIRTIO_BLK_F_CONFIG_WCE));
	assert_true(offers(VIRTIO_BLK_F_SEG_MAX) && offers(VIRTIO_BLK_F_BLK_SIZE));
	assert_true(offers(VIRTIO_BLK_F_TOPOLOGY) && offers(VIRTIO_BLK_F_MQ));
	assert_true(offers(VIRTIO_BLK_F_DISCARD) && offers(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_false(offers(VIRTIO_BLK_F_RO));
}

TEST(read_only_disk_offers_no_way_to_write)
{
	OPEN("--path", "memory:1M", "--read-only");
	assert_true(offers(VIRTIO_BLK_F_RO));
	assert_false(offers(VIRTIO_BLK_F_DISCARD) || offers(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(unit_disk_config(&disk).max_discard_sectors, 0);
	assert_int_equal(unit_disk_config(&disk).max_write_zeroes_sectors, 0);
}

// 5.2.3 "Feature bits": LIFETIME, SECURE_ERASE and ZONED
TEST(what_neither_files_nor_memory_have_is_never_offered)
{
	OPEN("--path", unit_file("plain", 4096));
	assert_false(offers(15) || offers(16) || offers(17));
	unit_disk_close(&disk);
	OPEN("--path", "memory:1M");
	assert_false(offers(15) || offers(16) || offers(17));
}

TEST(ignored_discard_is_not_offered)
{
	OPEN("--path", "memory:1M", "--discard=ignore");
	assert_false(offers(VIRTIO_BLK_F_DISCARD));
	assert_true(offers(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(unit_disk_config(&disk).max_discard_sectors, 0);
	assert_int_equal(unit_disk_config(&disk).write_zeroes_may_unmap, 0);
}

TEST(queues_are_as_many_and_as_long_as_asked)
{
	OPEN("--path", "memory:1M", "--num-queues", "1", "--queue-size", "64");
	assert_int_equal(disk.device->ops->queue_count(disk.device), 1);
	assert_int_equal(disk.device->ops->queue_size(disk.device), 64);
	assert_false(offers(VIRTIO_BLK_F_MQ));
	assert_int_equal(unit_disk_config(&disk).num_queues, 1);
	assert_int_equal(unit_disk_config(&disk).seg_max, 62);
	unit_disk_close(&disk);
	OPEN("--path", "memory:1M");
	assert_in_range(disk.device->ops->queue_count(disk.device), 16, DEVICE_MAX_QUEUES);
	assert_int_equal(disk.device->ops->queue_size(disk.device), 1024);
	assert_int_equal(unit_disk_config(&disk).seg_max, 126);
}

TEST(capacity_counts_whole_blocks_alone)
{
	const char *path = unit_file("odd", 10000);

	OPEN("--path", path);
	assert_int_equal(unit_disk_config(&disk).capacity, 19); // of 512 bytes
	unit_disk_close(&disk);
	OPEN("--path", path, "--block-size", "4096");
	assert_int_equal(unit_disk_config(&disk).capacity, 16);
	assert_int_equal(unit_disk_config(&disk).blk_size, 4096);
}

TEST(what_is_not_served_is_told)
{
	static const struct {
		u64 len;
		const char *block_size, *said;
	} cases[] = {
		{10000, "512", "last 272 of the disk's 10000 bytes are not served"},
		{10240, "4096", "last 2048 of the disk's 10240 bytes are not served"},
		{100, "512", "last 100 of the disk's 100 bytes are not served"},
		{0, "512", "the disk is empty"},
		{8192, "4096", NULL},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *path = unit_file("odd", cases[i].len), *said;

		unit_capture(STDERR_FILENO);
		OPEN("--path", path, "--block-size", cases[i].block_size);
		said = unit_captured();
		if (cases[i].said ? !strstr(said, cases[i].said) : !!strstr(said, "warning"))
			fail_msg("case %u: %s", i, said);
		unit_disk_close(&disk);
	}
}

// 5.2.4: the longest discard is whole units of its alignment, and one that a worker waits for is not too long.
TEST(discard_limits_are_the_mediums)
{
	struct vm_blk_config config;

	OPEN("--path", "memory:1M");
	for (unsigned i = 0; i < 3; i++) {
		struct blk *mine = blk_of(disk.device);

		mine->medium.discard_granularity = (const u32[]){0, 3 << 20, 1 << 30}[i];
		mine->medium.discards_by_ioctl = true;
		assert_int_equal(blk_set_geometry(mine, 4096, true), 0);
		config = unit_disk_config(&disk);
		assert_int_equal(config.discard_sector_alignment,
				 ((const u32[]){4096, 3 << 20, 1 << 30})[i] / 512);
		assert_int_equal(config.max_discard_sectors,
				 ((const u32[]){256 << 20, 255 << 20, 1 << 30})[i] / 512);
	}
}

TEST(configuration_is_honest_about_a_file)
{
	struct vm_blk_config config;

	OPEN("--path", unit_file("disk", 1 << 20));
	config = unit_disk_config(&disk);
	assert_int_equal(config.capacity, 2048);
	assert_int_equal(config.blk_size, 512);
	assert_int_equal(config.blk_size << config.physical_block_exp,
			 blk()->medium.physical_block);
	assert_int_equal(config.writeback, 1);
	assert_int_equal(config.discard_sector_alignment, blk()->medium.discard_granularity / 512);
	assert_int_equal(config.max_discard_sectors % config.discard_sector_alignment, 0);
	assert_int_equal(config.max_discard_seg, BLK_MAX_RANGES);
	assert_true(config.max_write_zeroes_sectors > 0);
	assert_true(config.max_write_zeroes_seg > 0);
}

// VIRTIO 1.3, 5.2.6.2: without FLUSH, or with the cache off, a write is durable when it is answered.
TEST(writes_are_durable_at_once_exactly_when_they_must_be)
{
	OPEN("--path", "memory:1M");
	negotiate(0);
	assert_true(blk()->sync_writes);
	negotiate(BIT64(VIRTIO_BLK_F_FLUSH));
	assert_false(blk()->sync_writes);
	unit_disk_close(&disk);
	OPEN("--path", "memory:1M", "--cache=writethrough");
	negotiate(BIT64(VIRTIO_BLK_F_FLUSH));
	assert_true(blk()->sync_writes);
	assert_int_equal(unit_disk_config(&disk).writeback, 0);
}

TEST(driver_turns_the_write_cache_off_and_on)
{
	const size_t writeback = offsetof(struct vm_blk_config, writeback);

	OPEN("--path", "memory:1M");
	negotiate(BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_CONFIG_WCE));
	assert_int_equal(write_config(writeback, 0), 0);
	assert_true(blk()->sync_writes);
	assert_int_equal(unit_disk_config(&disk).writeback, 0);
	assert_int_equal(write_config(writeback, 1), 0);
	assert_false(blk()->sync_writes);
	assert_int_equal(unit_disk_config(&disk).writeback, 1);
}

TEST(driver_can_write_no_other_field)
{
	OPEN("--path", "memory:1M");
	for (size_t i = 0; i < 60; i++)
		if (i != offsetof(struct vm_blk_config, writeback))
			assert_int_equal(write_config(i, 0), -EINVAL);
	assert_int_equal(disk.device->ops->config_write(disk.device, 32, (const u8[2]){0}, 2),
			 -EINVAL);
	assert_int_equal(unit_disk_config(&disk).writeback, 1);
}

// VIRTIO 1.3, 5.2.5.2: "writeback" is 0 if CONFIG_WCE is negotiated and FLUSH is not.
TEST(cache_without_a_way_to_flush_it_is_shown_as_none)
{
	OPEN("--path", "memory:1M");
	negotiate(BIT64(VIRTIO_BLK_F_CONFIG_WCE));
	assert_int_equal(unit_disk_config(&disk).writeback, 0);
	negotiate(BIT64(VIRTIO_BLK_F_FLUSH));
	assert_int_equal(unit_disk_config(&disk).writeback, 1);
}

TEST(reset_never_turns_the_write_cache_on)
{
	const size_t writeback = offsetof(struct vm_blk_config, writeback);

	OPEN("--path", "memory:1M", "--cache=writethrough");
	negotiate(BIT64(VIRTIO_BLK_F_FLUSH));
	assert_int_equal(write_config(writeback, 1), 0);
	disk.device->ops->reset(disk.device);
	assert_true(blk()->sync_writes);
	assert_int_equal(unit_disk_config(&disk).writeback, 0);
}

TEST(engine_suits_the_medium)
{
	const char *path = unit_file("disk", 4096);

	OPEN("--path", "memory:1M");
	assert_string_equal(blk()->engine->name, "sync");
	unit_disk_close(&disk);
	OPEN("--path", "null:1M", "--engine=uring"); // nothing to be done
	assert_string_equal(blk()->engine->name, "sync");
	unit_disk_close(&disk);
	OPEN("--path", path, "--engine=sync");
	assert_string_equal(blk()->engine->name, "sync");
	unit_disk_close(&disk);
	OPEN("--path", path);
	assert_string_equal(blk()->engine->name, "uring");
	assert_false(blk()->engine_required);
	unit_disk_close(&disk);
	OPEN("--path", "memory:1M", "--engine=uring");
	assert_string_equal(blk()->engine->name, "uring");
	assert_true(blk()->engine_required);
}

static int load(u8 byte, size_t len)
{
	const u8 state[] = {byte, 0};

	return disk.device->ops->load(disk.device, state, len);
}

TEST(write_cache_moves_to_another_process)
{
	u8 saved[DEVICE_MAX_CONFIG];

	OPEN("--path", "memory:1M");
	assert_int_equal(disk.device->ops->save(disk.device, saved, sizeof(saved)), 1);
	assert_int_equal(saved[0], 1);
	negotiate(BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_CONFIG_WCE));
	assert_int_equal(load(0, 1), 0);
	assert_int_equal(unit_disk_config(&disk).writeback, 0);
	assert_true(blk()->sync_writes);
	assert_int_equal(load(2, 1), -EINVAL);
	assert_int_equal(load(1, 0), -EINVAL);
	assert_int_equal(load(1, 2), -EINVAL);
	assert_int_equal(unit_disk_config(&disk).writeback, 0);
	assert_int_equal(disk.device->ops->save(disk.device, saved, sizeof(saved)), 1);
	assert_int_equal(saved[0], 0);
	assert_int_equal(load(1, 1), 0);
	assert_false(blk()->sync_writes);
}

static u64 capacity_after(const char *path, off_t len)
{
	assert_int_equal(truncate(path, len), 0);
	disk.device->ops->refresh(disk.device);
	return unit_disk_config(&disk).capacity;
}

TEST(refresh_finds_a_disk_that_has_grown_or_shrunk_and_says_so)
{
	const char *path = unit_file("disk", 1 << 20);

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(truncate(path, 1 << 20), 0);
		if (i == 0)
			OPEN("--path", path, "--block-size", "4096");
		else
			OPEN("--path", path, "--block-size", "4096", "--read-only",
			     "--engine=sync");
		disk.device->config_event_fd = eventfd(0, EFD_CLOEXEC);
		assert_int_equal(capacity_after(path, 1 << 20), 2048);
		assert_false(unit_is_readable(disk.device->config_event_fd));
		assert_int_equal(capacity_after(path, (3 << 20) + 5000), (3 << 11) + 8);
		assert_true(unit_is_readable(disk.device->config_event_fd));
		assert_int_equal(capacity_after(path, 10000), 16);
		assert_int_equal(capacity_after(path, 100), 0);
		assert_int_equal(capacity_after(path, 1 << 20), 2048);
		close_fd(&disk.device->config_event_fd);
		unit_disk_close(&disk);
	}
}

TEST(refresh_leaves_a_disk_without_a_file_alone)
{
	OPEN("--path", "memory:1M");
	disk.device->ops->refresh(disk.device);
	assert_int_equal(unit_disk_config(&disk).capacity, 2048);
	unit_disk_close(&disk);
	OPEN("--path", "null:1M");
	disk.device->ops->refresh(disk.device);
	assert_int_equal(unit_disk_config(&disk).capacity, 2048);
	assert_int_equal(disk.device->ops->activate(disk.device), 0);
	disk.device->ops->deactivate(disk.device);
}

TEST(lock_is_held_from_open_to_close_unless_it_is_handed_over)
{
	const char *path = unit_file("disk", 4096);
	struct unit_disk other;

	OPEN("--path", path);
	assert_int_equal(disk.device->ops->activate(disk.device), 0);
	disk.device->ops->deactivate(disk.device);
	assert_int_equal(unit_disk_try(&other, (const char *const[]){"--path", path,
								     "--lock-handover", NULL}),
			 0);
	assert_int_equal(other.device->ops->activate(other.device), -EAGAIN);
	unit_disk_close(&disk);
	assert_int_equal(other.device->ops->activate(other.device), 0);
	REFUSED(-EBUSY, "--path", path);
	other.device->ops->deactivate(other.device);
	OPEN("--path", path);
	unit_disk_close(&other);
}

TEST(wait_for_the_lock_is_told_once)
{
	const char *path = unit_file("disk", 4096), *said;
	struct unit_disk other;

	OPEN("--path", path, "--lock-handover");
	assert_int_equal(unit_disk_try(&other, (const char *const[]){"--path", path,
								     "--lock-handover", NULL}),
			 0);
	assert_int_equal(disk.device->ops->activate(disk.device), 0);
	unit_capture(STDERR_FILENO);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(other.device->ops->activate(other.device), -EAGAIN);
	said = strstr(unit_captured(), "waits for the lock of the disk: another process has it");
	assert_non_null(said);
	assert_null(strstr(said + 1, "waits for the lock"));
	disk.device->ops->deactivate(disk.device);
	unit_capture(STDERR_FILENO);
	assert_int_equal(other.device->ops->activate(other.device), 0);
	assert_int_equal(other.device->ops->activate(other.device), 0);
	said = strstr(unit_captured(), "has the lock of the disk now");
	assert_non_null(said);
	assert_null(strstr(said + 1, "has the lock"));
	unit_disk_close(&other);
}

#define BLK_TEST(name) RUN_WITH(NULL, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BLK_TEST(disk_is_required),
		BLK_TEST(bad_combinations_are_refused),
		BLK_TEST(serial_may_be_as_long_as_its_field),
		BLK_TEST(workers_tell_how_many_files_they_open),
		BLK_TEST(engine_without_effect_is_told_and_no_other),
		BLK_TEST(writable_disk_offers_what_it_can),
		BLK_TEST(read_only_disk_offers_no_way_to_write),
		BLK_TEST(what_neither_files_nor_memory_have_is_never_offered),
		BLK_TEST(ignored_discard_is_not_offered),
		BLK_TEST(queues_are_as_many_and_as_long_as_asked),
		BLK_TEST(capacity_counts_whole_blocks_alone),
		BLK_TEST(what_is_not_served_is_told),
		BLK_TEST(discard_limits_are_the_mediums),
		BLK_TEST(configuration_is_honest_about_a_file),
		BLK_TEST(writes_are_durable_at_once_exactly_when_they_must_be),
		BLK_TEST(driver_turns_the_write_cache_off_and_on),
		BLK_TEST(driver_can_write_no_other_field),
		BLK_TEST(cache_without_a_way_to_flush_it_is_shown_as_none),
		BLK_TEST(reset_never_turns_the_write_cache_on),
		BLK_TEST(engine_suits_the_medium),
		BLK_TEST(write_cache_moves_to_another_process),
		BLK_TEST(refresh_finds_a_disk_that_has_grown_or_shrunk_and_says_so),
		BLK_TEST(refresh_leaves_a_disk_without_a_file_alone),
		BLK_TEST(lock_is_held_from_open_to_close_unless_it_is_handed_over),
		BLK_TEST(wait_for_the_lock_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
