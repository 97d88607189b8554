// SPDX-License-Identifier: Apache-2.0
// Tests of core/inflight.c, inflight_split.c and inflight_packed.c: a ring whose process dies is taken up by the next one, and
// regions that cannot be believed. That nothing is lost at any point of death is shown by tests/crash.bats.
#include "tests/unit/ring.h"

#include <endian.h>
#include <string.h>

#include "tests/frontend/wire.h"

enum { SIZE = 8, REGION_LEN = 64 + SIZE * 32 };

static struct unit_ring ring;
static _Alignas(64) u8 region[REGION_LEN];
static u64 features;
static u32 first_base;

#define EXPECTED_LINE ": error: ring 5 broken: the inflight region cannot be believed: "
#define SPLIT_REGION ((struct vu_inflight_split *)(void *)region)
#define PACKED_REGION ((struct vu_inflight_packed *)(void *)region)

static void attach_and_place(void)
{
	inflight_attach(&ring.vring.inflight, region, sizeof(region));
	assert_int_equal(unit_ring_place(&ring, features, first_base), 0);
}

static void open_ring(u64 layout)
{
	features = layout;
	memset(region, 0, sizeof(region));
	unit_ring_open(&ring, SIZE, features, 0);
	first_base = vm_ring_base(&ring.driver);
	attach_and_place();
}

static int setup_split(void **state)
{
	(void)state;
	open_ring(0);
	return 0;
}

static int setup_packed(void **state)
{
	(void)state;
	open_ring(BIT64(VIRTIO_F_RING_PACKED));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unit_ring_close(&ring);
	return 0;
}

// The process ends as it is, and another one takes the ring up; its front-end knows only where the ring began.
static void die(void)
{
	deferred_cancel(&ring.vring.publish);
	vring_fini(&ring.vring);
	assert_int_equal(
		vring_init(&ring.vring, 5, SIZE, UNIT_RING_REQUEST, &ring.worker, &ring.wake), 0);
	vring_set_call_fd(&ring.vring, dup(ring.driver.call_fd));
	vring_set_err_fd(&ring.vring, dup(ring.driver.err_fd));
	attach_and_place();
	vring_begin_turn(&ring.vring);
}

static struct chain *pop_head(u16 head)
{
	struct chain *chain = unit_ring_pop(&ring);

	assert_int_equal(chain->head, head);
	return chain;
}

static void expect_empty(void)
{
	vring_begin_turn(&ring.vring);
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(ring.vring.state, VRING_EMPTY);
}

static void answer(struct chain *chain, u32 written)
{
	u16 head = chain->head;
	struct vm_completion completion;

	vring_push(&ring.vring, chain, written);
	unit_ring_turn(&ring);
	assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
	assert_int_equal(completion.head, head);
	assert_int_equal(completion.len, written);
	assert_int_equal(vm_ring_take(&ring.driver, &completion), 0);
}

static unsigned marked(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < SIZE; i++)
		count +=
			features ? PACKED_REGION->desc[i].inflight : SPLIT_REGION->desc[i].inflight;
	return count;
}

TEST(region_is_marked_as_used_and_then_empty)
{
	assert_int_equal(SPLIT_REGION->version, 1);
	assert_int_equal(SPLIT_REGION->desc_num, SIZE);
	assert_int_equal(marked(), 0);
}

TEST(chain_is_marked_until_it_is_answered)
{
	struct chain *chain;

	unit_ring_add(&ring, 1, 1);
	chain = unit_ring_pop(&ring);
	assert_int_equal(marked(), 1);
	vring_push(&ring.vring, chain, 1);
	assert_int_equal(marked(), 1);
	unit_ring_turn(&ring);
	assert_int_equal(marked(), 0);
}

TEST(what_was_taken_comes_again_in_its_order_and_then_what_is_new)
{
	struct chain *chains[4];
	u16 heads[4];
	u16 fresh;

	for (unsigned i = 0; i < 4; i++) {
		heads[i] = unit_ring_add(&ring, 1, i == 3 ? 0 : 1);
		chains[i] = unit_ring_pop(&ring);
	}
	answer(chains[1], 7);
	die();
	fresh = unit_ring_add(&ring, 1, 0);
	answer(pop_head(heads[0]), 1);
	answer(pop_head(heads[2]), 2);
	answer(pop_head(heads[3]), 3);
	answer(pop_head(fresh), 4);
	expect_empty();
	assert_int_equal(marked(), 0);
	assert_int_equal(vring_base(&ring.vring), vm_ring_base(&ring.driver));
}

TEST(answer_that_was_not_told_is_given_again)
{
	u16 head = unit_ring_add(&ring, 1, 1);

	vring_push(&ring.vring, unit_ring_pop(&ring), 1);
	die();
	answer(pop_head(head), 2);
	expect_empty();
}

// The driver must not find the second answer of the first process behind the first answer of the second one.
TEST(answers_behind_one_that_was_not_told_are_forgotten)
{
	u16 heads[3];

	for (unsigned i = 0; i < 3; i++)
		heads[i] = unit_ring_add(&ring, 1, 0);
	for (unsigned i = 0; i < 3; i++)
		vring_push(&ring.vring, unit_ring_pop(&ring), 90 + i);
	die();
	for (unsigned i = 0; i < 3; i++)
		answer(pop_head(heads[i]), i);
	expect_empty();
}

TEST(every_process_may_die)
{
	u16 heads[6];

	for (unsigned i = 0; i < 4; i++) // two entries each in a packed ring
		heads[i] = unit_ring_add(&ring, 1, 1);
	for (unsigned i = 0; i < 4; i++)
		unit_ring_pop(&ring);
	for (unsigned i = 0; i < 4; i++) {
		die();
		answer(pop_head(heads[i]), i);
		if (i < 3)
			pop_head(heads[i + 1]);
	}
	die();
	expect_empty();
	assert_int_equal(marked(), 0);
}

TEST(empty_region_of_a_ring_that_went_on_tells_where)
{
	for (unsigned i = 0; i < 13; i++) {
		unit_ring_add(&ring, 1, 0);
		answer(unit_ring_pop(&ring), i);
	}
	die();
	assert_int_equal(vring_base(&ring.vring), vm_ring_base(&ring.driver));
	unit_ring_add(&ring, 1, 0);
	answer(unit_ring_pop(&ring), 5);
}

TEST(ring_does_without_a_region_that_is_too_small_for_it)
{
	bool packed = features & BIT64(VIRTIO_F_RING_PACKED);

	memset(region, 0, sizeof(region));
	inflight_attach(&ring.vring.inflight, region, inflight_least_len(SIZE, packed) - 8);
	unit_capture(STDERR_FILENO);
	assert_int_equal(unit_ring_place(&ring, features, first_base), 0);
	assert_non_null(strstr(unit_captured(), "if we are killed, those then in flight are lost"));
	unit_ring_add(&ring, 1, 0);
	answer(unit_ring_pop(&ring), 5);
	assert_int_equal(SPLIT_REGION->version, 0);
}

// ---- regions that cannot be believed; `spoil` changes one with chains in flight ----

// The ring is broken, which the front-end is told once and the log in one line; set up anew it works, and the region is empty.
static void expect_distrust(const char *what)
{
	const char *said;

	unit_capture(STDERR_FILENO);
	attach_and_place();
	said = unit_captured();
	if (strncmp(said + strcspn(said, ":"), EXPECTED_LINE, strlen(EXPECTED_LINE)) != 0 ||
	    strchr(said, '\n')[1])
		fail_msg("%s is logged as \"%s\"", what, said);
	if (!ring.vring.broken)
		fail_msg("%s is believed", what);
	assert_int_equal(unit_ring_errors(&ring), 1);
	vring_begin_turn(&ring.vring);
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(unit_ring_place(&ring, features, first_base), 0);
	assert_null(vring_pop(&ring.vring));
	ring.vring.broken = false;
	vm_ring_reset(&ring.driver);
	assert_int_equal(unit_ring_place(&ring, features, first_base), 0);
	unit_ring_add(&ring, 1, 0);
	answer(unit_ring_pop(&ring), 1);
	expect_empty();
	assert_int_equal(marked(), 0);
}

// Two chains in flight, of which the process does not know any more.
static void leave_two(void)
{
	unit_ring_close(&ring);
	open_ring(features);
	for (unsigned i = 0; i < 2; i++) {
		unit_ring_add(&ring, 1, 1);
		unit_ring_pop(&ring);
	}
	vring_fini(&ring.vring);
	assert_int_equal(
		vring_init(&ring.vring, 5, SIZE, UNIT_RING_REQUEST, &ring.worker, &ring.wake), 0);
	vring_set_call_fd(&ring.vring, dup(ring.driver.call_fd));
	vring_set_err_fd(&ring.vring, dup(ring.driver.err_fd));
}

TEST(region_of_a_ring_of_another_size_begins_anew)
{
	leave_two();
	SPLIT_REGION->desc_num = 4;
	unit_capture(STDERR_FILENO);
	attach_and_place();
	assert_non_null(strstr(unit_captured(), "of a ring of 4 entries, not 8: it begins anew"));
	assert_int_equal(SPLIT_REGION->desc_num, SIZE);
	assert_null(inflight_next_left(&ring.vring.inflight));
}

#define DISTRUST(change) \
	do { \
		leave_two(); \
		change; \
		expect_distrust(#change); \
	} while (0)

TEST(split_region_with_nonsense_breaks_the_ring)
{
	DISTRUST(SPLIT_REGION->version = 2);
	DISTRUST(SPLIT_REGION->features = 1);
	DISTRUST(SPLIT_REGION->used_idx = (u16)-SIZE - 1);
	DISTRUST((SPLIT_REGION->used_idx = 0xffff, SPLIT_REGION->last_batch_head = SIZE));
	DISTRUST((SPLIT_REGION->used_idx = 0xfffe, SPLIT_REGION->last_batch_head = 0,
		  SPLIT_REGION->desc[0].next = 0xffff));
}

TEST(packed_region_with_nonsense_breaks_the_ring)
{
	struct vu_inflight_packed *packed = PACKED_REGION;

	DISTRUST(packed->version = 0xffff);
	DISTRUST(packed->used_idx = SIZE);
	DISTRUST(packed->old_used_idx = SIZE);
	DISTRUST(packed->old_used_idx = 0xffff);
	DISTRUST(packed->used_wrap = 2);
	DISTRUST(packed->old_used_wrap = 255);
	DISTRUST(packed->old_free_head = SIZE + 1);
	DISTRUST(packed->desc[6].next = 5);
	DISTRUST(packed->desc[0].num = 0);
	DISTRUST(packed->desc[0].num = SIZE + 1);
	DISTRUST(packed->desc[0].num = 3);
	DISTRUST(packed->desc[0].last = SIZE);
	DISTRUST(packed->desc[0].next = 0);
	DISTRUST(packed->desc[2].next = 0xffff);
	DISTRUST(packed->desc[2].next = 1);
}

TEST(batch_list_that_loops_ends)
{
	leave_two();
	SPLIT_REGION->used_idx = (u16)-SIZE;
	SPLIT_REGION->last_batch_head = 0;
	SPLIT_REGION->desc[0].next = 0;
	attach_and_place();
	assert_false(ring.vring.broken);
}

TEST(marks_other_than_one_are_none)
{
	leave_two();
	for (unsigned i = 0; i < SIZE; i++)
		if (features)
			PACKED_REGION->desc[i].inflight = (u8)(2 + i * 36);
		else
			SPLIT_REGION->desc[i].inflight = (u8)(2 + i * 36);
	attach_and_place();
	assert_false(ring.vring.broken);
	assert_int_equal(ring.vring.inflight.left_count, 0);
}

TEST(equal_and_wrapped_counters_have_an_order)
{
	static const u64 counters[][2] = {{5, 5}, {UINT64_MAX, 0}, {UINT64_MAX, UINT64_MAX}};

	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
		leave_two();
		for (size_t chain = 0; chain < 2; chain++)
			if (features)
				PACKED_REGION->desc[chain * 2].counter = counters[i][chain];
			else
				SPLIT_REGION->desc[chain * 2].counter = counters[i][chain];
		attach_and_place();
		assert_int_equal(ring.vring.inflight.left_count, 2);
		assert_int_equal(ring.vring.inflight.left[0].entry, i == 1 ? 2 : 0);
		answer(unit_ring_pop(&ring), 1);
		answer(unit_ring_pop(&ring), 1);
		expect_empty();
	}
}

// A driver that goes on finds after a pause what was left before; one that begins anew gets nothing of another's.
TEST(what_is_left_belongs_to_the_driver_that_left_it)
{
	struct chain *chain;
	u16 head;

	leave_two();
	attach_and_place();
	assert_int_equal(unit_ring_place(&ring, features, vring_base(&ring.vring)), 0);
	assert_non_null(inflight_next_left(&ring.vring.inflight));
	assert_int_equal(marked(), 2);
	vm_ring_reset(&ring.driver);
	assert_int_equal(unit_ring_place(&ring, features, first_base), 0);
	assert_int_equal(marked(), 0);
	vring_begin_turn(&ring.vring);
	assert_null(vring_pop(&ring.vring));
	head = unit_ring_add(&ring, 1, 0);
	chain = pop_head(head);
	assert_int_equal(marked(), 1);
	assert_int_equal(chain_readable_len(chain), 1);
	answer(chain, 0);
	expect_empty();
}

#define BOTH(name) \
	{#name " split", name, setup_split, teardown, NULL}, \
	{ \
#name " packed", name, setup_packed, teardown, NULL \
	}

TEST(split_ring_with_more_available_than_its_entries_breaks)
{
	struct chain *chain;

	for (unsigned i = 0; i <= SIZE; i++) { // the same head, before its driver hears of it
		ring.driver.avail->ring[i % SIZE] = htole16(0);
		ring.driver.avail->idx = htole16((u16)(i + 1));
		ring.driver.desc[0] = (struct vm_desc){0};
		vring_begin_turn(&ring.vring);
		chain = vring_pop(&ring.vring);
		assert_int_equal(chain != NULL, i < SIZE);
		if (chain)
			vring_push(&ring.vring, chain, 0);
	}
	assert_true(ring.vring.broken);
	assert_int_equal(ring.vring.inflight.batch_count, SIZE);
}

// What the process before has left counts too.
TEST(packed_ring_with_more_available_than_its_entries_breaks)
{
	unit_ring_add(&ring, 1, 1);
	unit_ring_pop(&ring);
	die();
	unit_ring_pop(&ring);
	for (unsigned i = 0; i < SIZE - 2; i++) {
		unit_ring_add(&ring, 1, 0);
		unit_ring_pop(&ring);
	}
	expect_empty();
	ring.driver.free_count = 1; // as if it had been told of one that is used
	unit_ring_add(&ring, 1, 0);
	assert_null(vring_pop(&ring.vring));
	assert_true(ring.vring.broken);
}

TEST(packed_ring_that_breaks_on_its_region_keeps_its_base)
{
	PACKED_REGION->used_idx = 255;
	die();
	assert_true(ring.vring.broken);
	assert_int_equal(vring_base(&ring.vring), first_base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(region_is_marked_as_used_and_then_empty),
		BOTH(chain_is_marked_until_it_is_answered),
		BOTH(what_was_taken_comes_again_in_its_order_and_then_what_is_new),
		BOTH(answer_that_was_not_told_is_given_again),
		BOTH(answers_behind_one_that_was_not_told_are_forgotten),
		BOTH(every_process_may_die),
		BOTH(empty_region_of_a_ring_that_went_on_tells_where),
		BOTH(ring_does_without_a_region_that_is_too_small_for_it),
		BOTH(marks_other_than_one_are_none),
		BOTH(equal_and_wrapped_counters_have_an_order),
		BOTH(what_is_left_belongs_to_the_driver_that_left_it),
		RUN_WITH(setup_split, region_of_a_ring_of_another_size_begins_anew, teardown),
		RUN_WITH(setup_packed, region_of_a_ring_of_another_size_begins_anew, teardown),
		RUN_WITH(setup_split, split_region_with_nonsense_breaks_the_ring, teardown),
		RUN_WITH(setup_split, batch_list_that_loops_ends, teardown),
		RUN_WITH(setup_split, split_ring_with_more_available_than_its_entries_breaks,
			 teardown),
		RUN_WITH(setup_packed, packed_ring_with_more_available_than_its_entries_breaks,
			 teardown),
		RUN_WITH(setup_packed, packed_region_with_nonsense_breaks_the_ring, teardown),
		RUN_WITH(setup_packed, packed_ring_that_breaks_on_its_region_keeps_its_base,
			 teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
