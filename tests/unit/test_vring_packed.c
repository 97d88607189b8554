// SPDX-License-Identifier: Apache-2.0
// Tests of core/vring_packed.c: positions and wraps, notifications both ways, and what breaks a ring.
#include "tests/unit/ring.h"

#include <endian.h>
#include <string.h>

#define PACKED BIT64(VIRTIO_F_RING_PACKED)
#define INDIRECT BIT64(VIRTIO_F_INDIRECT_DESC)
#define EVENT_IDX BIT64(VIRTIO_F_EVENT_IDX)

static struct unit_ring ring;

static int teardown(void **state)
{
	(void)state;
	unit_ring_close(&ring);
	return 0;
}

static void expect_used(u16 id, u32 len)
{
	struct vm_completion completion;

	assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
	assert_int_equal(completion.head, id);
	assert_int_equal(completion.len, len);
}

static void expect_nothing_used(void)
{
	struct vm_completion completion;

	assert_int_equal(vm_ring_take(&ring.driver, &completion), 0);
}

// Adds and shows a chain of so many readable buffers of one byte; its id.
static u16 add(unsigned count)
{
	struct vm_buffer buffers[64];
	int id;

	for (unsigned i = 0; i < count; i++)
		buffers[i] = (struct vm_buffer){.addr = UNIT_RING_GUEST + i, .len = 1};
	id = vm_ring_add_mixed(&ring.driver, buffers, count, count, NULL);
	assert_true(id >= 0);
	vm_ring_show(&ring.driver);
	return (u16)id;
}

static void answer_next(u32 written)
{
	vring_push(&ring.vring, unit_ring_pop(&ring), written);
	unit_ring_turn(&ring);
}

TEST(empty_ring_has_no_chain)
{
	unit_ring_open(&ring, 8, PACKED, 0);
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(ring.vring.state, VRING_EMPTY);
}

static void fill_and_answer(u16 size)
{
	struct chain *chain;

	for (unsigned i = 0; i < size; i++) {
		const struct vm_buffer buffer = {.addr = UNIT_RING_GUEST, .len = 1};

		assert_true(vm_ring_add(&ring.driver, &buffer, 1, NULL) >= 0);
	}
	vm_ring_show(&ring.driver);
	for (unsigned done = 0; done < size;) {
		vring_begin_turn(&ring.vring);
		for (; (chain = vring_pop(&ring.vring)); done++)
			vring_push(&ring.vring, chain, chain->head);
	}
	unit_ring_turn(&ring);
	for (unsigned i = 0; i < size; i++) {
		struct vm_completion completion;

		assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
		assert_int_equal(completion.len, completion.head);
	}
	expect_nothing_used();
}

TEST(full_rings_of_all_kinds_of_sizes_are_served)
{
	static const u16 sizes[] = {1, 2, 3, 5, 7, 64, 100, 1000, 1024, 32767, 32768};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		unit_ring_open(&ring, sizes[i], PACKED, 0);
		for (unsigned round = 0; round < 3; round++)
			fill_and_answer(sizes[i]);
		assert_int_equal(vring_base(&ring.vring), vm_ring_base(&ring.driver));
		if (i + 1 < ARRAY_SIZE(sizes))
			unit_ring_close(&ring);
	}
}

TEST(chains_as_long_as_the_ring_flip_the_wrap_counter)
{
	unit_ring_open(&ring, 5, PACKED, 0);
	for (unsigned i = 0; i < 7; i++) {
		u16 id = add(5);

		assert_int_equal(vring_base(&ring.vring), i % 2 ? 0 : 0x80008000);
		answer_next(i);
		expect_used(id, i);
	}
}

// Chains of 1 to 3 descriptors, in a ring of 7, answered in any order.
TEST(chains_complete_in_any_order_at_every_position)
{
	struct chain *chains[8] = {NULL};
	unsigned in_flight = 0;
	u64 seed = 1;

	unit_ring_open(&ring, 7, PACKED, 0);
	for (unsigned i = 0; i < 5000; i++) {
		unsigned descs = 1 + unit_random(&seed) % 3, pick;
		struct chain *chain;

		while (ring.driver.free_count >= descs) {
			add(descs);
			chains[in_flight] = unit_ring_pop(&ring);
			assert_int_equal(chains[in_flight++]->readable.count, descs);
		}
		assert(in_flight > 0);
		pick = unit_random(&seed) % in_flight;
		chain = chains[pick];
		chains[pick] = chains[--in_flight];
		vring_push(&ring.vring, chain, i);
		unit_ring_turn(&ring);
		expect_used(chain->head, i);
		expect_nothing_used();
	}
}

TEST(batch_is_seen_whole_when_its_first_flags_are_stored)
{
	u16 ids[3];

	unit_ring_open(&ring, 4, PACKED, 0);
	for (unsigned i = 0; i < 3; i++)
		ids[i] = add(1);
	for (unsigned i = 0; i < 3; i++) {
		vring_push(&ring.vring, unit_ring_pop(&ring), i);
		expect_nothing_used();
	}
	unit_ring_turn(&ring);
	for (unsigned i = 0; i < 3; i++)
		expect_used(ids[i], i);
	expect_nothing_used();
}

TEST(used_descriptor_says_whether_bytes_were_written)
{
	unit_ring_open(&ring, 4, PACKED, 0);
	add(1);
	add(1);
	answer_next(0);
	answer_next(9);
	assert_int_equal(le16toh(ring.driver.packed_desc[0].flags),
			 VM_PACKED_F_AVAIL | VM_PACKED_F_USED);
	assert_int_equal(le16toh(ring.driver.packed_desc[1].flags),
			 VM_PACKED_F_AVAIL | VM_PACKED_F_USED | VM_DESC_F_WRITE);
}

TEST(indirect_tables_are_read_alone_and_behind_direct_descriptors)
{
	struct vm_buffer buffers[4];

	unit_ring_open(&ring, 6, PACKED | INDIRECT, 4);
	for (unsigned i = 0; i < 4; i++)
		buffers[i] = (struct vm_buffer){
			.addr = UNIT_RING_GUEST + (u64)i * 64, .len = 10 + i, .write = i >= 2};
	for (unsigned direct = 0; direct <= 4; direct++) {
		struct chain *chain;
		int id = vm_ring_add_mixed(&ring.driver, buffers, 4, direct, NULL);

		assert_true(id >= 0);
		vm_ring_show(&ring.driver);
		chain = unit_ring_pop(&ring);
		assert_int_equal(chain->readable.len, 10 + 11);
		assert_int_equal(chain->writable.len, 12 + 13);
		vring_push(&ring.vring, chain, 1);
		unit_ring_turn(&ring);
		expect_used((u16)id, 1);
	}
}

TEST(write_flag_alone_counts_in_an_indirect_table)
{
	const struct vm_buffer buffers[] = {{.addr = UNIT_RING_GUEST, .len = 1},
					    {.addr = UNIT_RING_GUEST, .len = 2, .write = true}};
	struct chain *chain;

	unit_ring_open(&ring, 8, PACKED | INDIRECT, 2);
	assert_true(vm_ring_add(&ring.driver, buffers, 2, NULL) >= 0);
	for (unsigned i = 0; i < 2; i++) {
		ring.driver.packed_tables[i].flags |= htole16((u16)~VM_DESC_F_WRITE);
		ring.driver.packed_tables[i].id = 0xffff;
	}
	vm_ring_show(&ring.driver);
	chain = unit_ring_pop(&ring);
	assert_int_equal(chain_readable_len(chain), 1);
	assert_int_equal(chain_writable_len(chain), 2);
}

TEST(buffer_id_is_that_of_the_last_descriptor)
{
	u16 id;

	unit_ring_open(&ring, 8, PACKED, 0);
	id = add(3);
	ring.driver.packed_desc[0].id = 0xffff;
	ring.driver.packed_desc[1].id = 0x1234;
	answer_next(0);
	expect_used(id, 0);
	assert_int_equal(unit_ring_errors(&ring), 0);
}

TEST(descriptor_with_the_wrong_wrap_bits_is_not_available)
{
	unit_ring_open(&ring, 4, PACKED, 0);
	add(1);
	for (unsigned flags = 0; flags < 4; flags++) {
		unsigned bits =
			(flags & 1 ? VM_PACKED_F_AVAIL : 0) | (flags & 2 ? VM_PACKED_F_USED : 0);

		if (bits == VM_PACKED_F_AVAIL)
			continue;
		ring.driver.packed_desc[0].flags = htole16((u16)bits);
		vring_begin_turn(&ring.vring);
		assert_null(vring_pop(&ring.vring));
		assert_int_equal(ring.vring.state, VRING_EMPTY);
	}
}

TEST(base_beyond_the_ring_is_refused)
{
	unit_ring_open(&ring, 6, PACKED, 0);
	assert_int_equal(unit_ring_place(&ring, PACKED, 6), -EINVAL);
	assert_int_equal(unit_ring_place(&ring, PACKED, 6 << 16), -EINVAL);
	assert_int_equal(unit_ring_place(&ring, PACKED, 0x80058005), 0);
	assert_int_equal(vring_base(&ring.vring), 0x80058005);
}

// ---- notifications ----

TEST(driver_is_called_unless_it_says_not_to)
{
	static const struct {
		u16 flags;
		bool called;
	} cases[] = {{VM_PACKED_EVENT_ENABLE, true},
		     {VM_PACKED_EVENT_DISABLE, false},
		     {VM_PACKED_EVENT_DESC, true}, // not negotiated
		     {3, true},
		     {0xfffd, false}}; // reserved bits

	unit_ring_open(&ring, 8, PACKED, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		u16 id = add(1);

		ring.driver.driver_event->flags = htole16(cases[i].flags);
		answer_next(0);
		expect_used(id, 0);
		assert_int_equal(unit_ring_calls(&ring), cases[i].called);
	}
}

// The driver asks for a call at each place in turn, while batches of 3 pass over a ring of 5.
TEST(driver_is_called_for_the_descriptor_it_asks_for)
{
	unit_ring_open(&ring, 5, PACKED | EVENT_IDX, 0);
	for (unsigned i = 0; i < 500; i++) {
		u16 before = ring.driver.used_idx;
		unsigned asked = i % 5, distance = (asked + 5 - before) % 5;
		bool wrap = asked >= before ? ring.driver.used_wrap : !ring.driver.used_wrap;

		ring.driver.driver_event->off_wrap =
			htole16((u16)(asked | (wrap ? VM_PACKED_WRAP : 0)));
		ring.driver.driver_event->flags = htole16(VM_PACKED_EVENT_DESC);
		for (unsigned chain = 0; chain < 3; chain++)
			add(1);
		for (unsigned chain = 0; chain < 3; chain++)
			vring_push(&ring.vring, unit_ring_pop(&ring), 0);
		unit_ring_turn(&ring);
		assert_int_equal(unit_ring_calls(&ring), distance < 3);
		for (unsigned chain = 0; chain < 3; chain++) {
			struct vm_completion completion;

			assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
		}
	}
}

TEST(driver_need_not_kick_during_a_turn)
{
	unit_ring_open(&ring, 8, PACKED, 0);
	vring_begin_turn(&ring.vring);
	assert_int_equal(le16toh(ring.driver.device_event->flags), VM_PACKED_EVENT_DISABLE);
	assert_null(vring_pop(&ring.vring));
	assert_false(vring_end_turn(&ring.vring));
	assert_int_equal(le16toh(ring.driver.device_event->flags), VM_PACKED_EVENT_ENABLE);
}

TEST(driver_kicks_for_the_next_descriptor_with_event_idx)
{
	unit_ring_open(&ring, 3, PACKED | EVENT_IDX, 0);
	for (unsigned i = 0; i < 7; i++) {
		bool wrap = i / 3 % 2 == 0;

		vring_begin_turn(&ring.vring);
		assert_null(vring_pop(&ring.vring));
		assert_false(vring_end_turn(&ring.vring));
		assert_int_equal(le16toh(ring.driver.device_event->flags), VM_PACKED_EVENT_DESC);
		assert_int_equal(le16toh(ring.driver.device_event->off_wrap),
				 i % 3 | (wrap ? VM_PACKED_WRAP : 0));
		add(1);
		answer_next(0);
		expect_used(0, 0);
	}
}

TEST(turn_that_ends_with_a_chain_just_shown_goes_on)
{
	unit_ring_open(&ring, 8, PACKED, 0);
	vring_begin_turn(&ring.vring);
	assert_null(vring_pop(&ring.vring));
	add(1);
	assert_true(vring_end_turn(&ring.vring));
}

// ---- what breaks a ring ----

static void expect_broken(void)
{
	vring_begin_turn(&ring.vring);
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(ring.vring.state, VRING_BROKEN);
	assert_int_equal(unit_ring_errors(&ring), 1);
	assert_true(vring_idle(&ring.vring));
	unit_ring_close(&ring);
}

TEST(endless_chain_breaks_the_ring)
{
	unit_ring_open(&ring, 5, PACKED, 0);
	add(5);
	for (unsigned i = 0; i < 5; i++)
		ring.driver.packed_desc[i].flags |= htole16(VM_DESC_F_NEXT);
	expect_broken();
}

TEST(buffer_id_beyond_the_ring_breaks_it)
{
	unit_ring_open(&ring, 6, PACKED, 0);
	add(1);
	ring.driver.packed_desc[0].id = htole16(6);
	expect_broken();
}

TEST(buffer_id_that_is_in_flight_breaks_the_ring)
{
	unit_ring_open(&ring, 6, PACKED, 0);
	add(1);
	add(1);
	ring.driver.packed_desc[1].id = ring.driver.packed_desc[0].id;
	unit_ring_pop(&ring);
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(unit_ring_errors(&ring), 1);
	unit_ring_close(&ring);
}

// The driver takes entries for free that it has not been told of.
static void add_over_others(unsigned count)
{
	ring.driver.free_count = ring.driver.size;
	add(count);
}

TEST(chains_in_flight_with_more_entries_than_the_ring_break_it)
{
	struct chain *chain;

	unit_ring_open(&ring, 5, PACKED, 0);
	add(3);
	chain = unit_ring_pop(&ring);
	add_over_others(3);
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(ring.vring.state, VRING_BROKEN);
	assert_int_equal(unit_ring_errors(&ring), 1);
	vring_push(&ring.vring, chain, 0);
	unit_ring_close(&ring);
}

TEST(entries_that_are_answered_do_not_count_as_in_flight)
{
	u16 id;

	unit_ring_open(&ring, 5, PACKED, 0);
	id = add(3);
	vring_push(&ring.vring, unit_ring_pop(&ring), 7);
	expect_nothing_used();
	add_over_others(2);
	unit_ring_pop(&ring);
	expect_nothing_used();
	add_over_others(3);
	unit_ring_pop(&ring);
	expect_used(id, 7); // the driver was told to make room
}

TEST(readable_behind_writable_breaks_the_ring)
{
	unit_ring_open(&ring, 6, PACKED, 0);
	add(2);
	ring.driver.packed_desc[0].flags |= htole16(VM_DESC_F_WRITE);
	expect_broken();
}

static void spoil_indirect(u64 features, u16 flags, u32 len)
{
	struct vm_buffer buffers[2] = {{.addr = UNIT_RING_GUEST, .len = 1},
				       {.addr = UNIT_RING_GUEST, .len = 1}};

	unit_ring_open(&ring, 8, PACKED | features, 2);
	assert_true(vm_ring_add(&ring.driver, buffers, 2, NULL) >= 0);
	vm_ring_show(&ring.driver);
	ring.driver.packed_desc[0].flags |= htole16(flags);
	ring.driver.packed_desc[0].len = htole32(len);
	expect_broken();
}

TEST(bad_indirect_tables_break_the_ring)
{
	spoil_indirect(0, 0, 32);
	spoil_indirect(INDIRECT, 0, 0);
	spoil_indirect(INDIRECT, 0, 31);
	spoil_indirect(INDIRECT, 0, 1025 * 16);
	spoil_indirect(INDIRECT, 0, 0xfffffff0);
}

TEST(indirect_descriptor_with_a_next_breaks_the_ring)
{
	unit_ring_open(&ring, 8, PACKED | INDIRECT, 2);
	add(2);
	ring.driver.packed_desc[0].flags |= htole16(VM_DESC_F_INDIRECT);
	ring.driver.packed_desc[0].len = htole32(16);
	expect_broken();
}

#define RING_TEST(name) RUN_WITH(NULL, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(empty_ring_has_no_chain),
		RING_TEST(full_rings_of_all_kinds_of_sizes_are_served),
		RING_TEST(chains_as_long_as_the_ring_flip_the_wrap_counter),
		RING_TEST(chains_complete_in_any_order_at_every_position),
		RING_TEST(batch_is_seen_whole_when_its_first_flags_are_stored),
		RING_TEST(used_descriptor_says_whether_bytes_were_written),
		RING_TEST(indirect_tables_are_read_alone_and_behind_direct_descriptors),
		RING_TEST(write_flag_alone_counts_in_an_indirect_table),
		RING_TEST(buffer_id_is_that_of_the_last_descriptor),
		RING_TEST(descriptor_with_the_wrong_wrap_bits_is_not_available),
		RING_TEST(base_beyond_the_ring_is_refused),
		RING_TEST(driver_is_called_unless_it_says_not_to),
		RING_TEST(driver_is_called_for_the_descriptor_it_asks_for),
		RING_TEST(driver_need_not_kick_during_a_turn),
		RING_TEST(driver_kicks_for_the_next_descriptor_with_event_idx),
		RING_TEST(turn_that_ends_with_a_chain_just_shown_goes_on),
		RING_TEST(entries_that_are_answered_do_not_count_as_in_flight),
		RUN(endless_chain_breaks_the_ring),
		RUN(buffer_id_beyond_the_ring_breaks_it),
		RUN(buffer_id_that_is_in_flight_breaks_the_ring),
		RUN(chains_in_flight_with_more_entries_than_the_ring_break_it),
		RUN(readable_behind_writable_breaks_the_ring),
		RUN(bad_indirect_tables_break_the_ring),
		RUN(indirect_descriptor_with_a_next_breaks_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
