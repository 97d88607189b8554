// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/error.c and full.c: what becomes of the host's errors.
#include "tests/unit/host.h"

#include <fcntl.h>
#include <string.h>

#include "core/sys.h"

#define SECTOR UINT64_C(512)

// ---- a flush that has failed

TEST(failed_flush_is_remembered_for_it_will_not_be_told_twice)
{
	SERVE(2);
	unit_capture(2);
	host.flush_error = -EIO;
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_IOERR);
	host.flush_error = 0;
	for (unsigned i = 0; i < 10; i++) {
		disk.disk.ring = &disk.vm.rings[i % 2]; // each has a worker of its own
		assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_IOERR);
		assert_int_equal(unit_write_sector(i), VM_BLK_S_OK);
	}
	assert_int_equal(host.flushes, 1);
	assert_int_equal(unit_count(unit_captured(), "may have lost what the guest has written"),
			 1);
}

TEST(past_the_page_cache_nothing_is_lost_with_a_failed_flush)
{
	SERVE(1, "--direct");
	host.flush_error = -EIO;
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_IOERR);
	host.flush_error = 0;
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
}

TEST(failed_durable_write_is_a_failed_flush)
{
	SERVE(1, "--cache=writethrough");
	host.write_error = -EIO;
	assert_int_equal(unit_write_sector(0), VM_BLK_S_IOERR);
	host.write_error = 0;
	assert_int_equal(unit_write_sector(0), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_write_zeroes(&disk.disk, 0, 8, 0), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_request(&disk.disk, VM_BLK_T_IN, 8, 512), VM_BLK_S_OK);
}

TEST(durable_write_that_found_no_room_is_none)
{
	SERVE(1, "--cache=writethrough");
	host.write_error = -ENOSPC;
	assert_int_equal(unit_write_sector(0), VM_BLK_S_IOERR);
	host.write_error = 0;
	assert_int_equal(unit_write_sector(0), VM_BLK_S_OK);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
}

TEST(cached_write_that_failed_is_no_failed_flush)
{
	SERVE(1);
	host.write_error = -EIO;
	assert_int_equal(unit_write_sector(0), VM_BLK_S_IOERR);
	host.write_error = 0;
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
}

static int64_t turn_cache(u8 on)
{
	return frontend_set_config(&disk.vm.frontend, offsetof(struct vm_blk_config, writeback), 1,
				   0, &on);
}

// What takes the disk's place for a moment cannot be flushed.
TEST(cache_is_not_turned_off_by_a_flush_that_fails_and_none_succeeds_after_it)
{
	int pipe_fds[2], fd;

	SERVE(1);
	fd = dup(unit_blk()->medium.fd);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(dup2(pipe_fds[0], unit_blk()->medium.fd), unit_blk()->medium.fd);
	assert_int_not_equal(turn_cache(0), 0);
	assert_int_equal(dup2(fd, unit_blk()->medium.fd), unit_blk()->medium.fd);
	assert_int_not_equal(turn_cache(0), 0);
	assert_int_equal(unit_disk_config(&disk).writeback, 1);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_IOERR);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(fd);
}

// ---- what is said

TEST(host_errors_are_one_line_a_second_and_those_of_the_guest_none)
{
	const char *said;
	u64 began;

	SERVE(1);
	unit_capture(2);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(unit_write_sector(HOST_DISK_LEN / SECTOR), VM_BLK_S_IOERR);
	assert_int_equal(unit_count(unit_captured(), "\n"), 0);
	unit_capture(2);
	began = sys_clock_coarse_ns() / 1000000000;
	host.write_error = -ENOSPC;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(unit_write_sector(8), VM_BLK_S_IOERR);
	said = unit_captured();
	assert_in_range(unit_count(said, "\n"), 1, sys_clock_coarse_ns() / 1000000000 - began + 1);
	assert_non_null(
		strstr(said, "error: the disk cannot write at byte 4096: No space left on device"));
	assert_int_equal(unit_blk()->errors_unsaid, 100 - unit_count(said, "\n"));
}

TEST(each_kind_of_request_is_named)
{
	const char *const names[] = {"write at byte 4096:", "discard at byte 4096:",
				     "write zeroes at byte 4096:", "flush:"};

	SERVE(1);
	host.write_error = host.flush_error = -EIO;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		unit_blk()->error_second = 0;
		unit_capture(2);
		assert_int_equal(i == 0	  ? unit_write_sector(8)
				 : i == 1 ? vm_disk_discard(&disk.disk, 8, 8)
				 : i == 2 ? vm_disk_write_zeroes(&disk.disk, 8, 8, 0)
					  : vm_disk_flush(&disk.disk),
				 VM_BLK_S_IOERR);
		assert_int_equal(unit_count(unit_captured(), names[i]), 1);
	}
	unit_blk()->error_second = 0;
	assert_int_equal(truncate(disk_path, 0), 0);
	unit_capture(2);
	assert_int_equal(vm_disk_request(&disk.disk, VM_BLK_T_IN, 8, 512), VM_BLK_S_IOERR);
	assert_int_equal(unit_count(unit_captured(), "read at byte 4096: it has become shorter"),
			 1);
}

TEST(write_that_moves_nothing_fails_and_is_not_tried_for_ever)
{
	SERVE(1);
	host.moves_nothing = host.cannot_zero = true;
	unit_capture(2);
	assert_int_equal(unit_write_sector(8), VM_BLK_S_IOERR);
	unit_blk()->error_second = 0;
	assert_int_equal(vm_disk_write_zeroes(&disk.disk, 8, 8, 0), VM_BLK_S_IOERR);
	assert_int_equal(unit_count(unit_captured(), "at byte 4096: it has become shorter"), 2);
	unit_expect_pattern(disk_path, 0, 65536);
}

// What can only be read takes the disk's place.
TEST(edge_of_a_range_that_cannot_be_written_fails_it_and_is_named)
{
	int fd;

	SERVE(1);
	fd = open(disk_path, O_RDONLY | O_CLOEXEC);
	unit_blk()->medium.range_align = 4096;
	assert_int_equal(dup2(fd, unit_blk()->medium.fd), unit_blk()->medium.fd);
	for (unsigned i = 0; i < 2; i++) {
		unit_blk()->error_second = 0;
		unit_capture(2);
		assert_int_equal(vm_disk_write_zeroes(&disk.disk, i == 0 ? 9 : 16, 15, 0),
				 VM_BLK_S_IOERR);
		assert_int_equal(
			unit_count(unit_captured(), i == 0 ? "write zeroes at byte 4608: "
							   : "write zeroes at byte 8192: "),
			1);
	}
	unit_expect_pattern(disk_path, 0, 65536);
	close(fd);
}

// ---- a host without room

// Adds a request of each slot to ring 0, whose data begin `shift` bytes past an aligned address.
static void add_all(u32 type, u32 shift)
{
	for (unsigned i = 0; i < HOST_SLOTS; i++) {
		vm_blk_slot_init(&slots[i], &disk.vm.memory, 4096 + 512);
		slots[i].data_addr += shift;
		assert_true(vm_blk_add(&disk.vm.rings[0], &slots[i], type, i * UINT64_C(8), 4096) >=
			    0);
	}
	vm_ring_kick(&disk.vm.rings[0]);
}

static bool wait_for_room(const void *context)
{
	const unsigned *wanted = context;

	return __atomic_load_n(&unit_blk()->waiting_count, __ATOMIC_RELAXED) == *wanted;
}

TEST(requests_wait_for_room_while_others_go_on)
{
	const unsigned wanted = HOST_SLOTS;
	u8 bytes[4096];
	const char *said;

	SERVE(1, "--on-enospc=stop");
	unit_capture(2);
	host.write_error = -ENOSPC;
	add_all(VM_BLK_T_OUT, 0);
	unit_wait(wait_for_room, &wanted);
	disk.disk.ring = &disk.vm.rings[1];
	assert_int_equal(vm_disk_read(&disk.disk, 64, bytes, sizeof(bytes)), VM_BLK_S_OK);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
	__atomic_store_n(&host.write_error, 0, __ATOMIC_RELAXED);
	unit_expect_answers(VM_BLK_S_OK);
	said = unit_captured();
	assert_int_equal(unit_count(said, "\n"), 2);
	assert_int_equal(unit_count(said, "the host has no room for the disk: requests wait"), 1);
	assert_int_equal(unit_count(said, "the host has room for the disk again"), 1);
	unit_expect_zeroes(disk_path, 0, HOST_SLOTS * UINT64_C(4096));
	unit_expect_pattern(disk_path, HOST_SLOTS * UINT64_C(4096), 4096);
}

// They have nothing that others could need: a misaligned read finds a bounce buffer.
TEST(misaligned_requests_wait_without_their_bounce_buffers)
{
	const unsigned wanted = HOST_SLOTS;

	SERVE(1, "--on-enospc=stop", "--direct");
	host.write_error = -EDQUOT;
	add_all(VM_BLK_T_OUT, 1);
	unit_wait(wait_for_room, &wanted);
	disk.disk.ring = &disk.vm.rings[1];
	disk.disk.slot.data_addr += 1;
	assert_int_equal(vm_disk_request(&disk.disk, VM_BLK_T_IN, 64, 4096), VM_BLK_S_OK);
	__atomic_store_n(&host.write_error, 0, __ATOMIC_RELAXED);
	unit_expect_answers(VM_BLK_S_OK);
	unit_expect_zeroes(disk_path, 0, HOST_SLOTS * UINT64_C(4096));
	unit_expect_pattern(disk_path, HOST_SLOTS * UINT64_C(4096), 4096);
}

TEST(ranges_wait_for_room_too)
{
	const unsigned wanted = HOST_SLOTS;

	SERVE(1, "--on-enospc=stop");
	host.write_error = -ENOSPC;
	for (unsigned i = 0; i < HOST_SLOTS; i++)
		unit_add_zeroes(i, i * UINT64_C(4096), 4096);
	vm_ring_kick(&disk.vm.rings[0]);
	unit_wait(wait_for_room, &wanted);
	__atomic_store_n(&host.write_error, 0, __ATOMIC_RELAXED);
	unit_expect_answers(VM_BLK_S_OK);
	unit_expect_zeroes(disk_path, 0, HOST_SLOTS * UINT64_C(4096));
}

TEST(what_waits_for_room_fails_when_its_ring_stops)
{
	const unsigned wanted = HOST_SLOTS;
	const char *said;

	SERVE(1, "--on-enospc=stop");
	unit_capture(2);
	host.write_error = -ENOSPC;
	add_all(VM_BLK_T_OUT, 0);
	unit_wait(wait_for_room, &wanted);
	assert_int_equal(vm_stop(&disk.vm), 0);
	unit_expect_answers(VM_BLK_S_IOERR);
	assert_int_equal(vm_resume(&disk.vm), 0);
	add_all(VM_BLK_T_OUT, 0);
	unit_wait(wait_for_room, &wanted);
	unit_disk_close(&disk); // the front-end goes, and all ends
	said = unit_captured();
	assert_int_equal(unit_count(said, "requests wait"), 2);
	assert_int_equal(unit_count(said, "no request waits for room any more"), 2);
}

TEST(without_the_option_a_full_host_fails_requests)
{
	SERVE(1);
	host.write_error = -ENOSPC;
	assert_int_equal(unit_write_sector(8), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_write_zeroes(&disk.disk, 0, 8, 0), VM_BLK_S_IOERR);
	assert_int_equal(unit_blk()->waiting_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOST_TEST(failed_flush_is_remembered_for_it_will_not_be_told_twice),
		HOST_TEST(past_the_page_cache_nothing_is_lost_with_a_failed_flush),
		HOST_TEST(failed_durable_write_is_a_failed_flush),
		HOST_TEST(durable_write_that_found_no_room_is_none),
		HOST_TEST(cached_write_that_failed_is_no_failed_flush),
		RUN_WITH(unit_host_sync,
			 cache_is_not_turned_off_by_a_flush_that_fails_and_none_succeeds_after_it,
			 unit_host_end),
		RUN_WITH(unit_host_sync,
			 host_errors_are_one_line_a_second_and_those_of_the_guest_none,
			 unit_host_end),
		RUN_WITH(unit_host_sync, each_kind_of_request_is_named, unit_host_end),
		HOST_TEST(write_that_moves_nothing_fails_and_is_not_tried_for_ever),
		RUN_WITH(unit_host_sync,
			 edge_of_a_range_that_cannot_be_written_fails_it_and_is_named,
			 unit_host_end),
		HOST_TEST(requests_wait_for_room_while_others_go_on),
		HOST_TEST(misaligned_requests_wait_without_their_bounce_buffers),
		HOST_TEST(ranges_wait_for_room_too),
		HOST_TEST(what_waits_for_room_fails_when_its_ring_stops),
		HOST_TEST(without_the_option_a_full_host_fails_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
