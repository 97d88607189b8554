// SPDX-License-Identifier: Apache-2.0
// Tests of core/vring_split.c: when the driver is called, when it need not kick, and when a ring gives way.
#include "tests/unit/ring.h"

#include <endian.h>
#include <string.h>

#define EVENT_IDX BIT64(VIRTIO_F_EVENT_IDX)
#define INDIRECT BIT64(VIRTIO_F_INDIRECT_DESC)

static struct unit_ring ring;

static int setup(void **state)
{
	(void)state;
	unit_ring_open(&ring, 128, INDIRECT, 16);
	return 0;
}

static int setup_event_idx(void **state)
{
	(void)state;
	unit_ring_open(&ring, 128, INDIRECT | EVENT_IDX, 16);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unit_ring_close(&ring);
	return 0;
}

static bool kicks_are_off(void)
{
	return le16toh(ring.driver.used->flags) & VM_USED_F_NO_NOTIFY;
}

// Serves all that there is in this turn.
static unsigned serve(void)
{
	struct chain *chain;
	unsigned count = 0;

	vring_begin_turn(&ring.vring);
	for (; (chain = vring_pop(&ring.vring)); count++)
		vring_push(&ring.vring, chain, 0);
	return count;
}

TEST(driver_is_called_once_for_a_batch)
{
	for (unsigned i = 0; i < 5; i++)
		unit_ring_add(&ring, 1, 0);
	assert_int_equal(serve(), 5);
	assert_int_equal(unit_ring_calls(&ring), 0);
	unit_ring_turn(&ring);
	assert_int_equal(unit_ring_calls(&ring), 1);
}

TEST(driver_that_wants_no_calls_gets_none)
{
	vm_ring_disarm(&ring.driver);
	unit_ring_add(&ring, 1, 0);
	assert_int_equal(serve(), 1);
	unit_ring_turn(&ring);
	assert_int_equal(unit_ring_calls(&ring), 0);
	assert_true(vm_ring_arm(&ring.driver)); // and finds the answer
}

TEST(publishing_nothing_calls_nobody)
{
	vring_publish(&ring.vring);
	assert_int_equal(unit_ring_calls(&ring), 0);
	assert_int_equal(ring.driver.used->idx, 0);
}

TEST(ring_without_a_call_fd_still_publishes)
{
	struct vm_completion completion;

	vring_set_call_fd(&ring.vring, -1);
	unit_ring_add(&ring, 1, 0);
	assert_int_equal(serve(), 1);
	unit_ring_turn(&ring);
	assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
}

// VIRTIO 1.3, 2.7.7.2: a call is due if used_event is one of the indices that were passed.
static bool call_is_due(u16 event, u16 before, u16 count)
{
	for (u16 i = 0; i < count; i++)
		if ((u16)(before + i) == event)
			return true;
	return false;
}

TEST(event_index_decides_about_calls_at_every_distance)
{
	static const u16 starts[] = {0, 1, 127, 128, 32767, 32768, 65407, 65533, 65534, 65535};

	for (unsigned i = 0; i < ARRAY_SIZE(starts); i++)
		for (u16 count = 1; count <= 128; count = (u16)(count * 2))
			for (int distance = -130; distance <= 130; distance++) {
				u16 before = starts[i], event = (u16)(before + distance);

				ring.vring.used_published = before;
				ring.vring.used_next = (u16)(before + count);
				*vm_ring_used_event(&ring.driver) = htole16(event);
				vring_publish(&ring.vring);
				assert_int_equal(unit_ring_calls(&ring),
						 call_is_due(event, before, count));
			}
}

TEST(event_index_far_away_is_harmless)
{
	*vm_ring_used_event(&ring.driver) = htole16(32768);
	unit_ring_add(&ring, 1, 0);
	assert_int_equal(serve(), 1);
	unit_ring_turn(&ring);
	assert_int_equal(unit_ring_calls(&ring), 0);
}

TEST(kicks_are_off_while_the_ring_is_worked_on)
{
	vring_begin_turn(&ring.vring);
	assert_true(kicks_are_off());
	assert_null(vring_pop(&ring.vring));
	assert_false(vring_end_turn(&ring.vring));
	assert_false(kicks_are_off());
}

TEST(kicks_stay_off_while_the_device_holds_the_ring)
{
	unit_ring_add(&ring, 1, 0);
	unit_ring_add(&ring, 1, 0);
	assert_non_null(unit_ring_pop(&ring));
	assert_false(vring_end_turn(&ring.vring));
	assert_true(kicks_are_off());
}

TEST(chain_that_comes_at_the_last_moment_is_not_missed)
{
	assert_int_equal(serve(), 0);
	unit_ring_add(&ring, 1, 0);
	assert_true(vring_end_turn(&ring.vring));
}

TEST(event_index_asks_for_the_next_kick_and_leaves_the_flags_alone)
{
	for (u16 i = 1; i <= 10; i++) {
		unit_ring_add(&ring, 1, 0);
		assert_int_equal(serve(), 1);
		assert_int_equal(ring.driver.used->flags, 0);
		assert_false(vring_end_turn(&ring.vring));
		assert_int_equal(le16toh(*vm_ring_avail_event(&ring.driver)), i);
		assert_int_equal(ring.driver.used->flags, 0);
	}
}

TEST(event_index_is_not_moved_in_the_middle_of_the_work)
{
	unit_ring_add(&ring, 1, 0);
	assert_int_equal(serve(), 1);
	assert_false(vring_end_turn(&ring.vring));
	for (unsigned i = 0; i < 100; i++)
		unit_ring_add(&ring, 1, 0);
	serve(); // only what the budget allows
	assert_true(vring_end_turn(&ring.vring));
	assert_int_equal(le16toh(*vm_ring_avail_event(&ring.driver)), 1);
}

TEST(turn_ends_after_its_budget_of_chains)
{
	for (unsigned i = 0; i < 100; i++)
		unit_ring_add(&ring, 1, 0);
	assert_int_equal(serve(), VRING_TURN_CHAINS);
	assert_int_equal(ring.vring.state, VRING_BUDGET);
	assert_true(vring_end_turn(&ring.vring));
	assert_int_equal(serve(), 100 - VRING_TURN_CHAINS);
	assert_false(vring_end_turn(&ring.vring));
}

// A chain of half the turn's budget of bytes.
static void add_half_budget(void)
{
	const struct vm_buffer buffer = {
		.addr = UNIT_RING_GUEST, .len = VRING_TURN_BYTES / 2, .write = true};

	assert_true(vm_ring_add(&ring.driver, &buffer, 1, NULL) >= 0);
	vm_ring_show(&ring.driver);
}

TEST(turn_ends_after_its_budget_of_bytes)
{
	for (unsigned i = 0; i < 5; i++)
		add_half_budget();
	assert_int_equal(serve(), 2);
	assert_true(vring_end_turn(&ring.vring));
	assert_int_equal(serve(), 2);
	assert_int_equal(serve(), 1);
	assert_false(vring_end_turn(&ring.vring));
}

TEST(chain_larger_than_the_budget_is_served)
{
	const struct vm_buffer buffer = {.addr = UNIT_RING_GUEST, .len = 8 * VRING_TURN_BYTES};

	vm_ring_add(&ring.driver, &buffer, 1, NULL);
	vm_ring_show(&ring.driver);
	assert_int_equal(serve(), 1);
	assert_true(vring_end_turn(&ring.vring));
	assert_int_equal(serve(), 0);
	assert_false(vring_end_turn(&ring.vring));
}

TEST(refused_chains_count_towards_the_budget)
{
	for (unsigned i = 0; i < 100; i++)
		vm_ring_add(&ring.driver, &(struct vm_buffer){.addr = 0, .len = 1}, 1, NULL);
	vm_ring_show(&ring.driver);
	assert_int_equal(serve(), 0);
	assert_true(vring_end_turn(&ring.vring));
	assert_int_equal(ring.vring.refused_chains, VRING_TURN_CHAINS);
}

// A chain with more segments than fit the chain itself.
static u16 add_large(void)
{
	struct vm_buffer buffers[16];
	int head;

	for (unsigned i = 0; i < 16; i++)
		buffers[i] = (struct vm_buffer){.addr = UNIT_RING_GUEST, .len = 1};
	head = vm_ring_add(&ring.driver, buffers, 16, NULL);
	assert_true(head >= 0);
	vm_ring_show(&ring.driver);
	return (u16)head;
}

TEST(starved_ring_waits_for_a_push_and_then_goes_on_with_the_same_chain)
{
	struct chain *chains[CHAIN_LARGE_COUNT];
	u16 waiting;

	for (unsigned i = 0; i < CHAIN_LARGE_COUNT; i++) {
		add_large();
		chains[i] = unit_ring_pop(&ring);
	}
	waiting = add_large();
	vring_begin_turn(&ring.vring);
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(ring.vring.state, VRING_STARVED);
	assert_false(vring_end_turn(&ring.vring));
	unit_ring_turn(&ring);
	assert_int_equal(ring.wakes, 0);
	vring_push(&ring.vring, chains[40], 0);
	unit_ring_turn(&ring);
	unit_ring_turn(&ring);
	assert_int_equal(ring.wakes, 1);
	assert_int_equal(unit_ring_pop(&ring)->head, waiting);
	assert_int_equal(unit_ring_errors(&ring), 0);
}

TEST(answers_of_a_long_turn_are_shown_before_it_ends)
{
	struct vm_completion completion;
	struct chain *chain;
	unsigned popped = 0;

	for (unsigned i = 0; i < VRING_TURN_CHAINS; i++)
		unit_ring_add(&ring, 1, 0);
	vring_begin_turn(&ring.vring);
	for (; (chain = vring_pop(&ring.vring)); popped++) {
		vring_push(&ring.vring, chain, 0);
		ring.vring.publish_time = 0; // as if it had taken long
	}
	assert_int_equal(popped, VRING_TURN_CHAINS);
	for (unsigned i = 0; i < VRING_TURN_CHAINS - VRING_PUBLISH_CHAINS; i++)
		assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
	unit_ring_turn(&ring);
	for (unsigned i = 0; i < VRING_PUBLISH_CHAINS; i++)
		assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
	assert_int_equal(vm_ring_take(&ring.driver, &completion), 0);
}

#define RING_TEST(name) RUN_WITH(setup, name, teardown)
#define EVENT_TEST(name) RUN_WITH(setup_event_idx, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(driver_is_called_once_for_a_batch),
		EVENT_TEST(driver_is_called_once_for_a_batch),
		RING_TEST(driver_that_wants_no_calls_gets_none),
		EVENT_TEST(driver_that_wants_no_calls_gets_none),
		RING_TEST(publishing_nothing_calls_nobody),
		RING_TEST(ring_without_a_call_fd_still_publishes),
		EVENT_TEST(event_index_decides_about_calls_at_every_distance),
		EVENT_TEST(event_index_far_away_is_harmless),
		RING_TEST(kicks_are_off_while_the_ring_is_worked_on),
		RING_TEST(kicks_stay_off_while_the_device_holds_the_ring),
		RING_TEST(chain_that_comes_at_the_last_moment_is_not_missed),
		EVENT_TEST(chain_that_comes_at_the_last_moment_is_not_missed),
		EVENT_TEST(event_index_asks_for_the_next_kick_and_leaves_the_flags_alone),
		EVENT_TEST(event_index_is_not_moved_in_the_middle_of_the_work),
		RING_TEST(turn_ends_after_its_budget_of_chains),
		RING_TEST(turn_ends_after_its_budget_of_bytes),
		RING_TEST(chain_larger_than_the_budget_is_served),
		RING_TEST(refused_chains_count_towards_the_budget),
		RING_TEST(starved_ring_waits_for_a_push_and_then_goes_on_with_the_same_chain),
		RING_TEST(answers_of_a_long_turn_are_shown_before_it_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
