// SPDX-License-Identifier: Apache-2.0
// Tests of core/chain.c.
#include "tests/unit/unit.h"

#include <string.h>

#include "core/chain.h"

#define PAGE UINT64_C(4096)
#define REGION_LEN (512 * PAGE)
#define GIB BIT64(30)

enum { RING_SIZE = 128, REQUEST_SIZE = 24 };

// Three regions: the first two adjacent in the guest but not here, the third apart.
static struct vm_memory vm;
static struct guest_memory memory;
static struct chain_pool pool;
static unsigned hint;

static int setup(void **state)
{
	(void)state;
	vm.count = memory.count = 0;
	hint = 0;
	assert_true(vm_memory_add(&vm, GIB, REGION_LEN, 0) >= 0);
	assert_true(vm_memory_add(&vm, GIB + REGION_LEN, REGION_LEN, 0) >= 0);
	assert_true(vm_memory_add(&vm, 3 * GIB, REGION_LEN, 0) >= 0);
	unit_share(&memory, &vm);
	return chain_pool_init(&pool, RING_SIZE, REQUEST_SIZE);
}

static int teardown(void **state)
{
	(void)state;
	chain_pool_fini(&pool);
	guest_memory_clear(&memory);
	vm_memory_free(&vm);
	return 0;
}

static int add(struct chain *chain, u64 addr, u32 len, bool writable)
{
	return chain_add(&pool, chain, &memory, &hint, (struct guest_addr){addr}, len, writable);
}

// A chain with buffers of these lengths, one page apart from GIB on; a negative length is a writable one.
static struct chain *chain_of(u16 head, const int *lens, size_t count)
{
	struct chain *chain = chain_begin(&pool, head);

	assert_non_null(chain);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(add(chain, GIB + i * PAGE, (u32)abs(lens[i]), lens[i] < 0), 0);
	return chain;
}
#define CHAIN_OF(head, ...) \
	chain_of(head, (const int[]){__VA_ARGS__}, ARRAY_SIZE(((const int[]){__VA_ARGS__})))

static u8 *guest(u64 addr)
{
	u8 *bytes = vm_memory_at(&vm, addr, 1);

	assert_non_null(bytes);
	return bytes;
}

TEST(new_chain_is_empty)
{
	struct chain *chain = chain_begin(&pool, 5);

	assert_int_equal(chain->head, 5);
	assert_int_equal(chain_readable_len(chain), 0);
	assert_int_equal(chain_writable_len(chain), 0);
	assert_null(chain_take_last_byte(chain));
	assert_int_equal(chain_read(chain, &(u8){0}, 1), 0);
	assert_int_equal(chain_write(chain, &(u8){0}, 1), 0);
}

TEST(parts_are_told_apart_and_translated)
{
	struct chain *chain = CHAIN_OF(0, 16, 100, -50, -1);
	const struct iovec *segments;
	unsigned count;

	assert_int_equal(chain_readable_len(chain), 116);
	assert_int_equal(chain_writable_len(chain), 51);
	segments = chain_readable_iov(chain, &count);
	assert_int_equal(count, 2);
	assert_ptr_equal(segments[1].iov_base, memory.regions[0].host + PAGE);
	assert_int_equal(segments[1].iov_len, 100);
	segments = chain_writable_iov(chain, &count);
	assert_int_equal(count, 2);
	assert_ptr_equal(segments[0].iov_base, memory.regions[0].host + 2 * PAGE);
	assert_int_equal(segments[1].iov_len, 1);
}

TEST(reading_goes_on_across_segments_and_stops_at_the_end)
{
	struct chain *chain = CHAIN_OF(0, 3, 1, 4, -8);
	char text[16] = "";

	memcpy(guest(GIB), "abc", 3);
	memcpy(guest(GIB + PAGE), "d", 1);
	memcpy(guest(GIB + 2 * PAGE), "efgh", 4);
	assert_int_equal(chain_read(chain, text, 2), 2);
	assert_string_equal(text, "ab");
	assert_int_equal(chain_readable_len(chain), 6);
	assert_int_equal(chain_read(chain, text, 4), 4);
	assert_string_equal(text, "cdef");
	assert_int_equal(chain_peek(chain, text, sizeof(text)), 2);
	assert_int_equal(chain_peek(chain, text, 1), 1);
	assert_int_equal(chain_read(chain, text, sizeof(text)), 2);
	assert_memory_equal(text, "gh", 2);
	assert_int_equal(chain_readable_len(chain), 0);
	assert_int_equal(chain_writable_len(chain), 8);
}

TEST(writing_goes_on_across_segments_and_stops_at_the_end)
{
	struct chain *chain = CHAIN_OF(0, 8, -3, -1, -4);

	assert_int_equal(chain_write(chain, "ab", 2), 2);
	assert_int_equal(chain_write(chain, "cdefghXY", 8), 6);
	assert_int_equal(chain_writable_len(chain), 0);
	assert_int_equal(chain_readable_len(chain), 8);
	assert_memory_equal(guest(GIB + PAGE), "abc\0", 4);
	assert_memory_equal(guest(GIB + 2 * PAGE), "d\0", 2);
	assert_memory_equal(guest(GIB + 3 * PAGE), "efgh\0", 5);
}

TEST(skipping_moves_the_beginning_across_segments)
{
	struct chain *chain = CHAIN_OF(0, 3, 1, 4);
	const struct iovec *segments;
	unsigned count;

	chain_skip(&chain->readable, 0);
	assert_int_equal(chain_readable_len(chain), 8);
	chain_skip(&chain->readable, 5);
	segments = chain_readable_iov(chain, &count);
	assert_int_equal(count, 1);
	assert_ptr_equal(segments->iov_base, memory.regions[0].host + 2 * PAGE + 1);
	assert_int_equal(segments->iov_len, 3);
	assert_int_equal(chain_readable_len(chain), 3);
	chain_skip(&chain->readable, 3);
	assert_int_equal(chain->readable.count, 0);
}

TEST(last_byte_is_cut_off_its_segment)
{
	struct chain *chain = CHAIN_OF(0, 16, -512, -2);
	unsigned count;

	assert_ptr_equal(chain_take_last_byte(chain), memory.regions[0].host + 2 * PAGE + 1);
	assert_int_equal(chain_writable_len(chain), 513);
	assert_ptr_equal(chain_take_last_byte(chain), memory.regions[0].host + 2 * PAGE);
	chain_writable_iov(chain, &count);
	assert_int_equal(count, 1); // a segment that is used up is gone
	assert_ptr_equal(chain_take_last_byte(chain), memory.regions[0].host + PAGE + 511);
	assert_int_equal(chain_writable_len(chain), 511);
}

TEST(last_byte_comes_from_the_writable_part_alone)
{
	struct chain *chain = CHAIN_OF(0, 16, -1);

	assert_non_null(chain_take_last_byte(chain));
	assert_null(chain_take_last_byte(chain));
	assert_int_equal(chain_readable_len(chain), 16);
}

TEST(buffer_is_split_where_regions_meet)
{
	struct chain *chain = chain_begin(&pool, 0);
	const struct iovec *segments;
	unsigned count;
	u8 bytes[8];

	memcpy(guest(GIB + REGION_LEN - 3), "abc", 3);
	memcpy(guest(GIB + REGION_LEN), "defgh", 5);
	assert_int_equal(add(chain, GIB + REGION_LEN - 3, 8, false), 0);
	segments = chain_readable_iov(chain, &count);
	assert_int_equal(count, 2);
	assert_int_equal(segments[0].iov_len, 3);
	assert_ptr_equal(segments[1].iov_base, memory.regions[1].host);
	assert_int_equal(chain_read(chain, bytes, sizeof(bytes)), 8);
	assert_memory_equal(bytes, "abcdefgh", 8);
}

TEST(unmapped_addresses_are_refused)
{
	struct chain *chain = chain_begin(&pool, 0);

	assert_int_equal(add(chain, 0, 1, false), -EFAULT);
	assert_int_equal(add(chain, GIB - 1, 2, false), -EFAULT);
	assert_int_equal(add(chain, 3 * GIB + REGION_LEN - 1, 2, false), -EFAULT);
	assert_int_equal(add(chain, UINT64_MAX, 1, true), -EFAULT);
	assert_int_equal(add(chain, UINT64_MAX - 1, UINT32_MAX, true), -EFAULT);
}

TEST(empty_buffer_adds_no_segment_wherever_it_points)
{
	struct chain *chain = chain_begin(&pool, 0);

	assert_int_equal(add(chain, 0, 0, false), 0);
	assert_int_equal(add(chain, GIB, 0, true), 0);
	assert_int_equal(chain->readable.count + chain->writable.count, 0);
}

TEST(readable_after_writable_is_told)
{
	struct chain *chain = CHAIN_OF(0, 1, -1);

	assert_int_equal(add(chain, GIB, 1, false), -EPROTO);
}

TEST(empty_readable_buffer_after_writable_ones_is_skipped)
{
	struct chain *chain = CHAIN_OF(0, 1, -1);

	assert_int_equal(add(chain, GIB, 0, false), 0);
	assert_int_equal(chain->readable.count, 1);
	assert_int_equal(add(chain, GIB, 1, true), 0);
	assert_int_equal(chain_writable_len(chain), 2);
}

// Adds one-byte buffers of ascending addresses.
static void add_bytes(struct chain *chain, unsigned from, unsigned count, bool writable)
{
	for (unsigned i = from; i < from + count; i++)
		assert_int_equal(add(chain, GIB + 2 * (u64)i, 1, writable), 0);
}

TEST(chain_that_outgrows_its_own_segments_goes_on_in_a_large_array)
{
	struct chain *chain = chain_begin(&pool, 0);
	unsigned half = CHAIN_INLINE_SEGMENTS / 2, count;
	const struct iovec *segments;

	add_bytes(chain, 0, half, false);
	add_bytes(chain, half, CHAIN_INLINE_SEGMENTS - half, true);
	assert_int_equal(chain->large, -1);
	add_bytes(chain, CHAIN_INLINE_SEGMENTS, 50, true);
	assert_true(chain->large >= 0);
	segments = chain_readable_iov(chain, &count);
	assert_int_equal(count, half);
	assert_ptr_equal(segments[half - 1].iov_base, memory.regions[0].host + 2 * (u64)(half - 1));
	segments = chain_writable_iov(chain, &count);
	assert_int_equal(count, CHAIN_INLINE_SEGMENTS - half + 50);
	for (unsigned i = 0; i < count; i++)
		assert_ptr_equal(segments[i].iov_base,
				 memory.regions[0].host + 2 * (u64)(half + i));
}

TEST(readable_buffers_alone_can_outgrow_too_and_writable_ones_follow)
{
	struct chain *chain = chain_begin(&pool, 0);
	unsigned count;
	u8 written[2] = {7, 8};

	add_bytes(chain, 0, CHAIN_INLINE_SEGMENTS + 5, false);
	add_bytes(chain, CHAIN_INLINE_SEGMENTS + 5, 2, true);
	chain_readable_iov(chain, &count);
	assert_int_equal(count, CHAIN_INLINE_SEGMENTS + 5);
	assert_int_equal(chain_write(chain, written, 2), 2);
	assert_int_equal(*guest(GIB + 2 * (u64)(CHAIN_INLINE_SEGMENTS + 6)), 8);
}

TEST(chain_of_too_many_segments_is_refused)
{
	struct chain *chain = chain_begin(&pool, 0);

	add_bytes(chain, 0, CHAIN_MAX_SEGMENTS, false);
	assert_int_equal(add(chain, GIB, 1, false), -E2BIG);
	assert_int_equal(chain->readable.count, CHAIN_MAX_SEGMENTS);
}

TEST(chain_longer_than_four_gibibytes_is_refused)
{
	const u64 len = UINT32_MAX;
	struct vm_memory large = {.count = 0};
	struct guest_memory large_memory = {.count = 0};
	struct chain *chain = chain_begin(&pool, 0);
	unsigned no_hint = 0;

	assert_true(vm_memory_add(&large, 0, len, 0) >= 0); // never touched
	unit_share(&large_memory, &large);
	assert_int_equal(chain_add(&pool, chain, &large_memory, &no_hint, (struct guest_addr){0},
				   UINT32_MAX, false),
			 0);
	assert_int_equal(
		chain_add(&pool, chain, &large_memory, &no_hint, (struct guest_addr){0}, 2, true),
		-EFAULT);
	assert_int_equal(
		chain_add(&pool, chain, &large_memory, &no_hint, (struct guest_addr){0}, 1, true),
		0); // 2^32 bytes exactly
	guest_memory_clear(&large_memory);
	vm_memory_free(&large);
}

TEST(large_arrays_run_out_and_come_back)
{
	struct chain *chain;

	for (unsigned i = 0; i < CHAIN_LARGE_COUNT; i++) {
		chain = chain_begin(&pool, (u16)i);
		add_bytes(chain, 0, CHAIN_INLINE_SEGMENTS + 1, false);
		chain_submit(&pool, chain);
	}
	chain = chain_begin(&pool, CHAIN_LARGE_COUNT);
	add_bytes(chain, 0, CHAIN_INLINE_SEGMENTS, false);
	assert_int_equal(add(chain, GIB, 1, false), -ENOBUFS);
	chain_release(&pool, &pool.chains[17]);
	assert_int_equal(add(chain, GIB, 1, false), 0);
}

TEST(released_large_arrays_are_never_lost)
{
	for (unsigned i = 0; i < 10 * CHAIN_LARGE_COUNT; i++) {
		struct chain *chain = chain_begin(&pool, (u16)(i % RING_SIZE));

		add_bytes(chain, 0, CHAIN_INLINE_SEGMENTS + 1, false);
		if (i % 2) // also without having been in flight
			chain_submit(&pool, chain);
		chain_release(&pool, chain);
	}
	assert_int_equal(pool.large_free_count, CHAIN_LARGE_COUNT);
	assert_int_equal(pool.in_flight, 0);
}

TEST(head_in_flight_cannot_begin_again)
{
	struct chain *chain = CHAIN_OF(9, 1);

	chain_submit(&pool, chain);
	assert_int_equal(pool.in_flight, 1);
	assert_null(chain_begin(&pool, 9));
	assert_non_null(chain_begin(&pool, 10));
	chain_release(&pool, chain);
	assert_int_equal(pool.in_flight, 0);
	assert_ptr_equal(chain_begin(&pool, 9), chain);
	assert_int_equal(chain_readable_len(chain), 0);
}

TEST(each_head_has_request_memory_of_its_own)
{
	for (unsigned i = 0; i < RING_SIZE; i++)
		memset(chain_pool_request(&pool, chain_begin(&pool, (u16)i)), (int)i, REQUEST_SIZE);
	for (unsigned i = 0; i < RING_SIZE; i++) {
		const u8 *request = chain_pool_request(&pool, &pool.chains[i]);

		assert_int_equal(request[0], i);
		assert_int_equal(request[REQUEST_SIZE - 1], i);
	}
}

TEST(pool_of_the_largest_ring_without_request_memory_is_legal)
{
	struct chain_pool largest;
	struct chain *chain;

	assert_int_equal(chain_pool_init(&largest, 32768, 0), 0);
	chain = chain_begin(&largest, 32767);
	assert_int_equal(chain->head, 32767);
	assert_int_equal(
		chain_add(&largest, chain, &memory, &hint, (struct guest_addr){GIB}, 5, true), 0);
	chain_pool_fini(&largest);
}

#define CHAIN_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHAIN_TEST(new_chain_is_empty),
		CHAIN_TEST(parts_are_told_apart_and_translated),
		CHAIN_TEST(reading_goes_on_across_segments_and_stops_at_the_end),
		CHAIN_TEST(writing_goes_on_across_segments_and_stops_at_the_end),
		CHAIN_TEST(skipping_moves_the_beginning_across_segments),
		CHAIN_TEST(last_byte_is_cut_off_its_segment),
		CHAIN_TEST(last_byte_comes_from_the_writable_part_alone),
		CHAIN_TEST(buffer_is_split_where_regions_meet),
		CHAIN_TEST(unmapped_addresses_are_refused),
		CHAIN_TEST(empty_buffer_adds_no_segment_wherever_it_points),
		CHAIN_TEST(readable_after_writable_is_told),
		CHAIN_TEST(empty_readable_buffer_after_writable_ones_is_skipped),
		CHAIN_TEST(chain_that_outgrows_its_own_segments_goes_on_in_a_large_array),
		CHAIN_TEST(readable_buffers_alone_can_outgrow_too_and_writable_ones_follow),
		CHAIN_TEST(chain_of_too_many_segments_is_refused),
		CHAIN_TEST(chain_longer_than_four_gibibytes_is_refused),
		CHAIN_TEST(large_arrays_run_out_and_come_back),
		CHAIN_TEST(released_large_arrays_are_never_lost),
		CHAIN_TEST(head_in_flight_cannot_begin_again),
		CHAIN_TEST(each_head_has_request_memory_of_its_own),
		CHAIN_TEST(pool_of_the_largest_ring_without_request_memory_is_legal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
