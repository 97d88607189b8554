// SPDX-License-Identifier: Apache-2.0
// Tests of core/vring.c: what all ring layouts have in common.
#include "core/vring_layout.h"
#include "tests/unit/ring.h"

#include <fcntl.h>
#include <string.h>

static struct unit_ring ring;

static int setup(void **state)
{
	(void)state;
	unit_ring_open(&ring, 8, 0, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unit_ring_close(&ring);
	return 0;
}

TEST(ring_knows_its_index_and_worker)
{
	assert_int_equal(vring_index(&ring.vring), 5);
	assert_ptr_equal(vring_worker(&ring.vring), &ring.worker);
}

TEST(breaking_stops_the_ring_and_tells_the_front_end_once)
{
	unit_ring_add(&ring, 1, 0);
	vring_break(&ring.vring, "for %s", "a reason");
	vring_break(&ring.vring, "for another");
	assert_int_equal(unit_ring_errors(&ring), 1);
	assert_null(vring_pop(&ring.vring));
	vring_begin_turn(&ring.vring);
	assert_null(vring_pop(&ring.vring));
	assert_false(vring_end_turn(&ring.vring));
}

TEST(breaking_is_logged_once_with_its_reason)
{
	const char *text, *first;

	unit_capture(STDERR_FILENO);
	vring_break(&ring.vring, "for %s", "a reason");
	vring_break(&ring.vring, "for another");
	text = unit_captured();
	first = strstr(text, "ring 5 broken: for a reason");
	assert_non_null(first);
	assert_null(strstr(text, "another"));
}

TEST(breaking_without_an_error_fd_is_possible)
{
	vring_set_err_fd(&ring.vring, -1);
	vring_break(&ring.vring, "quietly");
	assert_null(vring_pop(&ring.vring));
	assert_int_equal(unit_ring_errors(&ring), 0);
}

TEST(wake_comes_in_the_next_turn_once)
{
	vring_wake(&ring.vring);
	vring_wake(&ring.vring);
	assert_int_equal(ring.wakes, 0);
	unit_ring_turn(&ring);
	assert_int_equal(ring.wakes, 1);
	unit_ring_turn(&ring);
	assert_int_equal(ring.wakes, 1);
}

TEST(ring_is_idle_when_nothing_is_between_pop_and_push)
{
	struct chain *first, *second;

	unit_ring_add(&ring, 1, 0);
	unit_ring_add(&ring, 1, 0);
	assert_true(vring_idle(&ring.vring));
	first = unit_ring_pop(&ring);
	second = unit_ring_pop(&ring);
	vring_push(&ring.vring, first, 0);
	assert_false(vring_idle(&ring.vring));
	vring_push(&ring.vring, second, 0);
	assert_true(vring_idle(&ring.vring));
}

TEST(each_chain_in_flight_has_request_memory_of_its_own)
{
	struct chain *chains[8];

	for (u8 i = 0; i < 8; i++) {
		unit_ring_add(&ring, 1, 0);
		chains[i] = unit_ring_pop(&ring);
		memset(vring_request(&ring.vring, chains[i]), i, UNIT_RING_REQUEST);
	}
	for (u8 i = 0; i < 8; i++) {
		const u8 *request = vring_request(&ring.vring, chains[i]);

		assert_int_equal(request[0], i);
		assert_int_equal(request[UNIT_RING_REQUEST - 1], i);
		vring_push(&ring.vring, chains[i], 0);
	}
}

TEST(replaced_and_final_eventfds_are_closed)
{
	unsigned before = unit_open_fds();

	vring_set_call_fd(&ring.vring, dup(ring.driver.call_fd));
	vring_set_err_fd(&ring.vring, dup(ring.driver.err_fd));
	assert_int_equal(unit_open_fds(), before);
	vring_set_call_fd(&ring.vring, -1);
	vring_set_err_fd(&ring.vring, -1);
	assert_int_equal(unit_open_fds(), before - 2);
}

static void answer_in_order(u64 layout)
{
	struct vm_completion completion;
	struct chain *chains[4];
	u16 heads[4];

	unit_ring_close(&ring);
	unit_ring_open(&ring, 6 - (layout ? 0 : 2), layout | BIT64(VIRTIO_F_IN_ORDER), 0);
	for (unsigned i = 0; i < 4; i++) {
		heads[i] = unit_ring_add(&ring, 1, 0);
		chains[i] = unit_ring_pop(&ring);
	}
	for (unsigned i = 4; i-- > 1;)
		vring_push(&ring.vring, chains[i], i);
	unit_ring_turn(&ring);
	assert_int_equal(vm_ring_take(&ring.driver, &completion), 0);
	assert_false(vring_idle(&ring.vring));
	vring_push(&ring.vring, chains[0], 0);
	unit_ring_turn(&ring);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
		assert_int_equal(completion.head, heads[i]);
		assert_int_equal(completion.len, i);
	}
	assert_true(vring_idle(&ring.vring));
}

TEST(answers_wait_for_those_before_them_if_in_order)
{
	answer_in_order(0);
	answer_in_order(BIT64(VIRTIO_F_RING_PACKED));
}

// Offers a chain of 4 buffers, the first `direct` of them outside an indirect table.
static void offer(unsigned direct)
{
	struct vm_buffer buffers[4];

	for (unsigned i = 0; i < 4; i++)
		buffers[i] = (struct vm_buffer){
			.addr = vm_memory_alloc(&ring.vm, 16, 16), .len = 16, .write = i >= 2};
	assert_true(vm_ring_add_mixed(&ring.driver, buffers, 4, direct, NULL) >= 0);
	vm_ring_show(&ring.driver);
}

static void serve(unsigned count)
{
	for (; count > 0; count--) {
		struct chain *chain = unit_ring_pop(&ring);

		assert_int_equal(chain_write(chain, "0123456789abcdef0123456789abcdef", 32), 32);
		vring_push(&ring.vring, chain, 32);
	}
	unit_ring_turn(&ring);
}

// The used descriptors of a packed ring take the place of others, but never those of a table.
TEST(descriptors_and_tables_are_only_read)
{
	const u64 indirect = BIT64(VIRTIO_F_INDIRECT_DESC);

	for (unsigned packed = 0; packed < 2; packed++) {
		struct vm_desc descs[16], tables[16 * 4];

		unit_ring_close(&ring);
		unit_ring_open(&ring, 16, indirect | (packed ? BIT64(VIRTIO_F_RING_PACKED) : 0), 4);
		offer(4);
		offer(2);
		offer(0);
		memcpy(descs, ring.driver.desc, sizeof(descs));
		memcpy(tables, ring.driver.tables, sizeof(tables));
		serve(3);
		assert_memory_equal(ring.driver.tables, tables, sizeof(tables));
		if (!packed)
			assert_memory_equal(ring.driver.desc, descs, sizeof(descs));
	}
}

#define RING_TEST(name) RUN_WITH(setup, name, teardown)

TEST(memory_that_cannot_be_had_for_requests_is_an_error_that_leaves_nothing)
{
	struct vring vring;

	assert_int_equal(vring_init(&vring, 5, 8, SIZE_MAX / 16, &ring.worker, &ring.wake),
			 -ENOMEM);
	assert_null(vring.table);
	assert_null(vring.pool.chains);
	assert_null(vring.inflight.batch);
}

TEST(driver_is_not_called_for_nothing)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		unit_ring_close(&ring);
		unit_ring_open(&ring, 8, packed ? BIT64(VIRTIO_F_RING_PACKED) : 0, 0);
		vring_publish(&ring.vring);
		assert_int_equal(unit_ring_calls(&ring), 0);
	}
}

// ---- whoever else has an eventfd may make it a blocking one

// Full, and it blocks.
static int blocking_fd(void)
{
	int fd = unit_full_eventfd();

	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	return fd;
}

TEST(call_fd_that_has_blocked_is_given_up)
{
	vring_set_call_fd(&ring.vring, blocking_fd());
	unit_interrupt(true);
	vring_signal_owed(&ring.vring);
	unit_interrupt(false);
	assert_int_equal(ring.vring.call_fd, -1);
	vring_call(&ring.vring);
}

TEST(err_fd_that_has_blocked_is_given_up)
{
	vring_set_err_fd(&ring.vring, blocking_fd());
	unit_interrupt(true);
	vring_break(&ring.vring, "for a reason");
	unit_interrupt(false);
	assert_int_equal(ring.vring.err_fd, -1);
	vring_signal_err(&ring.vring);
}

// A full one that does not block has told what there is to tell.
TEST(full_fds_that_do_not_block_stay)
{
	vring_set_call_fd(&ring.vring, unit_full_eventfd());
	vring_set_err_fd(&ring.vring, unit_full_eventfd());
	vring_call(&ring.vring);
	vring_break(&ring.vring, "for a reason");
	assert_true(ring.vring.call_fd >= 0);
	assert_true(ring.vring.err_fd >= 0);
}

// It is the session's, so it stays open; the ring leaves it alone until it is placed again, which a new log does.
TEST(log_fd_that_has_blocked_is_left_alone_until_the_ring_is_placed_again)
{
	struct dirty_log log = {.event_fd = blocking_fd()};

	ring.log = &log;
	assert_int_equal(unit_ring_place(&ring, 0, 0), 0);
	unit_interrupt(true);
	vring_publish(&ring.vring);
	unit_interrupt(false);
	assert_true(ring.vring.log_fd_dead);
	vring_publish(&ring.vring); // else it would wait for ever
	assert_int_equal(fcntl(log.event_fd, F_SETFL, O_NONBLOCK), 0);
	vm_ring_eventfd_read(log.event_fd);
	assert_int_equal(unit_ring_place(&ring, 0, 0), 0);
	vring_publish(&ring.vring);
	assert_true(unit_is_readable(log.event_fd));
	close(log.event_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(ring_knows_its_index_and_worker),
		RING_TEST(breaking_stops_the_ring_and_tells_the_front_end_once),
		RING_TEST(breaking_is_logged_once_with_its_reason),
		RING_TEST(breaking_without_an_error_fd_is_possible),
		RING_TEST(wake_comes_in_the_next_turn_once),
		RING_TEST(ring_is_idle_when_nothing_is_between_pop_and_push),
		RING_TEST(each_chain_in_flight_has_request_memory_of_its_own),
		RING_TEST(replaced_and_final_eventfds_are_closed),
		RING_TEST(answers_wait_for_those_before_them_if_in_order),
		RING_TEST(descriptors_and_tables_are_only_read),
		RING_TEST(memory_that_cannot_be_had_for_requests_is_an_error_that_leaves_nothing),
		RING_TEST(driver_is_not_called_for_nothing),
		RING_TEST(call_fd_that_has_blocked_is_given_up),
		RING_TEST(err_fd_that_has_blocked_is_given_up),
		RING_TEST(full_fds_that_do_not_block_stay),
		RING_TEST(log_fd_that_has_blocked_is_left_alone_until_the_ring_is_placed_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
