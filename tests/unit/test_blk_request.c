// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/request.c: what each request means, through the whole device, with each engine.
#include "tests/unit/disk.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "applets/blk/blk.h"

#define SECTOR UINT64_C(512)
#define DISK_LEN (SECTORS * SECTOR)

enum { SECTORS = 256, KEPT = 0x5a };

static struct unit_disk disk;
static const char *path;

// ---- one disk on a file of unit_byte's pattern, for each engine

static const char *engine = "sync";

static int use_sync(void **state)
{
	(void)state;
	engine = "sync";
	return 0;
}

static int use_uring(void **state)
{
	(void)state;
	engine = "uring";
	return 0;
}

static void open_file(const char *extra)
{
	if (strcmp(engine, "uring") == 0 && !unit_disk_has_uring())
		UNIT_SKIP("this host does not allow io_uring");
	path = unit_file("disk", DISK_LEN);
	UNIT_DISK_OPEN(&disk, NULL, "--path", path, "--engine", engine, "--serial", "serial-0001",
		       extra);
}

static int teardown(void **state)
{
	(void)state;
	unit_disk_close(&disk);
	return 0;
}

static int request(u32 type, u64 sector, u32 len)
{
	return vm_disk_request(&disk.disk, type, sector, len);
}

static void fill(int byte, size_t len)
{
	memset(disk.disk.slot.data, byte, len);
}

// ---- IN and OUT

TEST(sectors_are_read)
{
	u8 bytes[4096];

	open_file(NULL);
	for (u64 sector = 0; sector < SECTORS; sector += 31) {
		u32 len = (u32)min_u64(sizeof(bytes), (SECTORS - sector) * SECTOR);

		assert_int_equal(vm_disk_read(&disk.disk, sector, bytes, len), VM_BLK_S_OK);
		for (u32 i = 0; i < len; i++)
			assert_int_equal(bytes[i], unit_byte(sector * SECTOR + i));
	}
}

TEST(sectors_are_written_and_nothing_else)
{
	u8 bytes[1024];

	open_file(NULL);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(vm_disk_write(&disk.disk, 10, bytes, 1024), VM_BLK_S_OK);
	unit_expect_pattern(path, 0, 5120);
	unit_expect_zeroes(path, 5120, 1024);
	unit_expect_pattern(path, 6144, DISK_LEN - 6144);
}

TEST(last_sector_can_be_used_and_none_behind_it)
{
	open_file(NULL);
	assert_int_equal(request(VM_BLK_T_IN, SECTORS - 1, 512), VM_BLK_S_OK);
	assert_int_equal(request(VM_BLK_T_IN, SECTORS - 1, 1024), VM_BLK_S_IOERR);
	assert_int_equal(request(VM_BLK_T_IN, SECTORS, 512), VM_BLK_S_IOERR);
	assert_int_equal(request(VM_BLK_T_OUT, SECTORS, 512), VM_BLK_S_IOERR);
	assert_int_equal(request(VM_BLK_T_IN, UINT64_MAX / 512, 512), VM_BLK_S_IOERR);
	assert_int_equal(request(VM_BLK_T_OUT, UINT64_MAX / 512 + 1, 512), VM_BLK_S_IOERR);
	assert_int_equal(request(VM_BLK_T_OUT, UINT64_MAX, 512), VM_BLK_S_IOERR);
	assert_int_equal(request(VM_BLK_T_OUT, BIT64(55), 512), VM_BLK_S_IOERR); // wraps to 0
	unit_expect_pattern(path, 0, DISK_LEN);
}

TEST(transfer_of_no_whole_sectors_fails_and_writes_nothing)
{
	const u32 lens[] = {1, 511, 513, 1000};

	open_file(NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		assert_int_equal(request(VM_BLK_T_IN, 0, lens[i]), VM_BLK_S_IOERR);
		assert_int_equal(request(VM_BLK_T_OUT, 0, lens[i]), VM_BLK_S_IOERR);
	}
	unit_expect_pattern(path, 0, DISK_LEN);
}

TEST(transfer_of_nothing_succeeds)
{
	open_file(NULL);
	assert_int_equal(request(VM_BLK_T_IN, 0, 0), VM_BLK_S_OK);
	assert_int_equal(request(VM_BLK_T_OUT, 0, 0), VM_BLK_S_OK);
}

TEST(larger_blocks_are_kept_to)
{
	path = unit_file("disk", DISK_LEN);
	UNIT_DISK_OPEN(&disk, NULL, "--path", path, "--engine", engine, "--block-size", "4096");
	assert_int_equal(request(VM_BLK_T_IN, 0, 4096), VM_BLK_S_OK);
	assert_int_equal(request(VM_BLK_T_IN, 8, 4096), VM_BLK_S_OK);
	assert_int_equal(request(VM_BLK_T_IN, 0, 512), VM_BLK_S_IOERR);
	assert_int_equal(request(VM_BLK_T_OUT, 1, 4096), VM_BLK_S_IOERR);
	unit_expect_pattern(path, 0, DISK_LEN);
}

TEST(read_only_disk_is_read_and_never_changed)
{
	open_file("--read-only");
	assert_int_equal(request(VM_BLK_T_IN, 0, 512), VM_BLK_S_OK);
	assert_int_equal(request(VM_BLK_T_OUT, 0, 512), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_discard(&disk.disk, 0, 8), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_write_zeroes(&disk.disk, 0, 8, 0), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
	unit_expect_pattern(path, 0, DISK_LEN);
}

TEST(null_disk_answers_and_moves_nothing)
{
	UNIT_DISK_OPEN(&disk, NULL, "--path", "null:1M");
	fill(KEPT, 4096);
	assert_int_equal(request(VM_BLK_T_IN, 0, 4096), VM_BLK_S_OK);
	assert_int_equal(disk.disk.slot.data[100], KEPT);
	assert_int_equal(request(VM_BLK_T_OUT, 0, 4096), VM_BLK_S_OK);
	assert_int_equal(request(VM_BLK_T_IN, 2048, 512), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
	assert_int_equal(vm_disk_discard(&disk.disk, 0, 8), VM_BLK_S_OK);
	assert_int_equal(vm_disk_write_zeroes(&disk.disk, 0, 8, 0), VM_BLK_S_OK);
}

// ---- the rest of the requests

TEST(flush_succeeds_whatever_comes_with_it)
{
	open_file(NULL);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
	assert_int_equal(request(VM_BLK_T_FLUSH, 77, 0), VM_BLK_S_OK);
	assert_int_equal(request(VM_BLK_T_FLUSH, 0, 512), VM_BLK_S_OK);
}

TEST(serial_is_told_cut_to_the_room_there_is)
{
	const char wanted[20] = "serial-0001";
	char id[VM_BLK_ID_BYTES + 1];

	open_file(NULL);
	assert_int_equal(vm_disk_get_id(&disk.disk, id), VM_BLK_S_OK);
	assert_memory_equal(id, wanted, 20);
	for (u32 len = 0; len <= 30; len++) {
		fill(KEPT, 32);
		assert_int_equal(request(VM_BLK_T_GET_ID, 0, len), VM_BLK_S_OK);
		assert_memory_equal(disk.disk.slot.data, wanted, min_size(len, 20));
		assert_int_equal(disk.disk.slot.data[min_size(len, 20)], KEPT);
	}
}

TEST(unknown_requests_are_unsupported)
{
	const u32 types[] = {2, 3, 5, 6, 10, 12, 14, 15, 16, 24, 0x7fffffff, BIT64(31) | 1};

	open_file(NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(request(types[i], 0, 512), VM_BLK_S_UNSUPP);
		assert_int_equal(request(types[i], 0, 0), VM_BLK_S_UNSUPP);
	}
	unit_expect_pattern(path, 0, DISK_LEN);
}

// ---- DISCARD and WRITE_ZEROES

// A request with these ranges, each a sector and a count.
static int ranges_request(u32 type, const u64 (*ranges)[2], unsigned count, u32 flags)
{
	struct vm_blk_range *data = (struct vm_blk_range *)(void *)disk.disk.slot.data;

	for (unsigned i = 0; i < count; i++)
		data[i] = (struct vm_blk_range){.sector = htole64(ranges[i][0]),
						.sectors = htole32((u32)ranges[i][1]),
						.flags = htole32(flags)};
	return request(type, 0, count * (u32)sizeof(*data));
}

TEST(zeroes_are_written_to_every_range_and_nowhere_else)
{
	const u64 ranges[][2] = {{1, 3}, {16, 16}, {100, 0}, {255, 1}};

	open_file(NULL);
	if (unit_disk_config(&disk).max_write_zeroes_seg < 4)
		UNIT_SKIP("this file system cannot allocate zeroes");
	assert_int_equal(ranges_request(VM_BLK_T_WRITE_ZEROES, ranges, 4, 0), VM_BLK_S_OK);
	unit_expect_pattern(path, 0, 512);
	unit_expect_zeroes(path, 512, 3 * SECTOR);
	unit_expect_pattern(path, 4 * SECTOR, 12 * SECTOR);
	unit_expect_zeroes(path, 16 * SECTOR, 16 * SECTOR);
	unit_expect_pattern(path, 32 * SECTOR, 223 * SECTOR);
	unit_expect_zeroes(path, 255 * SECTOR, 512);
}

// That many sectors, but for what the file system needs to note that there is a hole.
static void expect_given_back(const struct stat *before, const struct stat *after, u64 sectors)
{
	assert_in_range(before->st_blocks - after->st_blocks, sectors - 16, sectors);
}

TEST(zeroes_may_be_made_by_deallocating_only_if_the_driver_says_so)
{
	struct stat full, zeroed, unmapped;

	open_file(NULL);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
	assert_int_equal(stat(path, &full), 0);
	assert_int_equal(vm_disk_write_zeroes(&disk.disk, 0, 64, 0), VM_BLK_S_OK);
	assert_int_equal(stat(path, &zeroed), 0);
	assert_true(zeroed.st_blocks >= full.st_blocks);
	assert_int_equal(vm_disk_write_zeroes(&disk.disk, 64, 64, VM_BLK_UNMAP), VM_BLK_S_OK);
	assert_int_equal(stat(path, &unmapped), 0);
	expect_given_back(&zeroed, &unmapped, 64);
	unit_expect_zeroes(path, 0, 128 * SECTOR);
	unit_expect_pattern(path, 128 * SECTOR, 128 * SECTOR);
}

TEST(discarded_sectors_give_back_their_space)
{
	const u64 ranges[][2] = {{0, 64}, {128, 64}};
	struct stat before, after;

	open_file(NULL);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(ranges_request(VM_BLK_T_DISCARD, ranges, 2, 0), VM_BLK_S_OK);
	assert_int_equal(stat(path, &after), 0);
	expect_given_back(&before, &after, 128);
	assert_int_equal(after.st_size, DISK_LEN);
	unit_expect_pattern(path, 64 * SECTOR, 64 * SECTOR);
	unit_expect_pattern(path, 192 * SECTOR, 64 * SECTOR);
}

TEST(ignored_discard_is_unsupported)
{
	open_file("--discard=ignore");
	assert_int_equal(vm_disk_discard(&disk.disk, 0, 8), VM_BLK_S_UNSUPP);
	unit_expect_pattern(path, 0, DISK_LEN);
}

TEST(ranges_beyond_the_disk_fail)
{
	const u64 bad[][2] = {{SECTORS, 1},    {SECTORS - 1, 2}, {0, SECTORS + 1},
			      {UINT64_MAX, 1}, {BIT64(55), 1},	 {UINT64_MAX / 512, 1},
			      {0, UINT32_MAX}, {0, 0x00800000}};

	open_file(NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(ranges_request(VM_BLK_T_DISCARD, &bad[i], 1, 0), VM_BLK_S_IOERR);
		assert_int_equal(ranges_request(VM_BLK_T_WRITE_ZEROES, &bad[i], 1, 0),
				 VM_BLK_S_IOERR);
	}
	unit_expect_pattern(path, 0, DISK_LEN);
}

TEST(unknown_range_flags_are_unsupported)
{
	open_file(NULL);
	assert_int_equal(ranges_request(VM_BLK_T_DISCARD, (const u64[1][2]){{0, 8}}, 1, 1),
			 VM_BLK_S_UNSUPP); // "unmap" belongs to WRITE_ZEROES alone
	for (u32 flags = 2; flags; flags <<= 1) {
		const u64 range[1][2] = {{0, 8}};

		assert_int_equal(ranges_request(VM_BLK_T_DISCARD, range, 1, flags),
				 VM_BLK_S_UNSUPP);
		assert_int_equal(ranges_request(VM_BLK_T_WRITE_ZEROES, range, 1, flags),
				 VM_BLK_S_UNSUPP);
	}
	unit_expect_pattern(path, 0, DISK_LEN);
}

TEST(range_payload_that_is_no_list_of_ranges_fails)
{
	const u32 lens[] = {0, 8, 15, 24, 16 * (BLK_MAX_RANGES + 1)};

	open_file(NULL);
	memset(disk.disk.slot.data, 0, 4096);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		assert_int_equal(request(VM_BLK_T_DISCARD, 0, lens[i]), VM_BLK_S_IOERR);
		assert_int_equal(request(VM_BLK_T_WRITE_ZEROES, 0, lens[i]), VM_BLK_S_IOERR);
	}
	assert_int_equal(request(VM_BLK_T_DISCARD, 0, 16 * BLK_MAX_RANGES), VM_BLK_S_OK);
}

// What the configuration tells of segments, in sectors and in number, is what is taken.
TEST(ranges_beyond_the_limits_fail_and_change_nothing)
{
	const u64 long_range[][2] = {{0, 9}}, ranges[][2] = {{0, 8}, {64, 8}, {128, 8}};

	open_file(NULL);
	blk_of(disk.device)->max_discard_sectors = 8;
	blk_of(disk.device)->max_zeroes_len = 8 * SECTOR;
	blk_of(disk.device)->max_zeroes_segments = 2;
	assert_int_equal(ranges_request(VM_BLK_T_DISCARD, long_range, 1, 0), VM_BLK_S_IOERR);
	assert_int_equal(ranges_request(VM_BLK_T_WRITE_ZEROES, long_range, 1, 0), VM_BLK_S_IOERR);
	assert_int_equal(ranges_request(VM_BLK_T_WRITE_ZEROES, ranges, 3, 0), VM_BLK_S_IOERR);
	unit_expect_pattern(path, 0, DISK_LEN);
	assert_int_equal(ranges_request(VM_BLK_T_DISCARD, ranges, 1, 0), VM_BLK_S_OK);
	assert_int_equal(ranges_request(VM_BLK_T_WRITE_ZEROES, ranges, 2, 0), VM_BLK_S_OK);
	unit_expect_zeroes(path, 0, 8 * SECTOR);
	unit_expect_zeroes(path, 64 * SECTOR, 8 * SECTOR);
	unit_expect_pattern(path, 72 * SECTOR, DISK_LEN - 72 * SECTOR);
}

// ---- chains of unusual shape

static u64 header_of(u32 type, u64 sector)
{
	*disk.disk.slot.header =
		(struct vm_blk_header){.type = htole32(type), .sector = htole64(sector)};
	*disk.disk.slot.status = VM_BLK_NO_STATUS;
	return disk.disk.slot.header_addr;
}

TEST(header_may_be_split_anywhere_or_share_a_buffer_with_data)
{
	const struct vm_blk_slot *slot = &disk.disk.slot;

	open_file(NULL);
	for (u32 first = 1; first < 16; first++) {
		u64 header = header_of(VM_BLK_T_IN, 3);
		const struct vm_buffer buffers[] = {
			{.addr = header, .len = first},
			{.addr = header + first, .len = 16 - first},
			{.addr = slot->data_addr, .len = 100, .write = true},
			{.addr = slot->data_addr + 100, .len = 412, .write = true},
			{.addr = slot->status_addr, .len = 1, .write = true}};

		assert_int_equal(unit_disk_chain(&disk, buffers, ARRAY_SIZE(buffers)), 513);
		assert_int_equal(*slot->status, VM_BLK_S_OK);
		for (u32 i = 0; i < 512; i++)
			assert_int_equal(slot->data[i], unit_byte(1536 + i));
	}
}

TEST(header_and_data_may_share_one_buffer)
{
	const struct vm_blk_slot *slot = &disk.disk.slot;
	struct vm_buffer buffers[2];

	open_file(NULL);
	header_of(VM_BLK_T_OUT, 5);
	memcpy(slot->data, slot->header, 16);
	memset(slot->data + 16, 0, 512);
	buffers[0] = (struct vm_buffer){.addr = slot->data_addr, .len = 16 + 512};
	buffers[1] = (struct vm_buffer){.addr = slot->status_addr, .len = 1, .write = true};
	assert_int_equal(unit_disk_chain(&disk, buffers, 2), 1);
	assert_int_equal(*slot->status, VM_BLK_S_OK);
	unit_expect_zeroes(path, 5 * SECTOR, 512);
	unit_expect_pattern(path, 6 * SECTOR, 512);
}

TEST(status_is_the_last_writable_byte_wherever_it_lies)
{
	const struct vm_blk_slot *slot = &disk.disk.slot;
	struct vm_buffer buffers[2];

	open_file(NULL);
	fill(KEPT, 1024);
	buffers[0] = (struct vm_buffer){.addr = header_of(VM_BLK_T_IN, 0), .len = 16};
	buffers[1] = (struct vm_buffer){.addr = slot->data_addr, .len = 513, .write = true};
	assert_int_equal(unit_disk_chain(&disk, buffers, 2), 513);
	assert_int_equal(slot->data[512], VM_BLK_S_OK);
	assert_int_equal(slot->data[511], unit_byte(511));
	assert_int_equal(slot->data[513], KEPT);
}

TEST(chain_that_is_no_request_is_given_back_with_nothing_written)
{
	const struct vm_blk_slot *slot = &disk.disk.slot;
	struct vm_buffer buffers[2];

	open_file(NULL);
	buffers[0] = (struct vm_buffer){.addr = header_of(VM_BLK_T_IN, 0), .len = 15};
	buffers[1] = (struct vm_buffer){.addr = slot->status_addr, .len = 1, .write = true};
	assert_int_equal(unit_disk_chain(&disk, buffers, 2), 0);     // a short header
	assert_int_equal(unit_disk_chain(&disk, buffers + 1, 1), 0); // none
	buffers[0].len = 16;
	assert_int_equal(unit_disk_chain(&disk, buffers, 1), 0); // no room for the status
	assert_int_equal(*slot->status, VM_BLK_NO_STATUS);
	assert_int_equal(request(VM_BLK_T_IN, 0, 512), VM_BLK_S_OK);
}

#define BLK_TEST(name) RUN_WITH(use_sync, name, teardown), RUN_WITH(use_uring, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BLK_TEST(sectors_are_read),
		BLK_TEST(sectors_are_written_and_nothing_else),
		BLK_TEST(last_sector_can_be_used_and_none_behind_it),
		BLK_TEST(transfer_of_no_whole_sectors_fails_and_writes_nothing),
		BLK_TEST(transfer_of_nothing_succeeds),
		RUN_WITH(use_sync, larger_blocks_are_kept_to, teardown),
		BLK_TEST(read_only_disk_is_read_and_never_changed),
		RUN_WITH(use_sync, null_disk_answers_and_moves_nothing, teardown),
		BLK_TEST(flush_succeeds_whatever_comes_with_it),
		BLK_TEST(serial_is_told_cut_to_the_room_there_is),
		BLK_TEST(unknown_requests_are_unsupported),
		BLK_TEST(zeroes_are_written_to_every_range_and_nowhere_else),
		BLK_TEST(zeroes_may_be_made_by_deallocating_only_if_the_driver_says_so),
		BLK_TEST(discarded_sectors_give_back_their_space),
		BLK_TEST(ignored_discard_is_unsupported),
		BLK_TEST(ranges_beyond_the_disk_fail),
		BLK_TEST(unknown_range_flags_are_unsupported),
		BLK_TEST(range_payload_that_is_no_list_of_ranges_fails),
		BLK_TEST(ranges_beyond_the_limits_fail_and_change_nothing),
		BLK_TEST(header_may_be_split_anywhere_or_share_a_buffer_with_data),
		BLK_TEST(header_and_data_may_share_one_buffer),
		BLK_TEST(status_is_the_last_writable_byte_wherever_it_lies),
		BLK_TEST(chain_that_is_no_request_is_given_back_with_nothing_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
