// SPDX-License-Identifier: Apache-2.0
// Tests of core/requests_memory.c: memory tables and slots, with rings that run in them.
#include "tests/unit/desk.h"

#include <string.h>

static struct desk desk;

static int setup(void **state)
{
	(void)state;
	desk_open(&desk, ECHO_AT_ONCE);
	desk_accept_protocol_features(&desk);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return desk_close(&desk);
}

// Sends a table of `count` regions that says `said`, with `fd_count` fds and this many bytes of payload.
static int send_table(u32 count, u32 said, unsigned fd_count, size_t len)
{
	struct vu_mem_table table = {.count = said};
	int fds[32];

	for (unsigned i = 0; i < 32; i++) {
		const struct vm_region *region = &desk.vm.regions[i % desk.vm.count];

		fds[i] = region->fd;
		if (i < count)
			table.regions[i] = region->wire;
		if (i >= desk.vm.count) { // apart from all others
			table.regions[i].guest_addr += (u64)i << 40;
			table.regions[i].user_addr += (u64)i << 48;
		}
	}
	return desk_send(&desk, VU_SET_MEM_TABLE, VU_VERSION, &table, len, fds, fd_count);
}

static size_t table_len(u32 count)
{
	return 8 + count * sizeof(struct vu_region);
}

static int send_region(u32 request, const struct vu_region *region, const int *fd)
{
	const struct vu_single_region single = {.region = *region};

	return desk_send(&desk, request, VU_VERSION, &single, sizeof(single), fd, fd ? 1 : 0);
}

static int add_region(unsigned index)
{
	return send_region(VU_ADD_MEM_REG, &desk.vm.regions[index].wire,
			   &desk.vm.regions[index].fd);
}

TEST(table_replaces_the_one_before)
{
	assert_int_equal(send_table(2, 2, 2, table_len(2)), 0);
	assert_int_equal(desk.session.memory.count, 2);
	assert_int_equal(send_table(1, 1, 1, table_len(1)), 0);
	assert_int_equal(desk.session.memory.count, 1);
}

TEST(table_of_thirty_two_regions_is_taken)
{
	assert_int_equal(send_table(32, 32, 32, table_len(32)), 0);
	assert_int_equal(desk.session.memory.count, 32);
}

TEST(table_with_padding_behind_its_regions_is_taken)
{
	assert_int_equal(send_table(1, 1, 1, table_len(2)), 0);
	assert_int_equal(send_table(1, 1, 1, table_len(8)), 0);
	assert_int_equal(desk.session.memory.count, 1);
}

TEST(table_that_contradicts_itself_is_refused_and_the_old_one_stays)
{
	assert_int_equal(send_table(1, 1, 1, table_len(1)), 0);
	assert_true(send_table(0, 0, 0, table_len(0)) < 0);
	assert_true(send_table(2, 2, 1, table_len(2)) < 0);
	assert_true(send_table(2, 2, 3, table_len(2)) < 0);
	assert_true(send_table(1, 2, 2, table_len(1)) < 0);
	assert_true(send_table(2, 33, 2, table_len(2)) < 0);
	assert_true(send_table(2, UINT32_MAX, 2, table_len(2)) < 0);
	assert_int_equal(desk.session.memory.count, 1);
}

TEST(table_with_a_bad_region_is_refused_and_the_old_one_still_serves)
{
	const struct vu_region good = desk.vm.regions[1].wire;

	desk_say_all(&desk, 0);
	desk.vm.regions[1].wire.size = 1 << 30; // beyond its file
	assert_true(desk_say(&desk, DESK_MEMORY, 0) < 0);
	desk.vm.regions[1].wire = desk.vm.regions[0].wire; // overlaps
	assert_true(desk_say(&desk, DESK_MEMORY, 0) < 0);
	desk.vm.regions[1].wire = good;
	assert_int_equal(desk.session.memory.count, 2);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(running_ring_is_moved_to_the_new_table)
{
	desk_say_all(&desk, 0);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
		assert_true(desk_ring_works(&desk, 0));
	}
	assert_int_equal(echo_count(&desk.echo.stops), 20);
}

TEST(ring_that_the_new_table_does_not_hold_stops_until_it_is_there_again)
{
	desk_say_all(&desk, 0);
	desk.vm.regions[0].wire.user_addr += BIT64(40);
	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	assert_false(session_is_running(&desk.session));
	desk.vm.regions[0].wire.user_addr -= BIT64(40);
	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(regions_are_added_one_by_one_and_the_ring_runs)
{
	for (enum desk_word word = 0; word < DESK_WORDS; word++)
		if (word != DESK_MEMORY)
			assert_int_equal(desk_say(&desk, word, 0), 0);
	assert_int_equal(add_region(1), 0);
	assert_false(session_is_running(&desk.session));
	assert_int_equal(add_region(0), 0);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(region_that_is_there_already_is_refused)
{
	assert_int_equal(add_region(0), 0);
	assert_true(add_region(0) < 0);
	assert_int_equal(desk.session.memory.count, 1);
}

TEST(all_promised_slots_can_be_used_and_no_more)
{
	struct vu_region region = desk.vm.regions[0].wire;

	region.size = 4096;
	for (u64 i = 0; i <= GUEST_MEMORY_SLOTS; i++) {
		region.guest_addr = region.user_addr = i << 32;
		assert_int_equal(send_region(VU_ADD_MEM_REG, &region, &desk.vm.regions[0].fd) == 0,
				 i < GUEST_MEMORY_SLOTS);
	}
	assert_int_equal(desk.session.memory.count, GUEST_MEMORY_SLOTS);
}

TEST(removing_the_region_of_a_ring_stops_the_ring)
{
	desk_say_all(&desk, 0);
	assert_int_equal(send_region(VU_REM_MEM_REG, &desk.vm.regions[0].wire, NULL), 0);
	assert_false(session_is_running(&desk.session));
	assert_int_equal(add_region(0), 0);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(removing_another_region_leaves_the_ring_running)
{
	desk_say_all(&desk, 0);
	assert_int_equal(send_region(VU_REM_MEM_REG, &desk.vm.regions[1].wire, NULL), 0);
	assert_int_equal(desk.session.memory.count, 1);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(region_can_be_removed_with_an_fd_which_is_closed)
{
	unsigned before;

	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	before = unit_open_fds();
	assert_int_equal(
		send_region(VU_REM_MEM_REG, &desk.vm.regions[1].wire, &desk.vm.regions[1].fd), 0);
	assert_int_equal(unit_open_fds(), before);
}

TEST(region_that_is_not_there_cannot_be_removed)
{
	struct vu_region region = desk.vm.regions[0].wire;

	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	region.size -= 4096;
	assert_true(send_region(VU_REM_MEM_REG, &region, NULL) < 0);
	region.guest_addr = 0;
	assert_true(send_region(VU_REM_MEM_REG, &region, NULL) < 0);
	assert_int_equal(desk.session.memory.count, 2);
}

#define DESK_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DESK_TEST(table_replaces_the_one_before),
		DESK_TEST(table_of_thirty_two_regions_is_taken),
		DESK_TEST(table_with_padding_behind_its_regions_is_taken),
		DESK_TEST(table_that_contradicts_itself_is_refused_and_the_old_one_stays),
		DESK_TEST(table_with_a_bad_region_is_refused_and_the_old_one_still_serves),
		DESK_TEST(running_ring_is_moved_to_the_new_table),
		DESK_TEST(ring_that_the_new_table_does_not_hold_stops_until_it_is_there_again),
		DESK_TEST(regions_are_added_one_by_one_and_the_ring_runs),
		DESK_TEST(region_that_is_there_already_is_refused),
		DESK_TEST(all_promised_slots_can_be_used_and_no_more),
		DESK_TEST(removing_the_region_of_a_ring_stops_the_ring),
		DESK_TEST(removing_another_region_leaves_the_ring_running),
		DESK_TEST(region_can_be_removed_with_an_fd_which_is_closed),
		DESK_TEST(region_that_is_not_there_cannot_be_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
