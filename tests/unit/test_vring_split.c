// SPDX-License-Identifier: Apache-2.0
// Tests of core/vring_split.c: what drivers may do. What they may not is in test_vring_split_break.c, when either
// side tells the other in test_vring_split_notify.c.
#include "tests/unit/ring.h"

#include <endian.h>
#include <string.h>

#define INDIRECT BIT64(VIRTIO_F_INDIRECT_DESC)

enum { LARGEST = 32768 };

static struct unit_ring ring;

static int teardown(void **state)
{
	(void)state;
	unit_ring_close(&ring);
	return 0;
}

// The driver's next completion, which must be this head with this length.
static void expect_used(u16 head, u32 len)
{
	struct vm_completion completion;

	assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
	assert_int_equal(completion.head, head);
	assert_int_equal(completion.len, len);
}

static void expect_nothing_used(void)
{
	struct vm_completion completion;

	assert_int_equal(vm_ring_take(&ring.driver, &completion), 0);
}

TEST(empty_ring_has_no_chain)
{
	unit_ring_open(&ring, 8, 0, 0);
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(ring.vring.state, VRING_EMPTY);
}

TEST(chain_that_is_not_shown_is_not_seen)
{
	struct vm_buffer buffer = {.addr = UNIT_RING_GUEST, .len = 1};

	unit_ring_open(&ring, 8, 0, 0);
	assert_int_equal(vm_ring_add(&ring.driver, &buffer, 1, NULL), 0);
	assert_null(vring_pop(&ring.vring));
	vm_ring_show(&ring.driver);
	assert_non_null(vring_pop(&ring.vring));
}

TEST(chain_carries_bytes_both_ways)
{
	struct vm_buffer buffers[2];
	char request[6] = "";
	struct chain *chain;

	unit_ring_open(&ring, 8, 0, 0);
	buffers[0] = (struct vm_buffer){.addr = vm_memory_alloc(&ring.vm, 5, 1), .len = 5};
	buffers[1] = (struct vm_buffer){
		.addr = vm_memory_alloc(&ring.vm, 7, 1), .len = 7, .write = true};
	memcpy(vm_memory_at(&ring.vm, buffers[0].addr, 5), "hello", 5);
	assert_int_equal(vm_ring_add(&ring.driver, buffers, 2, NULL), 0);
	vm_ring_show(&ring.driver);
	chain = unit_ring_pop(&ring);
	assert_int_equal(chain_readable_len(chain), 5);
	assert_int_equal(chain_writable_len(chain), 7);
	assert_int_equal(chain_read(chain, request, 5), 5);
	assert_string_equal(request, "hello");
	assert_int_equal(chain_write(chain, "welcome", 7), 7);
	vring_push(&ring.vring, chain, 7);
	unit_ring_turn(&ring);
	expect_used(0, 7);
	assert_memory_equal(vm_memory_at(&ring.vm, buffers[1].addr, 7), "welcome", 7);
}

TEST(answers_are_shown_at_the_end_of_the_turn)
{
	u16 head;

	unit_ring_open(&ring, 8, 0, 0);
	head = unit_ring_add(&ring, 1, 0);
	vring_push(&ring.vring, unit_ring_pop(&ring), 0);
	expect_nothing_used();
	unit_ring_turn(&ring);
	expect_used(head, 0);
	expect_nothing_used();
}

TEST(chains_complete_in_any_order)
{
	enum { SIZE = 64 };
	struct chain *chains[SIZE];
	u64 seed = 1;

	unit_ring_open(&ring, SIZE, 0, 0);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < SIZE / 2; i++) {
			unit_ring_add(&ring, 4, 4);
			chains[i] = unit_ring_pop(&ring);
		}
		for (unsigned i = SIZE / 2; i > 0; i--) {
			unsigned pick = unit_random(&seed) % i;
			struct chain *chain = chains[pick];
			u16 head = chain->head;

			chains[pick] = chains[i - 1];
			vring_push(&ring.vring, chain, head + 1u);
			unit_ring_turn(&ring);
			expect_used(head, head + 1u);
		}
		expect_nothing_used();
		assert_int_equal(ring.driver.free_count, SIZE);
	}
}

// Lets the driver, too, begin at this index of a new ring.
static void begin_at(u16 index)
{
	ring.driver.avail_idx = ring.driver.shown_idx = ring.driver.used_idx = index;
	ring.driver.avail->idx = ring.driver.used->idx = htole16(index);
	assert_int_equal(unit_ring_place(&ring, 0, index), 0);
}

TEST(indices_wrap_at_sixteen_bits)
{
	unit_ring_open(&ring, 4, 0, 0);
	begin_at(65530);
	for (unsigned i = 0; i < 70000; i++) {
		const struct vm_buffer buffer = {.addr = UNIT_RING_GUEST, .len = 1};
		int head = vm_ring_add(&ring.driver, &buffer, 1, NULL);

		vm_ring_show(&ring.driver);
		vring_push(&ring.vring, unit_ring_pop(&ring), i);
		vring_publish(&ring.vring);
		expect_used((u16)head, i);
	}
	deferred_cancel(&ring.vring.publish);
	expect_nothing_used();
}

TEST(ring_goes_on_where_its_base_and_used_index_say)
{
	u16 head;

	unit_ring_open(&ring, 8, 0, 0);
	begin_at(1000);
	assert_null(vring_pop(&ring.vring));
	head = unit_ring_add(&ring, 1, 0);
	vring_push(&ring.vring, unit_ring_pop(&ring), 3);
	unit_ring_turn(&ring);
	expect_used(head, 3);
	assert_int_equal(le16toh(ring.driver.used->idx), 1001);
	assert_int_equal(ring.vring.last_avail, 1001);
}

static void fill_and_answer(u16 size)
{
	struct chain *chain;
	unsigned popped = 0;

	for (unsigned i = 0; i < size; i++) {
		const struct vm_buffer buffer = {.addr = UNIT_RING_GUEST + i, .len = 1};

		assert_true(vm_ring_add(&ring.driver, &buffer, 1, NULL) >= 0);
	}
	vm_ring_show(&ring.driver);
	for (unsigned turn = 0; turn <= size; turn++) {
		vring_begin_turn(&ring.vring);
		while ((chain = vring_pop(&ring.vring))) {
			vring_push(&ring.vring, chain, chain->head);
			popped++;
		}
	}
	unit_ring_turn(&ring);
	assert_int_equal(popped, size);
	for (unsigned i = 0; i < size; i++)
		expect_used((u16)i, i);
}

TEST(full_rings_of_all_sizes_are_served)
{
	for (unsigned size = 1; size <= LARGEST; size *= 2) {
		unit_ring_open(&ring, (u16)size, 0, 0);
		fill_and_answer((u16)size);
		if (size < LARGEST)
			unit_ring_close(&ring);
	}
}

TEST(buffer_across_regions_becomes_two_segments)
{
	const u64 border = UNIT_RING_GUEST + UNIT_RING_REGION;
	const struct vm_buffer buffer = {.addr = border - 10, .len = 30, .write = true};
	const struct iovec *segments;
	unsigned count;

	unit_ring_open(&ring, 8, 0, 0);
	vm_ring_add(&ring.driver, &buffer, 1, NULL);
	vm_ring_show(&ring.driver);
	segments = chain_writable_iov(unit_ring_pop(&ring), &count);
	assert_int_equal(count, 2);
	assert_int_equal(segments[0].iov_len, 10);
	assert_int_equal(segments[1].iov_len, 20);
	assert_ptr_equal(segments[1].iov_base, ring.memory.regions[1].host);
}

// Adds `count` buffers of one byte, the first `direct` of them direct; answers the chain.
static struct chain *pop_mixed(unsigned count, unsigned direct)
{
	static struct vm_buffer buffers[2048];

	for (unsigned i = 0; i < count; i++)
		buffers[i] = (struct vm_buffer){
			.addr = UNIT_RING_GUEST + 3 * (u64)i, .len = 1, .write = i >= count / 2};
	assert_true(vm_ring_add_mixed(&ring.driver, buffers, count, direct, NULL) >= 0);
	vm_ring_show(&ring.driver);
	return unit_ring_pop(&ring);
}

static void expect_mixed(const struct chain *chain, unsigned count)
{
	const u8 *host = ring.memory.regions[0].host;
	const struct iovec *segments;
	unsigned readable, writable;

	segments = chain_readable_iov(chain, &readable);
	chain_writable_iov(chain, &writable);
	assert_int_equal(readable, count / 2);
	assert_int_equal(writable, count - count / 2);
	for (unsigned i = 0; i < count; i++)
		assert_ptr_equal(segments[i].iov_base, host + 3 * (size_t)i);
}

TEST(indirect_table_is_walked)
{
	unit_ring_open(&ring, 8, INDIRECT, 16);
	expect_mixed(pop_mixed(16, 0), 16);
}

TEST(direct_descriptors_may_come_before_an_indirect_one)
{
	unit_ring_open(&ring, 16, INDIRECT, 16);
	expect_mixed(pop_mixed(10, 3), 10);
	expect_mixed(pop_mixed(20, 4), 20);
}

TEST(indirect_table_may_be_longer_than_the_ring)
{
	unit_ring_open(&ring, 4, INDIRECT, 1024);
	expect_mixed(pop_mixed(1024, 0), 1024);
	expect_mixed(pop_mixed(1025, 1), 1025);
}

TEST(direct_chain_may_take_the_whole_ring)
{
	unit_ring_open(&ring, 64, 0, 0);
	expect_mixed(pop_mixed(64, 64), 64);
}

TEST(write_flag_of_an_indirect_descriptor_is_ignored)
{
	unit_ring_open(&ring, 8, INDIRECT, 16);
	vm_ring_add(&ring.driver,
		    (struct vm_buffer[]){{.addr = UNIT_RING_GUEST, .len = 1},
					 {.addr = UNIT_RING_GUEST + 1, .len = 2, .write = true}},
		    2, NULL);
	ring.driver.desc[0].flags |= htole16(VM_DESC_F_WRITE);
	vm_ring_show(&ring.driver);
	assert_int_equal(chain_readable_len(unit_ring_pop(&ring)), 1);
}

TEST(unknown_descriptor_flags_are_ignored)
{
	unit_ring_open(&ring, 8, 0, 0);
	unit_ring_add(&ring, 5, 6);
	for (unsigned i = 0; i < 2; i++)
		ring.driver.desc[i].flags |= htole16(0xfff8);
	assert_int_equal(chain_writable_len(unit_ring_pop(&ring)), 6);
}

// Moves the table of the chain that was added last.
static void move_table(u64 addr)
{
	struct vm_desc *desc = &ring.driver.desc[0];
	void *from = vm_memory_at(&ring.vm, le64toh(desc->addr), le32toh(desc->len));
	void *first = vm_memory_at(&ring.vm, addr, 16);

	memcpy(first, from, 16);
	memcpy(vm_memory_at(&ring.vm, addr + 16, 16), (u8 *)from + 16, 16);
	desc->addr = htole64(addr);
}

TEST(indirect_table_may_cross_regions_and_lie_at_any_address)
{
	const struct vm_buffer buffers[2] = {{.addr = UNIT_RING_GUEST, .len = 4},
					     {.addr = UNIT_RING_GUEST, .len = 5, .write = true}};
	struct chain *chain;

	unit_ring_open(&ring, 8, INDIRECT, 2);
	vm_ring_add(&ring.driver, buffers, 2, NULL);
	move_table(UNIT_RING_GUEST + UNIT_RING_REGION - 16);
	vm_ring_show(&ring.driver);
	chain = unit_ring_pop(&ring);
	assert_int_equal(chain_readable_len(chain), 4);
	assert_int_equal(chain_writable_len(chain), 5);
	vring_push(&ring.vring, chain, 0);
	unit_ring_turn(&ring);
	expect_used(0, 0);
	vm_ring_add(&ring.driver, buffers, 2, NULL);
	move_table(UNIT_RING_GUEST + 0x100001);
	vm_ring_show(&ring.driver);
	assert_int_equal(chain_writable_len(unit_ring_pop(&ring)), 5);
}

TEST(descriptors_that_change_after_the_pop_change_nothing)
{
	struct chain *chain;

	unit_ring_open(&ring, 8, INDIRECT, 16);
	chain = pop_mixed(16, 0);
	memset(ring.driver.tables, 0xff, 16 * sizeof(struct vm_desc));
	memset(ring.driver.desc, 0xff, 8 * sizeof(struct vm_desc));
	expect_mixed(chain, 16);
	vring_push(&ring.vring, chain, 1);
	unit_ring_turn(&ring);
	expect_used(0, 1);
}

TEST(empty_buffers_are_passed_over)
{
	const struct vm_buffer buffers[3] = {
		{.addr = 0, .len = 0}, {.addr = UNIT_RING_GUEST, .len = 3}, {.addr = 0, .len = 0}};
	struct chain *chain;

	unit_ring_open(&ring, 8, 0, 0);
	vm_ring_add(&ring.driver, buffers, 3, NULL);
	vm_ring_show(&ring.driver);
	chain = unit_ring_pop(&ring);
	assert_int_equal(chain->readable.count, 1);
	assert_int_equal(chain_readable_len(chain), 3);
}

// The device never sees a chain like this; the driver gets it back, and the next chain is served.
static void expect_refused(const struct vm_buffer *buffers, unsigned count, unsigned direct)
{
	int bad = vm_ring_add_mixed(&ring.driver, buffers, count, direct, NULL);
	struct chain *chain;
	u16 good;

	assert_true(bad >= 0);
	good = unit_ring_add(&ring, 9, 0);
	chain = unit_ring_pop(&ring);
	assert_int_equal(chain->head, good);
	assert_int_equal(chain_readable_len(chain), 9);
	vring_push(&ring.vring, chain, 1);
	unit_ring_turn(&ring);
	expect_used((u16)bad, 0);
	expect_used(good, 1);
	assert_int_equal(unit_ring_errors(&ring), 0);
	assert_int_equal(ring.vring.pool.large_free_count, CHAIN_LARGE_COUNT);
}

TEST(chain_outside_guest_memory_is_given_back)
{
	unit_ring_open(&ring, 8, 0, 0);
	expect_refused(&(struct vm_buffer){.addr = 0, .len = 1}, 1, 1);
	expect_refused(&(struct vm_buffer){.addr = UINT64_MAX, .len = 2}, 1, 1);
	expect_refused(&(struct vm_buffer){.addr = UINT64_MAX - 1, .len = UINT32_MAX}, 1, 1);
	expect_refused(&(struct vm_buffer){.addr = UNIT_RING_GUEST + UNIT_RING_LEN - 1, .len = 2},
		       1, 1);
	assert_int_equal(ring.vring.refused_chains, 4);
}

TEST(indirect_table_outside_guest_memory_is_given_back)
{
	u16 head;

	unit_ring_open(&ring, 8, INDIRECT, 2);
	head = unit_ring_add(&ring, 1, 1);
	ring.driver.desc[head].addr = htole64(UNIT_RING_GUEST - 16);
	vring_begin_turn(&ring.vring);
	assert_null(vring_pop(&ring.vring));
	unit_ring_turn(&ring);
	expect_used(head, 0);
	assert_int_equal(unit_ring_errors(&ring), 0);
}

TEST(chain_of_too_many_segments_is_given_back)
{
	static struct vm_buffer buffers[1024];

	unit_ring_open(&ring, 8, INDIRECT, 1024);
	for (unsigned i = 0; i < 1024; i++) // two segments each
		buffers[i] = (struct vm_buffer){.addr = UNIT_RING_GUEST + UNIT_RING_REGION - 1,
						.len = 2};
	expect_refused(buffers, 1024, 0);
}

TEST(refused_chains_are_logged_once)
{
	const char *text;

	unit_ring_open(&ring, 8, 0, 0);
	unit_capture(STDERR_FILENO);
	for (unsigned i = 0; i < 3; i++)
		vm_ring_add(&ring.driver, &(struct vm_buffer){.addr = 0, .len = 1}, 1, NULL);
	vm_ring_show(&ring.driver);
	assert_null(vring_pop(&ring.vring));
	text = unit_captured();
	assert_non_null(strstr(text, "refused"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	unit_ring_turn(&ring);
}

TEST(misaligned_ring_is_not_placed)
{
	struct vring_layout layout;
	u64 start;

	unit_ring_open(&ring, 8, 0, 0);
	start = ring.vm.regions[0].wire.user_addr;
	for (unsigned i = 0; i < 3; i++) {
		layout = (struct vring_layout){.num = 8,
					       .desc.value = start + (i == 0 ? 8 : 0),
					       .avail.value = start + (i == 1 ? 1 : 0),
					       .used.value = start + (i == 2 ? 2 : 0)};
		assert_true(vring_place(&ring.vring, &ring.memory, NULL, &layout, 0) < 0);
	}
	layout = (struct vring_layout){
		.num = 8, .desc.value = start, .avail.value = start, .used.value = start};
	assert_int_equal(vring_place(&ring.vring, &ring.memory, NULL, &layout, 0), 0);
}

TEST(ring_that_does_not_end_in_its_region_is_not_placed)
{
	// bytes of each part of a ring of eight: the event words count
	const u64 lens[3] = {128, 22, 70};
	u64 start, end;

	unit_ring_open(&ring, 8, 0, 0);
	start = ring.vm.regions[0].wire.user_addr;
	end = start + UNIT_RING_REGION;
	for (unsigned i = 0; i < 3; i++) {
		u64 last = (end - lens[i]) & ~UINT64_C(15);
		u64 parts[3] = {start, start, start};
		struct vring_layout layout;

		for (unsigned j = 0; j < 2; j++) {
			parts[i] = last + (u64)j * 16;
			layout = (struct vring_layout){.num = 8,
						       .desc.value = parts[0],
						       .avail.value = parts[1],
						       .used.value = parts[2]};
			assert_int_equal(
				vring_place(&ring.vring, &ring.memory, NULL, &layout, 0) < 0, j);
		}
	}
}

#define RING_TEST(name) RUN_WITH(NULL, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(empty_ring_has_no_chain),
		RING_TEST(chain_that_is_not_shown_is_not_seen),
		RING_TEST(chain_carries_bytes_both_ways),
		RING_TEST(answers_are_shown_at_the_end_of_the_turn),
		RING_TEST(chains_complete_in_any_order),
		RING_TEST(indices_wrap_at_sixteen_bits),
		RING_TEST(ring_goes_on_where_its_base_and_used_index_say),
		RING_TEST(full_rings_of_all_sizes_are_served),
		RING_TEST(buffer_across_regions_becomes_two_segments),
		RING_TEST(indirect_table_is_walked),
		RING_TEST(direct_descriptors_may_come_before_an_indirect_one),
		RING_TEST(indirect_table_may_be_longer_than_the_ring),
		RING_TEST(direct_chain_may_take_the_whole_ring),
		RING_TEST(write_flag_of_an_indirect_descriptor_is_ignored),
		RING_TEST(unknown_descriptor_flags_are_ignored),
		RING_TEST(indirect_table_may_cross_regions_and_lie_at_any_address),
		RING_TEST(descriptors_that_change_after_the_pop_change_nothing),
		RING_TEST(empty_buffers_are_passed_over),
		RING_TEST(chain_outside_guest_memory_is_given_back),
		RING_TEST(indirect_table_outside_guest_memory_is_given_back),
		RING_TEST(chain_of_too_many_segments_is_given_back),
		RING_TEST(refused_chains_are_logged_once),
		RING_TEST(misaligned_ring_is_not_placed),
		RING_TEST(ring_that_does_not_end_in_its_region_is_not_placed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
