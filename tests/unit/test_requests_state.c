// SPDX-License-Identifier: Apache-2.0
// Tests of core/requests_state.c: reset, status, and when the device's state may be moved.
#include "tests/unit/desk.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "core/process.h"

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

static int set_status(u64 status)
{
	return desk_send_u64(&desk, VU_SET_STATUS, VU_VERSION, status);
}

static void expect_status(u64 status)
{
	assert_int_equal(desk_send(&desk, VU_GET_STATUS, VU_VERSION, NULL, 0, NULL, 0), 0);
	desk_expect_u64(&desk, VU_GET_STATUS, status);
}

static void send_empty(u32 request)
{
	assert_int_equal(desk_send(&desk, request, VU_VERSION, NULL, 0, NULL, 0), 0);
}

TEST(status_is_what_the_front_end_said)
{
	expect_status(0);
	assert_int_equal(set_status(VM_STATUS_ACKNOWLEDGE), 0);
	expect_status(VM_STATUS_ACKNOWLEDGE);
	assert_int_equal(set_status(0xbf & ~VM_STATUS_FEATURES_OK), 0);
	expect_status(0xbf & ~VM_STATUS_FEATURES_OK);
	assert_true(set_status(0x100) < 0);
	assert_true(set_status(UINT64_MAX) < 0);
	expect_status(0xbf & ~VM_STATUS_FEATURES_OK);
}

TEST(features_are_ok_only_if_they_were_accepted)
{
	assert_true(set_status(VM_STATUS_FEATURES_OK) < 0);
	expect_status(0);
	assert_true(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION, VU_BIT(62)) < 0);
	assert_true(set_status(VM_STATUS_FEATURES_OK) < 0);
	assert_int_equal(desk_say(&desk, DESK_FEATURES, 0), 0);
	assert_int_equal(set_status(VM_STATUS_FEATURES_OK), 0);
	expect_status(VM_STATUS_FEATURES_OK);
	assert_true(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION, VU_BIT(62)) < 0);
	expect_status(0);
	assert_true(set_status(VM_STATUS_FEATURES_OK) < 0);
	assert_int_equal(desk_say(&desk, DESK_FEATURES, 0), 0);
	expect_status(VM_STATUS_FEATURES_OK);
}

TEST(rings_do_not_wait_for_the_driver_to_be_ok)
{
	desk_say_all(&desk, 0);
	expect_status(0);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(set_status(VM_STATUS_DRIVER), 0);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(broken_ring_needs_a_reset)
{
	desk_say_all(&desk, 0);
	desk_say_all(&desk, 1);
	assert_int_equal(set_status(VM_STATUS_DRIVER_OK), 0);
	desk.rings[1].avail->idx = (u16)(desk.rings[1].avail->idx + 1000);
	vm_ring_notify(&desk.rings[1]);
	unit_wait_readable(desk.rings[1].err_fd);
	expect_status(VM_STATUS_DRIVER_OK | VM_STATUS_DEVICE_NEEDS_RESET);
	// front-ends add to what they have read
	assert_int_equal(set_status(VM_STATUS_DRIVER | VM_STATUS_DEVICE_NEEDS_RESET), 0);
	expect_status(VM_STATUS_DRIVER | VM_STATUS_DEVICE_NEEDS_RESET);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(set_status(0), 0);
	expect_status(0);
}

static void expect_stopped(void)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct queue *queue = &desk.session.queues[i];

		assert_false(queue->running || queue->started || queue->enabled);
	}
	assert_true(desk.session.memory.count > 0);
	assert_true(desk.session.protocol_features != 0);
}

TEST(status_0_stops_the_rings_and_leaves_the_device_to_a_driver_that_goes_on)
{
	struct vu_vring_state base;

	desk_say_all(&desk, 0);
	desk_say_all(&desk, 1);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(set_status(VM_STATUS_DRIVER_OK | VM_STATUS_FEATURES_OK), 0);
	assert_int_equal(set_status(0), 0);
	expect_stopped();
	expect_status(0);
	assert_int_equal(desk.echo.resets, 0);
	// QEMU 7.2 asks for the base only now
	assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 0, 0), 0);
	desk_expect(&desk, VU_GET_VRING_BASE, &base, sizeof(base));
	assert_int_equal(base.num, 1);
	assert_int_equal(set_status(VM_STATUS_FEATURES_OK), 0);
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
}

// All rings, stopped as QEMU does.
static void take_bases(unsigned count)
{
	struct vu_vring_state base;

	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, i, 0), 0);
		desk_expect(&desk, VU_GET_VRING_BASE, &base, sizeof(base));
	}
}

TEST(pauses_are_no_new_drivers)
{
	for (unsigned round = 0; round < 3; round++) {
		desk_say_all(&desk, 0);
		desk_say_all(&desk, 1);
		assert_true(desk_ring_works(&desk, 1));
		if (round == 1) { // also those of a migration that came to nothing
			assert_int_equal(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION,
						       DESK_RING_FEATURES | BIT64(VHOST_F_LOG_ALL)),
					 0);
			assert_true(desk_ring_works(&desk, 1));
		}
		take_bases(2);
	}
	assert_int_equal(desk.echo.resets, 0);
}

TEST(driver_is_new_if_a_ring_begins_where_it_was_not_stopped)
{
	desk_say_all(&desk, 0); // never used
	desk_say_all(&desk, 1);
	assert_true(desk_ring_works(&desk, 1));
	take_bases(2);
	vm_ring_reset(&desk.rings[1]);
	desk_say_all(&desk, 0);
	assert_int_equal(desk.echo.resets, 0); // it may be the same
	desk_say_all(&desk, 1);
	assert_int_equal(desk.echo.resets, 1);
	assert_true(desk.session.queues[0].running);
	assert_true(desk.echo.features == DESK_RING_FEATURES);
	assert_true(desk_ring_works(&desk, 0) && desk_ring_works(&desk, 1));
	assert_int_equal(desk.echo.resets, 1);
}

TEST(driver_is_new_if_its_features_are_others)
{
	desk_say_all(&desk, 0);
	take_bases(1);
	assert_int_equal(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION,
				       DESK_RING_FEATURES | ECHO_FEATURE),
			 0);
	assert_int_equal(desk.echo.resets, 0);
	for (enum desk_word word = DESK_MEMORY; word < DESK_WORDS; word++)
		assert_int_equal(desk_say(&desk, word, 0), 0);
	assert_int_equal(desk.echo.resets, 1);
	assert_true(desk.echo.features == (DESK_RING_FEATURES | ECHO_FEATURE));
	assert_true(desk_ring_works(&desk, 0));
}

TEST(driver_is_new_if_an_unused_ring_is_elsewhere)
{
	desk_say_all(&desk, 0);
	take_bases(1);
	desk.session.queues[0].before.desc.value += 16;
	desk_say_all(&desk, 0);
	assert_int_equal(desk.echo.resets, 1);
}

TEST(one_ring_alone_that_begins_anew_is_no_new_driver)
{
	desk_say_all(&desk, 0);
	desk_say_all(&desk, 1);
	assert_true(desk_ring_works(&desk, 0) && desk_ring_works(&desk, 1));
	take_bases(1);
	vm_ring_reset(&desk.rings[0]);
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(desk.echo.resets, 0);
}

TEST(driver_that_was_reset_by_message_is_not_reset_again)
{
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
	send_empty(VU_RESET_DEVICE);
	vm_ring_reset(&desk.rings[0]);
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(desk.echo.resets, 1);
}

TEST(second_owner_begins_anew)
{
	unsigned fds = unit_open_fds();
	int sockets[4];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets + 2), 0);
	for (size_t i = 0; i < 3; i++) {
		desk_accept_protocol_features(&desk);
		if (i < 2) // the third has none: that of the second is not for it
			assert_int_equal(desk_send(&desk, VU_SET_BACKEND_REQ_FD, VU_VERSION, NULL,
						   0, &sockets[2 * i], 1),
					 0);
		send_empty(VU_SET_OWNER);
		assert_true(desk.session.protocol_features != 0);
		assert_int_equal(desk.session.backend_fd >= 0, i < 2);
		assert_int_equal(desk.session.memory.count, 0);
		assert_false(desk.session.negotiated || session_is_running(&desk.session));
		assert_int_equal(desk.echo.resets, i);
		desk_say_all(&desk, 0);
		assert_true(desk_ring_works(&desk, 0));
		vm_ring_reset(&desk.rings[0]);
	}
	session_reset(&desk.session);
	for (unsigned i = 0; i < 4; i++)
		close(sockets[i]);
	assert_int_equal(unit_open_fds(), fds);
}

TEST(owners_of_one_device_for_each_of_its_queues_leave_what_was_said)
{
	send_empty(VU_SET_OWNER);
	assert_int_equal(desk_say(&desk, DESK_CALL, 0), 0);
	send_empty(VU_SET_OWNER);
	assert_true(desk.session.queues[0].vring.call_fd >= 0);
	assert_int_equal(desk.echo.resets, 0);
}

TEST(reset_stops_the_rings_and_resets_the_device)
{
	desk_say_all(&desk, 0);
	desk_say_all(&desk, 1);
	assert_int_equal(set_status(VM_STATUS_DRIVER_OK), 0);
	send_empty(VU_RESET_DEVICE);
	expect_stopped();
	expect_status(0);
	assert_int_equal(desk.echo.resets, 1);
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(reset_of_the_owner_disables_rings)
{
	desk_say_all(&desk, 0);
	send_empty(VU_RESET_OWNER);
	assert_false(desk.session.queues[0].running || desk.session.queues[0].enabled);
	assert_int_equal(desk.echo.resets, 0);
	assert_int_equal(desk_say(&desk, DESK_ENABLE, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
}

// ---- the state

// Begins a transfer; whether it is refused. The fd is closed.
static bool refuses(u32 direction, u32 phase, int fd)
{
	const struct vu_transfer asked = {.direction = direction, .phase = phase};
	u64 answer;

	assert_true(fd >= 0);
	assert_int_equal(
		desk_send(&desk, VU_SET_DEVICE_STATE_FD, VU_VERSION, &asked, sizeof(asked), &fd, 1),
		0);
	close(fd);
	desk_expect(&desk, VU_SET_DEVICE_STATE_FD, &answer, sizeof(answer));
	assert_true(answer == VU_TRANSFER_NO_FD || answer == (VU_TRANSFER_NO_FD | 1));
	return answer != VU_TRANSFER_NO_FD;
}

static bool is_good(void)
{
	u64 answer;

	send_empty(VU_CHECK_DEVICE_STATE);
	desk_expect(&desk, VU_CHECK_DEVICE_STATE, &answer, sizeof(answer));
	return answer == 0;
}

// Ends of a pipe that holds a good state and is not yet at its end.
static void make_state(int fds[2])
{
	static const u8 header[] = "VMDS\x01\0\x2a\0\x03\0\0\0\0\0\0";

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], header, sizeof(header)), 16);
}

TEST(state_is_moved_while_the_device_is_suspended)
{
	const char *path = unit_path("state");

	assert_false(is_good());
	assert_false(
		refuses(VU_TRANSFER_SAVE, 0, open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
	assert_true(is_good());
	assert_false(refuses(VU_TRANSFER_LOAD, 0, open(path, O_RDONLY | O_CLOEXEC)));
	assert_true(is_good());
	assert_int_equal(desk.echo.loads, 1);
}

TEST(odd_fds_are_refused)
{
	const char *path = unit_path("odd");
	int fds[2];

	assert_true(refuses(VU_TRANSFER_LOAD, 0, eventfd(0, EFD_CLOEXEC)));
	assert_true(refuses(VU_TRANSFER_LOAD, 0, open("/dev/zero", O_RDONLY | O_CLOEXEC)));
	assert_true(refuses(VU_TRANSFER_LOAD, 0, open("/", O_RDONLY | O_CLOEXEC)));
	assert_true(refuses(VU_TRANSFER_LOAD, 0, open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
	assert_true(refuses(VU_TRANSFER_SAVE, 0, open(path, O_RDONLY | O_CLOEXEC)));
	assert_true(refuses(VU_TRANSFER_LOAD, 0, open(path, O_PATH | O_CLOEXEC)));
	assert_false(is_good());
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_DIRECT),
			 0); // a flag that the lockdown does not let us keep
	assert_false(refuses(VU_TRANSFER_LOAD, 0, fds[0]));
	assert_int_equal(fcntl(fds[1], F_GETFL) & O_DIRECT, O_DIRECT);
	close(fds[1]);
	assert_false(is_good());
}

TEST(wrong_direction_and_phase_are_refused)
{
	for (u32 odd = 1; odd; odd <<= 1) {
		assert_true(refuses(VU_TRANSFER_LOAD, odd, open("/dev/null", O_RDWR | O_CLOEXEC)));
		assert_true(refuses(odd + 1, 0, open("/dev/null", O_RDWR | O_CLOEXEC)));
	}
}

TEST(transfer_is_refused_while_a_ring_runs_and_given_up_when_one_starts)
{
	int fds[2];

	desk_say_all(&desk, 0);
	make_state(fds);
	assert_true(refuses(VU_TRANSFER_LOAD, 0, fds[0]));
	close(fds[1]);
	assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 0), 0); // suspended enough
	make_state(fds);
	assert_false(refuses(VU_TRANSFER_LOAD, 0, fds[0]));
	assert_int_equal(desk_say(&desk, DESK_ENABLE, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
	close(fds[1]); // too late
	assert_false(is_good());
	assert_int_equal(desk.echo.loads, 0);
}

// Its file descriptor is closed and nothing is taken over, with or without the front-end.
TEST(transfer_under_way_is_given_up_with_a_reset_and_with_the_front_end)
{
	for (unsigned i = 0; i < 2; i++) {
		int fds[2];

		make_state(fds);
		assert_false(refuses(VU_TRANSFER_LOAD, 0, fds[0]));
		if (i == 0)
			send_empty(VU_RESET_DEVICE);
		else
			session_reset(&desk.session);
		assert_int_equal(write(fds[1], "", 1), -1); // EPIPE
		close(fds[1]);
		desk_accept_protocol_features(&desk);
		assert_false(is_good());
	}
	assert_int_equal(desk.echo.loads, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_WITH(setup, status_is_what_the_front_end_said, teardown),
		RUN_WITH(setup, features_are_ok_only_if_they_were_accepted, teardown),
		RUN_WITH(setup, rings_do_not_wait_for_the_driver_to_be_ok, teardown),
		RUN_WITH(setup, broken_ring_needs_a_reset, teardown),
		RUN_WITH(setup,
			 status_0_stops_the_rings_and_leaves_the_device_to_a_driver_that_goes_on,
			 teardown),
		RUN_WITH(setup, pauses_are_no_new_drivers, teardown),
		RUN_WITH(setup, driver_is_new_if_a_ring_begins_where_it_was_not_stopped, teardown),
		RUN_WITH(setup, driver_is_new_if_its_features_are_others, teardown),
		RUN_WITH(setup, driver_is_new_if_an_unused_ring_is_elsewhere, teardown),
		RUN_WITH(setup, one_ring_alone_that_begins_anew_is_no_new_driver, teardown),
		RUN_WITH(setup, driver_that_was_reset_by_message_is_not_reset_again, teardown),
		RUN_WITH(setup, second_owner_begins_anew, teardown),
		RUN_WITH(setup, owners_of_one_device_for_each_of_its_queues_leave_what_was_said,
			 teardown),
		RUN_WITH(setup, reset_stops_the_rings_and_resets_the_device, teardown),
		RUN_WITH(setup, reset_of_the_owner_disables_rings, teardown),
		RUN_WITH(setup, state_is_moved_while_the_device_is_suspended, teardown),
		RUN_WITH(setup, odd_fds_are_refused, teardown),
		RUN_WITH(setup, wrong_direction_and_phase_are_refused, teardown),
		RUN_WITH(setup, transfer_is_refused_while_a_ring_runs_and_given_up_when_one_starts,
			 teardown),
		RUN_WITH(setup, transfer_under_way_is_given_up_with_a_reset_and_with_the_front_end,
			 teardown),
	};

	process_reset_signals(); // as main does
	return cmocka_run_group_tests(tests, NULL, NULL);
}
