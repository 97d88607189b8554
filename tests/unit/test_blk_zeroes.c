// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/zeroes.c and worker.c: zeroes that have to be written, and rings that cannot be had.
#include "tests/unit/host.h"

#include <string.h>

#define SECTOR UINT64_C(512)

// ---- zeroes that have to be written

enum { ZEROES_LEN = 4 << 20, STEPS = 4 };

TEST(zeroes_are_written_one_step_in_a_turn)
{
	SERVE(1);
	host.cannot_zero = true;
	unit_blk()->max_zeroes_len = ZEROES_LEN; // as of a disk that was found to be so
	for (unsigned i = 0; i < HOST_SLOTS; i++)
		unit_add_zeroes(i, 0, ZEROES_LEN);
	vm_ring_kick(&disk.vm.rings[0]);
	unit_expect_answers(VM_BLK_S_OK);
	assert_int_equal(host.zero_steps, HOST_SLOTS * STEPS);
	assert_int_equal(host.most_steps_in_a_turn, 1);
	unit_expect_zeroes(disk_path, 0, ZEROES_LEN);
	unit_expect_pattern(disk_path, ZEROES_LEN, 4096);
}

TEST(written_zeroes_keep_to_their_range)
{
	const u64 begin = 3 * SECTOR, len = UINT64_C(65536) * 17 + 5 * SECTOR;

	SERVE(1, "--cache=writethrough");
	host.cannot_zero = true;
	assert_int_equal(vm_disk_write_zeroes(&disk.disk, 3, (u32)(len / SECTOR), 0), VM_BLK_S_OK);
	unit_expect_pattern(disk_path, 0, begin);
	unit_expect_zeroes(disk_path, begin, len);
	unit_expect_pattern(disk_path, begin + len, 4096);
	assert_int_equal(host.flushes, 1);
}

TEST(ring_that_stops_has_written_its_zeroes)
{
	struct vm_completion completion;
	unsigned answered = 0;

	SERVE(1);
	host.cannot_zero = true;
	for (unsigned i = 0; i < HOST_SLOTS; i++)
		unit_add_zeroes(i, 0, ZEROES_LEN);
	vm_ring_kick(&disk.vm.rings[0]);
	assert_int_equal(vm_stop(&disk.vm), 0);
	while (vm_ring_take(&disk.vm.rings[0], &completion) == 1)
		answered++;
	assert_int_equal(answered, disk.vm.bases[0]);
	assert_int_equal(host.zero_steps, answered * STEPS);
}

// ---- ranges

// A turn of the worker may be two of the ring's: one that it asked for and one that the driver did.
static void expect_turns(u64 ranges)
{
	assert_in_range(host.most_steps_in_a_turn, ranges, 2 * ranges);
}

// A turn of a ring ends after the work of 1 MiB of data; a range counts as a 64th of its length.
TEST(long_ranges_give_way_to_other_rings)
{
	const u32 types[] = {VM_BLK_T_DISCARD, VM_BLK_T_WRITE_ZEROES};

	for (unsigned kind = 0; kind < ARRAY_SIZE(types); kind++) {
		SERVE(1);
		host.most_steps_in_a_turn = 0;
		for (unsigned i = 0; i < HOST_SLOTS; i++)
			unit_add_range(i, types[kind], 0, HOST_DISK_LEN);
		vm_ring_kick(&disk.vm.rings[0]);
		unit_expect_answers(VM_BLK_S_OK);
		expect_turns((1 << 20) / (HOST_DISK_LEN / 64));
		unit_expect_zeroes(disk_path, 0, HOST_DISK_LEN);
		unit_disk_close(&disk);
	}
}

// Zeroes that are written at both ends of a range, since the medium's blocks are larger, count as the data that they are.
TEST(edges_of_ranges_give_way_to_other_rings)
{
	const u64 block = 65536, begin = SECTOR, len = 2 * block;

	SERVE(1);
	unit_blk()->medium.range_align = (u32)block;
	for (unsigned i = 0; i < HOST_SLOTS; i++)
		unit_add_zeroes(i, begin, len);
	vm_ring_kick(&disk.vm.rings[0]);
	unit_expect_answers(VM_BLK_S_OK);
	expect_turns((1 << 20) / len);
	unit_expect_pattern(disk_path, 0, begin);
	unit_expect_zeroes(disk_path, begin, len);
	unit_expect_pattern(disk_path, begin + len, block);
}

// What the range does not cover of the medium's blocks is not discarded, and zeroes are written there.
TEST(ranges_within_the_mediums_blocks_keep_to_their_bytes)
{
	const u64 block = 4096, ends[] = {4, 8, 12, 16, 20, 24};

	SERVE(1);
	unit_blk()->medium.range_align = (u32)block;
	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++)
		for (unsigned j = i; j < ARRAY_SIZE(ends); j++) {
			const u64 at = (i * ARRAY_SIZE(ends) + j) * 64, first = at + ends[i];
			const u32 sectors = (u32)(ends[j] - ends[i]);

			assert_int_equal(
				vm_disk_write_zeroes(&disk.disk, first, sectors, VM_BLK_UNMAP),
				VM_BLK_S_OK);
			unit_expect_pattern(disk_path, at * SECTOR, ends[i] * SECTOR);
			unit_expect_zeroes(disk_path, first * SECTOR, sectors * SECTOR);
			unit_expect_pattern(disk_path, (at + ends[j]) * SECTOR, block);
		}
	assert_int_equal(vm_disk_discard(&disk.disk, 8000, 24), VM_BLK_S_OK);
	unit_expect_zeroes(disk_path, 8000 * SECTOR, 3 * block);
	assert_int_equal(vm_disk_discard(&disk.disk, 9004, 8), VM_BLK_S_OK);
	assert_int_equal(vm_disk_discard(&disk.disk, 9100, 24), VM_BLK_S_OK);
	unit_expect_pattern(disk_path, 9004 * SECTOR, block);
	unit_expect_pattern(disk_path, 9100 * SECTOR, 4 * SECTOR);
	unit_expect_zeroes(disk_path, 9104 * SECTOR, 2 * block);
	unit_expect_pattern(disk_path, 9120 * SECTOR, 4 * SECTOR);
}

// ---- rings that cannot be had

TEST(workers_without_a_ring_have_the_other_engine_and_all_serve)
{
	const char *said;

	for (host.rings = 0; host.rings < 3; host.rings++) {
		unit_capture(2);
		SERVE(3);
		said = unit_captured();
		for (unsigned i = 0; i < 3; i++) {
			disk.disk.ring = &disk.vm.rings[i];
			assert_int_equal(unit_write_sector(i), VM_BLK_S_OK);
			assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
		}
		assert_int_equal(
			unit_count(said, "engine sync (no io_uring: Cannot allocate memory)"),
			host.rings == 0);
		assert_int_equal(unit_count(said, "and those after it have engine sync, as no more "
						  "io_urings can be made: Cannot allocate memory"),
				 host.rings > 0);
		assert_int_equal(disk.device->kernel_threads, host.rings > 0);
		unit_disk_close(&disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOST_TEST(zeroes_are_written_one_step_in_a_turn),
		HOST_TEST(written_zeroes_keep_to_their_range),
		HOST_TEST(ring_that_stops_has_written_its_zeroes),
		HOST_TEST(long_ranges_give_way_to_other_rings),
		HOST_TEST(edges_of_ranges_give_way_to_other_rings),
		HOST_TEST(ranges_within_the_mediums_blocks_keep_to_their_bytes),
		HOST_TEST(workers_without_a_ring_have_the_other_engine_and_all_serve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
