// SPDX-License-Identifier: Apache-2.0
// Tests of core/vring_split.c: what no driver may do breaks the ring, which is told once, and nothing else.
#include "tests/unit/ring.h"

#include <endian.h>
#include <string.h>

#define INDIRECT BIT64(VIRTIO_F_INDIRECT_DESC)

enum { SIZE = 8 };

static struct unit_ring ring;

static int setup(void **state)
{
	(void)state;
	unit_ring_open(&ring, SIZE, INDIRECT, 16);
	return 0;
}

static int setup_without_indirect(void **state)
{
	(void)state;
	unit_ring_open(&ring, SIZE, 0, 16);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unit_ring_close(&ring);
	return 0;
}

// The next pop breaks the ring: the front-end is told once, and no chain comes any more.
static void expect_break(void)
{
	vring_begin_turn(&ring.vring);
	assert_null(vring_pop(&ring.vring));
	assert_true(ring.vring.broken);
	assert_false(vring_end_turn(&ring.vring));
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(unit_ring_errors(&ring), 1);
	assert_int_equal(ring.vring.pool.large_free_count, CHAIN_LARGE_COUNT);
	assert_true(vring_idle(&ring.vring));
}

static void write_desc(struct vm_desc *desc, u64 addr, u32 len, u16 flags, u16 next)
{
	*desc = (struct vm_desc){.addr = htole64(addr),
				 .len = htole32(len),
				 .flags = htole16(flags),
				 .next = htole16(next)};
}

// A readable descriptor of one byte that goes on at `next`.
static void link_desc(u16 index, u16 next)
{
	write_desc(&ring.driver.desc[index], UNIT_RING_GUEST, 1, VM_DESC_F_NEXT, next);
}

// Makes the chain at `head` available.
static void show(u16 head)
{
	ring.driver.avail->ring[ring.driver.avail_idx++ % SIZE] = htole16(head);
	vm_ring_show(&ring.driver);
}

TEST(available_index_too_far_ahead_breaks)
{
	ring.driver.avail->idx = htole16(SIZE + 1);
	expect_break();
}

TEST(available_index_that_goes_back_breaks)
{
	unit_ring_add(&ring, 1, 0);
	vring_push(&ring.vring, unit_ring_pop(&ring), 0);
	unit_ring_turn(&ring);
	ring.driver.avail->idx = htole16(0);
	expect_break();
}

TEST(head_outside_the_ring_breaks)
{
	show(SIZE);
	expect_break();
}

TEST(head_far_outside_the_ring_breaks)
{
	show(UINT16_MAX);
	expect_break();
}

TEST(next_outside_the_ring_breaks)
{
	link_desc(0, SIZE);
	show(0);
	expect_break();
}

TEST(descriptor_that_is_its_own_next_breaks)
{
	link_desc(3, 3);
	show(3);
	expect_break();
}

TEST(loop_of_all_descriptors_breaks)
{
	for (unsigned i = 0; i < SIZE; i++)
		link_desc((u16)i, (u16)((i + 1) % SIZE));
	show(0);
	expect_break();
}

TEST(loop_of_empty_descriptors_breaks)
{
	write_desc(&ring.driver.desc[0], 0, 0, VM_DESC_F_NEXT, 1);
	write_desc(&ring.driver.desc[1], 0, 0, VM_DESC_F_NEXT, 0);
	show(0);
	expect_break();
}

TEST(readable_descriptor_after_a_writable_one_breaks)
{
	write_desc(&ring.driver.desc[0], UNIT_RING_GUEST, 1, VM_DESC_F_NEXT | VM_DESC_F_WRITE, 1);
	write_desc(&ring.driver.desc[1], UNIT_RING_GUEST, 1, 0, 0);
	show(0);
	expect_break();
}

// An indirect descriptor at 0, with a table whose entries are chained in a row and of one readable byte each.
static struct vm_desc *add_table(u32 len, u16 flags)
{
	for (u16 i = 0; i < 16; i++)
		write_desc(&ring.driver.tables[i], UNIT_RING_GUEST, 1, VM_DESC_F_NEXT,
			   (u16)(i + 1));
	ring.driver.tables[15].flags = 0;
	write_desc(&ring.driver.desc[0], ring.driver.tables_addr, len,
		   (u16)(VM_DESC_F_INDIRECT | flags), 1);
	write_desc(&ring.driver.desc[1], UNIT_RING_GUEST, 1, 0, 0);
	show(0);
	return ring.driver.tables;
}

TEST(indirect_descriptor_that_was_not_negotiated_breaks)
{
	add_table(256, 0);
	expect_break();
}

TEST(indirect_descriptor_with_a_next_one_breaks)
{
	add_table(256, VM_DESC_F_NEXT);
	expect_break();
}

TEST(indirect_descriptor_in_an_indirect_table_breaks)
{
	struct vm_desc *table = add_table(256, 0);

	write_desc(&table[7], ring.driver.tables_addr, 256, VM_DESC_F_INDIRECT, 0);
	expect_break();
}

TEST(empty_indirect_table_breaks)
{
	add_table(0, 0);
	expect_break();
}

TEST(indirect_table_of_broken_descriptors_breaks)
{
	add_table(255, 0);
	expect_break();
}

TEST(indirect_table_that_is_too_long_breaks)
{
	add_table(1025 * 16, 0);
	expect_break();
}

TEST(indirect_table_of_four_gibibytes_breaks)
{
	add_table(0xfffffff0, 0);
	expect_break();
}

TEST(next_outside_the_indirect_table_breaks)
{
	add_table(256, 0)[15].flags = htole16(VM_DESC_F_NEXT);
	expect_break();
}

TEST(loop_in_an_indirect_table_breaks)
{
	write_desc(&add_table(256, 0)[9], UNIT_RING_GUEST, 1, VM_DESC_F_NEXT, 2);
	expect_break();
}

TEST(readable_descriptor_after_a_writable_one_in_a_table_breaks)
{
	struct vm_desc *table = add_table(256, 0);

	table[14].flags = htole16(VM_DESC_F_NEXT | VM_DESC_F_WRITE);
	expect_break();
}

TEST(direct_writable_descriptor_before_a_readable_table_breaks)
{
	add_table(256, 0);
	ring.driver.desc[1] = ring.driver.desc[0];
	write_desc(&ring.driver.desc[0], UNIT_RING_GUEST, 1, VM_DESC_F_NEXT | VM_DESC_F_WRITE, 1);
	expect_break();
}

TEST(head_that_is_in_flight_breaks_and_can_still_be_answered)
{
	struct vm_completion completion;
	struct chain *chain;
	u16 head = unit_ring_add(&ring, 5, 5);

	chain = unit_ring_pop(&ring);
	ring.driver.avail->ring[ring.driver.avail_idx % SIZE] = htole16(head);
	ring.driver.avail->idx = htole16((u16)(ring.driver.avail_idx + 1));
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(unit_ring_errors(&ring), 1);
	assert_int_equal(chain_readable_len(chain), 5); // the one in flight is as it was
	vring_push(&ring.vring, chain, 3);
	unit_ring_turn(&ring);
	assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
	assert_int_equal(completion.head, head);
	assert_int_equal(completion.len, 3);
	assert_true(vring_idle(&ring.vring));
}

TEST(chains_before_the_bad_one_are_served)
{
	struct vm_completion completion;
	u16 head = unit_ring_add(&ring, 1, 0);

	show(SIZE + 3);
	vring_push(&ring.vring, unit_ring_pop(&ring), 1);
	expect_break();
	unit_ring_turn(&ring);
	assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
	assert_int_equal(completion.head, head);
	assert_int_equal(vm_ring_take(&ring.driver, &completion), 0);
}

TEST(broken_ring_does_not_wake_by_itself)
{
	show(SIZE);
	expect_break();
	unit_ring_turn(&ring);
	assert_int_equal(ring.wakes, 0);
}

#define BREAK_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BREAK_TEST(available_index_too_far_ahead_breaks),
		BREAK_TEST(available_index_that_goes_back_breaks),
		BREAK_TEST(head_outside_the_ring_breaks),
		BREAK_TEST(head_far_outside_the_ring_breaks),
		BREAK_TEST(next_outside_the_ring_breaks),
		BREAK_TEST(descriptor_that_is_its_own_next_breaks),
		BREAK_TEST(loop_of_all_descriptors_breaks),
		BREAK_TEST(loop_of_empty_descriptors_breaks),
		BREAK_TEST(readable_descriptor_after_a_writable_one_breaks),
		RUN_WITH(setup_without_indirect, indirect_descriptor_that_was_not_negotiated_breaks,
			 teardown),
		BREAK_TEST(indirect_descriptor_with_a_next_one_breaks),
		BREAK_TEST(indirect_descriptor_in_an_indirect_table_breaks),
		BREAK_TEST(empty_indirect_table_breaks),
		BREAK_TEST(indirect_table_of_broken_descriptors_breaks),
		BREAK_TEST(indirect_table_that_is_too_long_breaks),
		BREAK_TEST(indirect_table_of_four_gibibytes_breaks),
		BREAK_TEST(next_outside_the_indirect_table_breaks),
		BREAK_TEST(loop_in_an_indirect_table_breaks),
		BREAK_TEST(readable_descriptor_after_a_writable_one_in_a_table_breaks),
		BREAK_TEST(direct_writable_descriptor_before_a_readable_table_breaks),
		BREAK_TEST(head_that_is_in_flight_breaks_and_can_still_be_answered),
		BREAK_TEST(chains_before_the_bad_one_are_served),
		BREAK_TEST(broken_ring_does_not_wake_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
