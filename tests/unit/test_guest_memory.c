// SPDX-License-Identifier: Apache-2.0
// Tests of core/guest_memory.c.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "core/guest_memory.h"

#define PAGE UINT64_C(4096)
#define FILE_LEN (16 * PAGE)
#define GIB BIT64(30)

static struct guest_memory memory;
static int fd;

static int setup(void **state)
{
	(void)state;
	memory.count = 0;
	fd = vm_memory_file(FILE_LEN);
	return fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	guest_memory_clear(&memory);
	close_fd(&fd);
	return memory.count == 0 ? 0 : -1;
}

static int add_at(u64 guest, u64 frontend, u64 len, u64 offset)
{
	return guest_memory_add(&memory, (struct guest_addr){guest},
				(struct frontend_addr){frontend}, len, offset, fd);
}

static int add(u64 guest, u64 len)
{
	return add_at(guest, guest + 64 * GIB, len, 0);
}

static const struct guest_region *find(u64 guest)
{
	unsigned hint = 0;

	return guest_memory_find(&memory, (struct guest_addr){guest}, &hint);
}

static void *ring(u64 frontend, u64 len)
{
	return guest_memory_ring(&memory, (struct frontend_addr){frontend}, len);
}

static int read_at(u64 guest, void *buffer, size_t len)
{
	return guest_memory_read(&memory, (struct guest_addr){guest}, buffer, len);
}

TEST(bytes_of_the_file_appear_at_their_addresses)
{
	char text[6] = "";

	assert_int_equal(pwrite(fd, "hello", 5, 3 * PAGE + 10), 5);
	assert_int_equal(add_at(GIB, 7 * GIB, PAGE, 3 * PAGE), 0);
	assert_int_equal(read_at(GIB + 10, text, 5), 0);
	assert_string_equal(text, "hello");
	assert_memory_equal(ring(7 * GIB + 10, 5), "hello", 5);
}

TEST(offset_within_a_page_is_kept)
{
	char text[6] = "";

	assert_int_equal(pwrite(fd, "hello", 5, PAGE + 123), 5);
	assert_int_equal(add_at(GIB, GIB, 1000, PAGE + 123), 0);
	assert_int_equal(read_at(GIB, text, 5), 0);
	assert_string_equal(text, "hello");
	assert_int_equal(read_at(GIB + 1000, text, 1), -EFAULT);
}

TEST(writes_through_the_mapping_reach_the_file)
{
	char text[5];

	assert_int_equal(add(GIB, PAGE), 0);
	memcpy(memory.regions[0].host + 5, "there", 5);
	assert_int_equal(pread(fd, text, 5, 5), 5);
	assert_memory_equal(text, "there", 5);
}

TEST(fd_may_be_closed_once_the_region_is_added)
{
	u8 byte;

	assert_int_equal(add(GIB, PAGE), 0);
	close_fd(&fd);
	assert_int_equal(read_at(GIB, &byte, 1), 0);
}

TEST(regions_are_sorted_by_guest_address)
{
	assert_int_equal(add(3 * GIB, PAGE), 0);
	assert_int_equal(add(1 * GIB, PAGE), 0);
	assert_int_equal(add(2 * GIB, PAGE), 0);
	assert_int_equal(memory.count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_true(memory.regions[i].guest.value == (i + 1) * GIB);
}

TEST(empty_region_is_refused)
{
	assert_int_equal(add(GIB, 0), -EINVAL);
	assert_int_equal(memory.count, 0);
}

TEST(region_that_wraps_is_refused_in_either_space)
{
	assert_int_equal(add_at(UINT64_MAX - PAGE + 2, GIB, PAGE, 0), -EINVAL);
	assert_int_equal(add_at(GIB, UINT64_MAX - PAGE + 2, PAGE, 0), -EINVAL);
	assert_int_equal(add_at(GIB, GIB, UINT64_MAX, 0), -EINVAL);
	assert_int_equal(add_at(GIB, GIB, PAGE, UINT64_MAX - PAGE + 1), -EINVAL);
	assert_int_equal(memory.count, 0);
}

TEST(overlap_in_guest_addresses_is_refused)
{
	assert_int_equal(add_at(GIB, 10 * GIB, 2 * PAGE, 0), 0);
	assert_int_equal(add_at(GIB, 20 * GIB, 2 * PAGE, 0), -EINVAL);
	assert_int_equal(add_at(GIB + 2 * PAGE - 1, 20 * GIB, PAGE, 0), -EINVAL);
	assert_int_equal(add_at(GIB - PAGE + 1, 20 * GIB, PAGE, 0), -EINVAL);
	assert_int_equal(add_at(GIB - PAGE, 20 * GIB, 4 * PAGE, 0), -EINVAL);
	assert_int_equal(memory.count, 1);
}

TEST(overlap_in_front_end_addresses_is_refused)
{
	assert_int_equal(add_at(GIB, 10 * GIB, 2 * PAGE, 0), 0);
	assert_int_equal(add_at(2 * GIB, 10 * GIB + PAGE, 2 * PAGE, 0), -EINVAL);
	assert_int_equal(add_at(2 * GIB, 10 * GIB - 1, 2, 0), -EINVAL);
	assert_int_equal(memory.count, 1);
}

TEST(neighbours_that_only_touch_are_accepted)
{
	assert_int_equal(add_at(GIB, 10 * GIB, PAGE, 0), 0);
	assert_int_equal(add_at(GIB + PAGE, 10 * GIB + PAGE, PAGE, 0), 0);
	assert_int_equal(add_at(GIB - PAGE, 10 * GIB - PAGE, PAGE, 0), 0);
	assert_int_equal(memory.count, 3);
}

TEST(same_file_may_be_mapped_twice)
{
	u8 byte = 0;

	assert_int_equal(add_at(GIB, 10 * GIB, PAGE, 0), 0);
	assert_int_equal(add_at(2 * GIB, 20 * GIB, PAGE, 0), 0);
	memory.regions[0].host[9] = 42;
	assert_int_equal(read_at(2 * GIB + 9, &byte, 1), 0);
	assert_int_equal(byte, 42);
}

TEST(region_beyond_the_end_of_its_file_is_refused)
{
	assert_int_equal(add_at(GIB, GIB, FILE_LEN + 1, 0), -EINVAL);
	assert_int_equal(add_at(GIB, GIB, PAGE, FILE_LEN - PAGE + 1), -EINVAL);
	assert_int_equal(add_at(GIB, GIB, PAGE, FILE_LEN), -EINVAL);
	assert_int_equal(add_at(GIB, GIB, PAGE, FILE_LEN - PAGE), 0);
}

// Hands over another fd than the fixture's.
static int add_fd(int other)
{
	return guest_memory_add(&memory, (struct guest_addr){GIB}, (struct frontend_addr){GIB},
				PAGE, 0, other);
}

TEST(read_only_file_is_refused)
{
	char path[64];
	int read_only;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read_only >= 0);
	assert_int_equal(add_fd(read_only), -EINVAL);
	close(read_only);
}

TEST(what_is_no_file_is_refused)
{
	int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int device = open("/dev/zero", O_RDWR | O_CLOEXEC);
	int sockets[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(add_fd(folder), -EINVAL);
	assert_int_equal(add_fd(device), -EINVAL);
	assert_int_equal(add_fd(sockets[0]), -EINVAL);
	assert_int_equal(add_fd(-1), -EINVAL);
	assert_int_equal(memory.count, 0);
	close(folder);
	close(device);
	close(sockets[0]);
	close(sockets[1]);
}

TEST(file_sealed_against_writing_is_refused)
{
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(add(GIB, PAGE), -EPERM);
	assert_int_equal(memory.count, 0);
}

TEST(all_slots_can_be_filled_and_no_more)
{
	for (u64 i = 0; i < GUEST_MEMORY_SLOTS; i++)
		assert_int_equal(add(i * GIB, PAGE), 0);
	assert_int_equal(add(GUEST_MEMORY_SLOTS * GIB, PAGE), -ENOSPC);
	assert_int_equal(memory.count, GUEST_MEMORY_SLOTS);
	for (u64 i = 0; i < GUEST_MEMORY_SLOTS; i++)
		assert_ptr_equal(find(i * GIB + PAGE - 1), &memory.regions[i]);
}

// Removes with the front-end address that add() gives.
static int take_away(u64 guest, u64 len)
{
	return guest_memory_remove(&memory, (struct guest_addr){guest},
				   (struct frontend_addr){guest + 64 * GIB}, len);
}

TEST(removed_region_is_gone_and_the_others_stay)
{
	for (u64 i = 1; i <= 3; i++)
		assert_int_equal(add(i * GIB, PAGE), 0);
	assert_int_equal(take_away(2 * GIB, PAGE), 0);
	assert_int_equal(memory.count, 2);
	assert_null(find(2 * GIB));
	assert_non_null(find(1 * GIB));
	assert_non_null(find(3 * GIB));
	assert_int_equal(add(2 * GIB, PAGE), 0);
	assert_non_null(find(2 * GIB));
}

TEST(removed_region_is_unmapped)
{
	unsigned char resident;
	void *host;

	assert_int_equal(add(GIB, PAGE), 0);
	host = memory.regions[0].map.map;
	assert_int_equal(mincore(host, PAGE, &resident), 0);
	assert_int_equal(take_away(GIB, PAGE), 0);
	assert_int_equal(mincore(host, PAGE, &resident), -1);
	assert_int_equal(errno, ENOMEM);
}

TEST(region_that_matches_only_in_part_is_not_removed)
{
	assert_int_equal(add(GIB, 2 * PAGE), 0);
	assert_int_equal(take_away(GIB, PAGE), -ENOENT);
	assert_int_equal(take_away(GIB + PAGE, PAGE), -ENOENT);
	assert_int_equal(guest_memory_remove(&memory, (struct guest_addr){GIB},
					     (struct frontend_addr){GIB}, 2 * PAGE),
			 -ENOENT);
	assert_int_equal(memory.count, 1);
}

TEST(address_is_found_exactly_within_its_region)
{
	assert_int_equal(add(GIB, PAGE), 0);
	assert_null(find(GIB - 1));
	assert_ptr_equal(find(GIB), &memory.regions[0]);
	assert_ptr_equal(find(GIB + PAGE - 1), &memory.regions[0]);
	assert_null(find(GIB + PAGE));
	assert_null(find(UINT64_MAX));
}

TEST(region_at_the_very_top_is_found)
{
	assert_int_equal(add_at(UINT64_MAX - PAGE, GIB, PAGE, 0), 0);
	assert_non_null(find(UINT64_MAX - 1));
	assert_null(find(UINT64_MAX));
	assert_null(find(0));
}

TEST(nothing_is_found_in_no_memory)
{
	unsigned hint = 17;

	assert_null(guest_memory_find(&memory, (struct guest_addr){0}, &hint));
	assert_null(ring(0, 1));
}

TEST(hint_is_followed_kept_up_and_never_trusted)
{
	unsigned hint = 0;

	for (u64 i = 0; i < 5; i++)
		assert_int_equal(add(i * GIB, PAGE), 0);
	assert_ptr_equal(guest_memory_find(&memory, (struct guest_addr){3 * GIB}, &hint),
			 &memory.regions[3]);
	assert_int_equal(hint, 3);
	assert_ptr_equal(guest_memory_find(&memory, (struct guest_addr){3 * GIB + 5}, &hint),
			 &memory.regions[3]);
	assert_ptr_equal(guest_memory_find(&memory, (struct guest_addr){GIB}, &hint),
			 &memory.regions[1]);
	assert_int_equal(hint, 1);
	hint = 1000;
	assert_ptr_equal(guest_memory_find(&memory, (struct guest_addr){4 * GIB}, &hint),
			 &memory.regions[4]);
	assert_int_equal(hint, 4);
}

TEST(ring_must_lie_within_one_region)
{
	assert_int_equal(add_at(GIB, 10 * GIB, PAGE, 0), 0);
	assert_int_equal(add_at(2 * GIB, 10 * GIB + PAGE, PAGE, PAGE), 0);
	assert_ptr_equal(ring(10 * GIB, PAGE), memory.regions[0].host);
	assert_ptr_equal(ring(10 * GIB + PAGE, PAGE), memory.regions[1].host);
	assert_null(ring(10 * GIB, PAGE + 1));
	assert_null(ring(10 * GIB + PAGE - 1, 2));
	assert_null(ring(10 * GIB - 1, 2));
	assert_null(ring(10 * GIB + PAGE, UINT64_MAX));
	assert_null(ring(GIB, 1)); // a guest address is none of the front-end's
}

TEST(reading_goes_on_across_regions)
{
	u8 bytes[3 * PAGE], wanted[3 * PAGE];

	memset(wanted, 1, PAGE);
	memset(wanted + PAGE, 2, PAGE);
	memset(wanted + 2 * PAGE, 3, PAGE);
	for (u64 i = 0; i < 3; i++) {
		assert_int_equal(add_at(GIB + i * PAGE, (10 + i) * GIB, PAGE, (2 - i) * PAGE), 0);
		memset(memory.regions[i].host, (int)i + 1, PAGE);
	}
	assert_int_equal(read_at(GIB, bytes, sizeof(bytes)), 0);
	assert_memory_equal(bytes, wanted, sizeof(bytes));
	assert_int_equal(read_at(GIB + PAGE - 2, bytes, PAGE + 4), 0);
	assert_memory_equal(bytes, wanted + PAGE - 2, PAGE + 4);
}

TEST(reading_past_what_is_mapped_fails)
{
	u8 bytes[2 * PAGE];

	assert_int_equal(add(GIB, PAGE), 0);
	assert_int_equal(read_at(GIB, bytes, PAGE), 0);
	assert_int_equal(read_at(GIB, bytes, PAGE + 1), -EFAULT);
	assert_int_equal(read_at(GIB - 1, bytes, 2), -EFAULT);
	assert_int_equal(read_at(UINT64_MAX, bytes, 2), -EFAULT);
	assert_int_equal(read_at(0, bytes, 0), 0);
}

#define MEMORY_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY_TEST(bytes_of_the_file_appear_at_their_addresses),
		MEMORY_TEST(offset_within_a_page_is_kept),
		MEMORY_TEST(writes_through_the_mapping_reach_the_file),
		MEMORY_TEST(fd_may_be_closed_once_the_region_is_added),
		MEMORY_TEST(regions_are_sorted_by_guest_address),
		MEMORY_TEST(empty_region_is_refused),
		MEMORY_TEST(region_that_wraps_is_refused_in_either_space),
		MEMORY_TEST(overlap_in_guest_addresses_is_refused),
		MEMORY_TEST(overlap_in_front_end_addresses_is_refused),
		MEMORY_TEST(neighbours_that_only_touch_are_accepted),
		MEMORY_TEST(same_file_may_be_mapped_twice),
		MEMORY_TEST(region_beyond_the_end_of_its_file_is_refused),
		MEMORY_TEST(read_only_file_is_refused),
		MEMORY_TEST(what_is_no_file_is_refused),
		MEMORY_TEST(file_sealed_against_writing_is_refused),
		MEMORY_TEST(all_slots_can_be_filled_and_no_more),
		MEMORY_TEST(removed_region_is_gone_and_the_others_stay),
		MEMORY_TEST(removed_region_is_unmapped),
		MEMORY_TEST(region_that_matches_only_in_part_is_not_removed),
		MEMORY_TEST(address_is_found_exactly_within_its_region),
		MEMORY_TEST(region_at_the_very_top_is_found),
		MEMORY_TEST(nothing_is_found_in_no_memory),
		MEMORY_TEST(hint_is_followed_kept_up_and_never_trusted),
		MEMORY_TEST(ring_must_lie_within_one_region),
		MEMORY_TEST(reading_goes_on_across_regions),
		MEMORY_TEST(reading_past_what_is_mapped_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
