// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/transfer.c and core/chain.c together: requests of more segments than one system call takes.
#include "tests/unit/disk.h"

#include <endian.h>
#include <limits.h>
#include <string.h>

#include "core/chain.h"

#define SECTOR UINT64_C(512)

enum {
	SECTORS = 2048,
	QUEUE = 2048,
	AROUND = 2
}; // a chain is its data and these two: header, status

static_assert(CHAIN_MAX_SEGMENTS > IOV_MAX + AROUND, "else there is nothing to try");

static struct unit_disk disk;
static const char *path;
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

static int teardown(void **state)
{
	(void)state;
	unit_disk_close(&disk);
	return 0;
}

static void open_disk(const char *extra)
{
	const struct vm_options options = {.memory_size = 16 << 20, .queue_size = QUEUE};

	if (strcmp(engine, "uring") == 0 && !unit_disk_has_uring())
		UNIT_SKIP("this host does not allow io_uring");
	path = unit_file("segments", SECTORS * SECTOR);
	UNIT_DISK_OPEN(&disk, &options, "--path", path, "--engine", engine, "--queue-size", "2048",
		       extra);
	vm_blk_slot_init(&disk.disk.slot, &disk.vm.memory, SECTORS * SECTOR);
}

// A request of `count` sectors, each a segment of its own, the first one last in memory. Its status.
static int move(u32 type, unsigned count)
{
	static struct vm_buffer buffers[CHAIN_MAX_SEGMENTS + AROUND];
	const struct vm_blk_slot *slot = &disk.disk.slot;

	*slot->header = (struct vm_blk_header){.type = htole32(type), .sector = htole64(1)};
	*slot->status = VM_BLK_NO_STATUS;
	buffers[0] = (struct vm_buffer){.addr = slot->header_addr, .len = 16};
	for (unsigned i = 0; i < count; i++)
		buffers[i + 1] =
			(struct vm_buffer){.addr = slot->data_addr + (count - 1 - i) * SECTOR,
					   .len = SECTOR,
					   .write = type == VM_BLK_T_IN};
	buffers[count + 1] = (struct vm_buffer){.addr = slot->status_addr, .len = 1, .write = true};
	assert_true(unit_disk_chain(&disk, buffers, count + AROUND) >= 0);
	return *slot->status;
}

static u8 *sector_of(unsigned index, unsigned count)
{
	return disk.disk.slot.data + (count - 1 - index) * SECTOR;
}

static void expect_moved(unsigned count)
{
	memset(disk.disk.slot.data, 0, count * SECTOR);
	assert_int_equal(move(VM_BLK_T_IN, count), VM_BLK_S_OK);
	for (unsigned i = 0; i < count; i++)
		for (u64 at = 0; at < SECTOR; at++)
			assert_int_equal(sector_of(i, count)[at], unit_byte((i + 1) * SECTOR + at));
	memset(disk.disk.slot.data, 0, count * SECTOR);
	assert_int_equal(move(VM_BLK_T_OUT, count), VM_BLK_S_OK);
	unit_expect_zeroes(path, SECTOR, count * SECTOR);
	unit_expect_pattern(path, 0, SECTOR);
	unit_expect_pattern(path, (count + 1) * SECTOR, SECTOR);
	for (unsigned i = 0; i < count; i++)
		for (u64 at = 0; at < SECTOR; at++)
			sector_of(i, count)[at] = unit_byte((i + 1) * SECTOR + at);
	assert_int_equal(move(VM_BLK_T_OUT, count), VM_BLK_S_OK);
	unit_expect_pattern(path, 0, SECTORS * SECTOR);
}

static void expect_all_moved(void)
{
	const unsigned counts[] = {IOV_MAX - 1, IOV_MAX, IOV_MAX + 1, IOV_MAX + AROUND,
				   CHAIN_MAX_SEGMENTS - AROUND};

	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++)
		expect_moved(counts[i]);
}

TEST(request_of_more_segments_than_a_call_takes_moves)
{
	open_disk(NULL);
	expect_all_moved();
}

TEST(durable_request_of_more_segments_than_a_call_takes_moves)
{
	open_disk("--cache=writethrough");
	expect_all_moved();
}

TEST(direct_request_of_more_segments_than_a_call_takes_moves)
{
	open_disk("--direct");
	expect_all_moved();
}

// It is given back untouched, and the ring lives.
TEST(request_of_more_segments_than_a_chain_has_is_refused)
{
	open_disk(NULL);
	assert_int_equal(move(VM_BLK_T_OUT, CHAIN_MAX_SEGMENTS - AROUND + 1), VM_BLK_NO_STATUS);
	unit_expect_pattern(path, 0, SECTORS * SECTOR);
	expect_moved(CHAIN_MAX_SEGMENTS - AROUND);
}

#define BLK_TEST(name) RUN_WITH(use_sync, name, teardown), RUN_WITH(use_uring, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BLK_TEST(request_of_more_segments_than_a_call_takes_moves),
		BLK_TEST(durable_request_of_more_segments_than_a_call_takes_moves),
		BLK_TEST(direct_request_of_more_segments_than_a_call_takes_moves),
		BLK_TEST(request_of_more_segments_than_a_chain_has_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
