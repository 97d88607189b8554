// SPDX-License-Identifier: Apache-2.0
// Tests of core/requests_ring.c: setting rings up, in any order, and stopping them.
#include "tests/unit/desk.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

enum { SEEDS = 500 };

static struct desk desk;

static int setup(void **state)
{
	(void)state;
	desk_open(&desk, ECHO_AT_ONCE);
	return 0;
}

static int setup_later(void **state)
{
	(void)state;
	desk_open(&desk, ECHO_LATER);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return desk_close(&desk);
}

static void shuffle(enum desk_word *words, unsigned count, u64 seed)
{
	for (unsigned i = count; i > 1; i--) {
		unsigned pick = unit_random(&seed) % i;
		enum desk_word word = words[pick];

		words[pick] = words[i - 1];
		words[i - 1] = word;
	}
}

// Says these words of ring 0 in an order that the seed tells; the ring must not run before the last, and then work.
static void say_shuffled(const enum desk_word *words, unsigned count, unsigned seed)
{
	enum desk_word shuffled[DESK_WORDS];

	memcpy(shuffled, words, count * sizeof(*words));
	shuffle(shuffled, count, seed);
	for (unsigned i = 0; i < count; i++)
		if (desk_say(&desk, shuffled[i], 0) != 0)
			fail_msg("seed %u: word %d was refused as number %u", seed, shuffled[i], i);
	if (!desk_ring_works(&desk, 0))
		fail_msg("seed %u: the ring does not work", seed);
}

static void start_over(void)
{
	session_reset(&desk.session);
	vm_ring_reset(&desk.rings[0]);
	vm_ring_eventfd_read(desk.rings[0].kick_fd);
}

TEST(ring_comes_up_whatever_the_order_of_the_messages)
{
	static const enum desk_word words[] = {DESK_FEATURES, DESK_MEMORY, DESK_NUM,
					       DESK_ADDR,     DESK_BASE,   DESK_KICK,
					       DESK_CALL,     DESK_ERR,	   DESK_ENABLE};

	for (unsigned seed = 0; seed < SEEDS; seed++) {
		start_over();
		say_shuffled(words, ARRAY_SIZE(words), seed);
	}
}

TEST(stopped_ring_comes_up_again_whatever_the_order_of_the_messages)
{
	static const enum desk_word words[] = {DESK_MEMORY, DESK_NUM,  DESK_ADDR,  DESK_BASE,
					       DESK_KICK,   DESK_CALL, DESK_ENABLE};

	desk_say_all(&desk, 0);
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct vu_vring_state base;

		assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 0, 0), 0);
		desk_expect(&desk, VU_GET_VRING_BASE, &base, sizeof(base));
		assert_int_equal(base.num, desk.rings[0].used_idx);
		say_shuffled(words, ARRAY_SIZE(words), seed);
	}
}

TEST(ring_does_not_run_before_it_has_all_it_needs)
{
	for (enum desk_word last = 0; last < DESK_WORDS; last++) {
		start_over();
		if (last == DESK_CALL || last == DESK_ERR) // these two it does not need
			continue;
		for (enum desk_word word = 0; word < DESK_WORDS; word++)
			if (word != last)
				assert_int_equal(desk_say(&desk, word, 0), 0);
		assert_false(session_is_running(&desk.session));
		assert_int_equal(desk_say(&desk, last, 0), 0);
		assert_true(session_is_running(&desk.session));
		assert_true(desk_ring_works(&desk, 0));
	}
}

TEST(rings_are_independent_of_each_other)
{
	for (unsigned i = 0; i < DESK_RINGS; i++) {
		desk_say_all(&desk, i);
		for (unsigned j = 0; j <= i; j++)
			assert_true(desk_ring_works(&desk, j));
	}
	assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 1, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_true(desk_ring_works(&desk, 2));
	assert_false(desk.session.queues[1].running);
}

TEST(size_must_be_a_power_of_two_that_the_device_can_do)
{
	const u32 bad[] = {0, 3, 100, 512, 1024, 32769, 65535, 65536, 65536 + 256, UINT32_MAX};
	const u32 good[] = {1, 2, 16, 256};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(desk_send_state(&desk, VU_SET_VRING_NUM, 0, bad[i]) < 0);
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(desk_send_state(&desk, VU_SET_VRING_NUM, 0, good[i]), 0);
}

TEST(size_and_base_of_a_running_ring_cannot_change)
{
	desk_say_all(&desk, 0);
	assert_true(desk_say(&desk, DESK_NUM, 0) < 0);
	assert_true(desk_say(&desk, DESK_BASE, 0) < 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(desk_say(&desk, DESK_NUM, 1), 0); // another one's can
}

TEST(base_beyond_sixteen_bits_is_refused)
{
	assert_true(desk_send_state(&desk, VU_SET_VRING_BASE, 0, 65536) < 0);
	assert_int_equal(desk_send_state(&desk, VU_SET_VRING_BASE, 0, 65535), 0);
	assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 0, 0), 0);
	desk_expect_u64(&desk, VU_GET_VRING_BASE, (u64)65535 << 32);
}

// Sends the addresses of ring 0, each with something added.
static int send_addr(u64 desc, u64 avail, u64 used)
{
	const struct vm_ring *ring = &desk.rings[0];
	const struct vu_vring_addr addr = {
		.desc = vm_memory_user_addr(&desk.vm, ring->desc_addr) + desc,
		.avail = vm_memory_user_addr(&desk.vm, ring->avail_addr) + avail,
		.used = vm_memory_user_addr(&desk.vm, ring->used_addr) + used,
	};

	return desk_send(&desk, VU_SET_VRING_ADDR, VU_VERSION, &addr, sizeof(addr), NULL, 0);
}

TEST(misaligned_addresses_are_refused)
{
	for (u64 i = 1; i < 16; i++) {
		assert_true(send_addr(i, 0, 0) < 0);
		assert_int_equal(send_addr(0, i, 0) == 0, i % 2 == 0);
		assert_int_equal(send_addr(0, 0, i) == 0, i % 4 == 0);
	}
}

TEST(ring_that_begins_in_memory_and_ends_outside_is_refused)
{
	const struct vu_region *region = &desk.vm.regions[0].wire;
	struct vu_vring_addr addr = {
		.desc = region->user_addr, .avail = region->user_addr, .used = region->user_addr};
	u64 *parts[] = {&addr.desc, &addr.avail, &addr.used};

	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	assert_int_equal(desk_say(&desk, DESK_NUM, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		*parts[i] = region->user_addr + region->size - 16;
		assert_true(desk_send(&desk, VU_SET_VRING_ADDR, VU_VERSION, &addr, sizeof(addr),
				      NULL, 0) < 0);
		*parts[i] = region->user_addr;
	}
}

TEST(addresses_of_a_running_ring_may_be_said_again_and_its_indices_stay)
{
	desk_say_all(&desk, 0);
	for (unsigned i = 0; i < 40; i++) { // also past the end of the ring
		assert_true(desk_ring_works(&desk, 0));
		assert_int_equal(desk_say(&desk, DESK_ADDR, 0), 0);
	}
	assert_true(desk_ring_works(&desk, 0));
}

TEST(stopped_ring_tells_its_next_entry_as_often_as_it_is_asked)
{
	struct vu_vring_state base;

	desk_say_all(&desk, 1);
	for (unsigned i = 0; i < 5; i++)
		assert_true(desk_ring_works(&desk, 1));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 1, 0), 0);
		desk_expect(&desk, VU_GET_VRING_BASE, &base, sizeof(base));
		assert_int_equal(base.index, 1);
		assert_int_equal(base.num, 5);
		assert_false(session_is_running(&desk.session));
	}
}

TEST(base_is_told_when_everything_in_flight_is_answered)
{
	const u64 count = 5;
	struct echo_slot slots[5];
	struct vu_vring_state base;

	desk_say_all(&desk, 0);
	for (u32 i = 0; i < count; i++) {
		echo_slot_init(&slots[i], &desk.vm);
		assert_true(echo_add(&desk.rings[0], &slots[i], i));
	}
	vm_ring_kick(&desk.rings[0]);
	echo_wait(&desk.echo.taken, count);
	assert_null(echo_take(&desk.rings[0]));
	assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 0, 0), 0);
	desk_expect(&desk, VU_GET_VRING_BASE, &base, sizeof(base));
	assert_int_equal(base.num, count);
	for (u32 i = 0; i < count; i++)
		assert_non_null(echo_take(&desk.rings[0]));
}

TEST(disabled_ring_drains_and_goes_on_when_enabled)
{
	desk_say_all(&desk, 0);
	for (unsigned i = 0; i < 40; i++) {
		assert_true(desk_ring_works(&desk, 0));
		assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 0), 0);
		assert_false(session_is_running(&desk.session));
		assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 1), 0);
	}
	assert_true(desk_ring_works(&desk, 0));
}

TEST(enabling_with_anything_but_zero_and_one_is_refused)
{
	assert_true(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 2) < 0);
	assert_true(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, UINT32_MAX) < 0);
	assert_false(desk.session.queues[0].enabled);
}

// ---- eventfds

static const u32 fd_requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};

static int send_fd(u32 request, u64 payload, int fd)
{
	return desk_send(&desk, request, VU_VERSION, &payload, sizeof(payload), &fd, fd >= 0);
}

TEST(fd_and_the_word_that_there_is_none_must_agree)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fd_requests); i++) {
		unsigned before = unit_open_fds();

		assert_true(send_fd(fd_requests[i], VU_VRING_NOFD, desk.rings[0].kick_fd) < 0);
		assert_true(send_fd(fd_requests[i], 0, -1) < 0);
		assert_int_equal(unit_open_fds(), before);
		assert_int_equal(send_fd(fd_requests[i], VU_VRING_NOFD, -1), 0);
	}
}

TEST(what_is_no_eventfd_is_refused)
{
	int fds[] = {epoll_create1(EPOLL_CLOEXEC), timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
		     open("/dev/null", O_RDWR | O_CLOEXEC), open("/", O_RDONLY | O_CLOEXEC),
		     dup(desk.vm.regions[0].fd)};

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_true(fds[i] >= 0);
		for (unsigned j = 0; j < ARRAY_SIZE(fd_requests); j++)
			assert_true(send_fd(fd_requests[j], 0, fds[i]) < 0);
		close(fds[i]);
	}
	assert_int_equal(vm_ring_eventfd_read(desk.rings[0].kick_fd), 0);
}

TEST(only_the_call_fd_is_signalled_and_not_before_the_ring_starts)
{
	assert_int_equal(desk_say(&desk, DESK_KICK, 0), 0);
	assert_int_equal(desk_say(&desk, DESK_CALL, 0), 0);
	assert_int_equal(desk_say(&desk, DESK_ERR, 0), 0);
	assert_int_equal(vm_ring_eventfd_read(desk.rings[0].call_fd), 0);
	desk_say_all(&desk, 0);
	assert_int_equal(vm_ring_eventfd_read(desk.rings[0].kick_fd), 0);
	assert_true(vm_ring_eventfd_read(desk.rings[0].call_fd) > 0);
	assert_int_equal(vm_ring_eventfd_read(desk.rings[0].err_fd), 0);
}

static bool ring_has_answered(const void *context)
{
	(void)context;
	return vm_ring_arm(&desk.rings[0]);
}

TEST(driver_can_be_called_by_a_pipe_even_a_full_blocking_one)
{
	int ends[2];

	desk_say_all(&desk, 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(send_fd(VU_SET_VRING_CALL, 0, ends[1]), 0);
	assert_true(unit_is_readable(ends[0])); // the call that a new call fd brings
	while (write(ends[1], ends, sizeof(ends)) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	for (u32 i = 0; i < 3; i++) {
		u64 served = echo_count(&desk.echo.served) + 1;

		assert_true(echo_add(&desk.rings[0], &desk.slots[0], i));
		vm_ring_kick(&desk.rings[0]);
		unit_wait(ring_has_answered, NULL);
		assert_non_null(echo_take(&desk.rings[0]));
		assert_int_equal(echo_count(&desk.echo.served), served);
	}
	close(ends[0]);
	close(ends[1]);
}

// It is never read, so anything but an eventfd would fill up.
TEST(driver_cannot_kick_by_a_pipe_or_a_socket)
{
	int ends[2], sockets[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_true(send_fd(VU_SET_VRING_KICK, 0, ends[0]) < 0);
	assert_true(send_fd(VU_SET_VRING_KICK, 0, sockets[0]) < 0);
	assert_int_equal(send_fd(VU_SET_VRING_CALL, 0, sockets[0]), 0);
	assert_true(send_fd(VU_SET_VRING_ERR, 0, sockets[0]) < 0);
	for (unsigned i = 0; i < 2; i++) {
		close(ends[i]);
		close(sockets[i]);
	}
}

TEST(ring_without_a_kick_fd_runs)
{
	desk_say_all(&desk, 0);
	assert_int_equal(send_fd(VU_SET_VRING_KICK, VU_VRING_NOFD, -1), 0);
	assert_true(echo_add(&desk.rings[0], &desk.slots[0], 1));
	vm_ring_show(&desk.rings[0]); // and no kick
	assert_int_equal(vm_ring_wait(&desk.rings[0], 5000), 0);
	assert_non_null(echo_take(&desk.rings[0]));
}

TEST(replaced_fds_are_closed)
{
	unsigned before;

	desk_say_all(&desk, 0);
	before = unit_open_fds();
	for (unsigned i = 0; i < 50; i++)
		for (unsigned word = DESK_KICK; word <= DESK_ERR; word++)
			assert_int_equal(desk_say(&desk, (enum desk_word)word, 0), 0);
	assert_int_equal(unit_open_fds(), before);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(broken_ring_is_told_and_can_be_set_up_anew)
{
	desk_say_all(&desk, 0);
	desk.rings[0].avail->idx = DESK_SIZE + 1;
	vm_ring_notify(&desk.rings[0]);
	assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 0, 0), 0);
	desk_expect_u64(&desk, VU_GET_VRING_BASE, 0);
	assert_int_equal(vm_ring_eventfd_read(desk.rings[0].err_fd), 1);
	vm_ring_reset(&desk.rings[0]);
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
}

// A ring that cannot be placed is no secret: the messages about it that ask for an answer hear of it, its err fd too.
TEST(ring_that_cannot_start_is_told_with_its_reason_and_may_be_mended)
{
	const struct vhost_user_vring_addr nowhere = {
		.index = 0, .descriptor = 1 << 20, .available = 2 << 20, .used = 3 << 20};
	const u32 asks = VU_VERSION | VU_NEED_REPLY;
	const struct vhost_user_vring_state on = {.index = 0, .num = 1}, off = {.index = 0};

	desk_accept_protocol_features(&desk);
	desk_say_all(&desk, 0);
	assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(
		desk_send(&desk, VU_SET_VRING_ADDR, asks, &nowhere, sizeof(nowhere), NULL, 0), 0);
	desk_expect_u64(&desk, VU_SET_VRING_ADDR, 0);
	unit_capture(STDERR_FILENO);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(
			desk_send(&desk, VU_SET_VRING_ENABLE, asks, &on, sizeof(on), NULL, 0), 0);
		desk_expect_u64(&desk, VU_SET_VRING_ENABLE, 1);
	}
	assert_string_equal(
		strchr(unit_captured(), ':'),
		": error: ring 0 cannot start: its descriptor area, 256 bytes at 0x100000, "
		"is not in one region of shared memory\n");
	assert_int_equal(vm_ring_eventfd_read(desk.rings[0].err_fd), 1);
	assert_int_equal(desk_send(&desk, VU_SET_OWNER, asks, NULL, 0, NULL, 0), 0);
	desk_expect_u64(&desk, VU_SET_OWNER, 0);
	assert_int_equal(desk_send(&desk, VU_SET_VRING_ENABLE, asks, &off, sizeof(off), NULL, 0),
			 0);
	desk_expect_u64(&desk, VU_SET_VRING_ENABLE, 0);
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
}

// A ring is enabled before its memory has come: no connection is closed for it.
TEST(ring_whose_memory_comes_last_starts_then)
{
	const struct vhost_user_vring_addr nowhere = {
		.index = 0, .descriptor = 1 << 20, .available = 2 << 20, .used = 3 << 20};

	desk_say_all(&desk, 0);
	assert_int_equal(
		desk_send(&desk, VU_SET_VRING_ADDR, VU_VERSION, &nowhere, sizeof(nowhere), NULL, 0),
		0);
	desk_expect_no_reply(&desk);
	assert_int_equal(desk_say(&desk, DESK_ADDR, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
}

#define DESK_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DESK_TEST(ring_comes_up_whatever_the_order_of_the_messages),
		DESK_TEST(stopped_ring_comes_up_again_whatever_the_order_of_the_messages),
		DESK_TEST(ring_does_not_run_before_it_has_all_it_needs),
		DESK_TEST(rings_are_independent_of_each_other),
		DESK_TEST(size_must_be_a_power_of_two_that_the_device_can_do),
		DESK_TEST(size_and_base_of_a_running_ring_cannot_change),
		DESK_TEST(base_beyond_sixteen_bits_is_refused),
		DESK_TEST(misaligned_addresses_are_refused),
		DESK_TEST(ring_that_begins_in_memory_and_ends_outside_is_refused),
		DESK_TEST(addresses_of_a_running_ring_may_be_said_again_and_its_indices_stay),
		DESK_TEST(stopped_ring_tells_its_next_entry_as_often_as_it_is_asked),
		RUN_WITH(setup_later, base_is_told_when_everything_in_flight_is_answered, teardown),
		DESK_TEST(disabled_ring_drains_and_goes_on_when_enabled),
		DESK_TEST(enabling_with_anything_but_zero_and_one_is_refused),
		DESK_TEST(fd_and_the_word_that_there_is_none_must_agree),
		DESK_TEST(what_is_no_eventfd_is_refused),
		DESK_TEST(only_the_call_fd_is_signalled_and_not_before_the_ring_starts),
		DESK_TEST(driver_can_be_called_by_a_pipe_even_a_full_blocking_one),
		DESK_TEST(driver_cannot_kick_by_a_pipe_or_a_socket),
		DESK_TEST(ring_without_a_kick_fd_runs),
		DESK_TEST(replaced_fds_are_closed),
		DESK_TEST(broken_ring_is_told_and_can_be_set_up_anew),
		DESK_TEST(ring_that_cannot_start_is_told_with_its_reason_and_may_be_mended),
		DESK_TEST(ring_whose_memory_comes_last_starts_then),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
