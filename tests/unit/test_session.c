// SPDX-License-Identifier: Apache-2.0
// Tests of core/session.c.
#include "tests/unit/desk.h"

#include <string.h>
#include <sys/socket.h>

#include "core/log.h"

static struct desk desk;

static int setup(void **state)
{
	(void)state;
	desk_open(&desk, ECHO_AT_ONCE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return desk_close(&desk);
}

TEST(queues_are_spread_over_the_workers)
{
	assert_int_equal(desk.session.queue_count, DESK_RINGS);
	for (unsigned i = 0; i < DESK_RINGS; i++) {
		assert_ptr_equal(desk.session.queues[i].worker, &desk.workers[i % DESK_WORKERS]);
		assert_int_equal(desk.session.queues[i].max_size, desk.echo.max_size);
	}
}

TEST(device_that_names_no_queue_size_gets_the_default)
{
	struct session session;

	desk.echo.ops.queue_size = NULL;
	assert_int_equal(session_init(&session, &desk.echo.device, desk.workers, 1, 0), 0);
	assert_int_equal(session.queues[0].max_size, DEVICE_QUEUE_SIZE);
	session_fini(&session);
}

TEST(most_and_largest_rings_cost_no_memory_before_they_are_used)
{
	struct session session;

	desk.echo.queues = DEVICE_MAX_QUEUES;
	desk.echo.max_size = 32768;
	assert_int_equal(session_init(&session, &desk.echo.device, desk.workers, DESK_WORKERS, 0),
			 0);
	assert_int_equal(session.queue_count, DEVICE_MAX_QUEUES);
	session_fini(&session);
	assert_int_equal(session.queue_count, 0);
}

TEST(offered_features_are_those_of_the_device_and_of_the_core)
{
	assert_true(session_offered_features(&desk.session) ==
		    (ECHO_FEATURE | BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_F_INDIRECT_DESC) |
		     BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VHOST_F_LOG_ALL) |
		     BIT64(VHOST_USER_F_PROTOCOL_FEATURES)));
}

TEST(nothing_starts_before_anything_is_said)
{
	session_start_queues(&desk.session);
	assert_false(session_is_running(&desk.session));
}

TEST(stopped_rings_all_go_on_where_they_were)
{
	for (unsigned i = 0; i < DESK_RINGS; i++)
		desk_say_all(&desk, i);
	for (unsigned round = 0; round < 50; round++) {
		session_stop_queues(&desk.session);
		assert_false(session_is_running(&desk.session));
		session_start_queues(&desk.session);
		assert_true(session_is_running(&desk.session));
		for (unsigned i = 0; i < DESK_RINGS; i++)
			assert_true(desk_ring_works(&desk, i));
	}
	assert_int_equal(desk.session.queues[0].vring.refused_chains, 0);
}

TEST(session_runs_while_one_ring_does)
{
	desk_say_all(&desk, 2);
	assert_true(session_is_running(&desk.session));
	assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 2, 0), 0);
	assert_false(session_is_running(&desk.session));
}

TEST(reset_gives_back_all_that_a_front_end_brought)
{
	unsigned fds = unit_open_fds();
	int sockets[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	desk_accept_protocol_features(&desk);
	for (unsigned i = 0; i < DESK_RINGS; i++)
		desk_say_all(&desk, i);
	assert_int_equal(
		desk_send(&desk, VU_SET_BACKEND_REQ_FD, VU_VERSION, NULL, 0, &sockets[0], 1), 0);
	close(sockets[0]);
	close(sockets[1]);
	session_reset(&desk.session);
	assert_int_equal(unit_open_fds(), fds);
	assert_false(session_is_running(&desk.session));
	assert_int_equal(desk.session.memory.count, 0);
	assert_int_equal(desk.session.features, 0);
	assert_int_equal(desk.session.protocol_features, 0);
	assert_true(echo_count(&desk.echo.features) == 0);
	session_start_queues(&desk.session);
	assert_false(session_is_running(&desk.session));
}

TEST(session_serves_again_after_a_reset)
{
	for (unsigned i = 0; i < 20; i++) {
		desk_say_all(&desk, 0);
		assert_true(desk_ring_works(&desk, 0));
		session_reset(&desk.session);
		vm_ring_reset(&desk.rings[0]);
	}
	assert_int_equal(echo_count(&desk.echo.served), 20);
}

TEST(reset_drains_what_is_in_flight)
{
	desk.echo.order = ECHO_LATER;
	desk_say_all(&desk, 0);
	assert_true(echo_add(&desk.rings[0], &desk.slots[0], 1));
	vm_ring_kick(&desk.rings[0]);
	echo_wait(&desk.echo.taken, 1);
	session_reset(&desk.session);
	assert_ptr_equal(echo_take(&desk.rings[0]), &desk.slots[0]);
}

// ---- changes of the configuration

static int channel[2];

static void open_channel(void)
{
	desk_accept_protocol_features(&desk);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, channel), 0);
	assert_int_equal(
		desk_send(&desk, VU_SET_BACKEND_REQ_FD, VU_VERSION, NULL, 0, &channel[1], 1), 0);
}

static void close_channel(void)
{
	close(channel[0]);
	close(channel[1]);
}

// How many times the front-end has been told that the configuration changed.
static unsigned changes_told(void)
{
	struct vu_header header;
	unsigned count = 0;

	while (read(channel[0], &header, sizeof(header)) == sizeof(header)) {
		assert_int_equal(header.request, VU_BACKEND_CONFIG_CHANGE_MSG);
		assert_int_equal(header.flags, VU_VERSION);
		assert_int_equal(header.size, 0);
		count++;
	}
	return count;
}

TEST(front_end_with_a_running_ring_hears_of_a_change_at_once)
{
	open_channel();
	desk_say_all(&desk, 0);
	session_config_changed(&desk.session);
	assert_int_equal(changes_told(), 1);
	assert_true(desk_ring_works(&desk, 0));
	close_channel();
}

TEST(front_end_without_a_running_ring_hears_of_changes_when_it_starts)
{
	open_channel();
	session_config_changed(&desk.session);
	session_config_changed(&desk.session);
	assert_int_equal(changes_told(), 0);
	desk_say_all(&desk, 0);
	assert_int_equal(changes_told(), 1);
	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	assert_int_equal(changes_told(), 0);
	close_channel();
}

TEST(front_end_without_a_channel_is_told_nothing)
{
	desk_say_all(&desk, 0);
	session_config_changed(&desk.session);
	desk_expect_no_reply(&desk);
	assert_true(desk_ring_works(&desk, 0));
}

static void break_ring(unsigned ring)
{
	desk.rings[ring].avail->idx = (u16)(desk.rings[ring].avail->idx + 1000);
	vm_ring_notify(&desk.rings[ring]);
	unit_wait_readable(desk.rings[ring].err_fd);
}

static void set_status(u64 status)
{
	assert_int_equal(desk_send_u64(&desk, VU_SET_STATUS, VU_VERSION, status), 0);
}

TEST(front_end_hears_once_that_the_device_needs_a_reset)
{
	open_channel();
	desk_say_all(&desk, 0);
	desk_say_all(&desk, 1);
	set_status(VM_STATUS_DRIVER_OK);
	break_ring(1);
	session_ring_broke(&desk.session);
	assert_int_equal(changes_told(), 1);
	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	set_status(VM_STATUS_DRIVER_OK);
	assert_int_equal(changes_told(), 0);
	close_channel();
}

TEST(driver_that_is_not_ok_yet_hears_of_a_broken_ring_when_it_is)
{
	open_channel();
	desk_say_all(&desk, 0);
	break_ring(0);
	session_ring_broke(&desk.session);
	set_status(VM_STATUS_DRIVER);
	assert_int_equal(changes_told(), 0);
	set_status(VM_STATUS_DRIVER_OK);
	assert_int_equal(changes_told(), 1);
	close_channel();
}

TEST(driver_is_not_told_of_a_ring_that_was_set_up_anew)
{
	open_channel();
	desk_say_all(&desk, 0);
	break_ring(0);
	session_ring_broke(&desk.session);
	set_status(0);
	vm_ring_reset(&desk.rings[0]);
	desk_say_all(&desk, 0);
	set_status(VM_STATUS_DRIVER_OK);
	assert_int_equal(changes_told(), 0);
	assert_true(desk_ring_works(&desk, 0));
	close_channel();
}

// It could not tell its driver what the message is about.
TEST(front_end_without_a_status_or_a_configuration_is_not_told_of_a_broken_ring)
{
	const unsigned needed[] = {VU_PROTOCOL_F_STATUS, VU_PROTOCOL_F_CONFIG};

	open_channel();
	desk_say_all(&desk, 0);
	set_status(VM_STATUS_DRIVER_OK);
	break_ring(0);
	for (unsigned i = 0; i < ARRAY_SIZE(needed); i++) {
		u64 features = session_offered_protocol_features(&desk.session);

		assert_int_equal(desk_send_u64(&desk, VU_SET_PROTOCOL_FEATURES, VU_VERSION,
					       features & ~VU_BIT(needed[i])),
				 0);
		session_ring_broke(&desk.session);
		assert_int_equal(changes_told(), 0);
	}
	close_channel();
}

// ---- what the device is made of

TEST(refresh_finds_all_rings_stopped_and_they_go_on)
{
	desk_say_all(&desk, 0);
	desk_say_all(&desk, 1);
	for (unsigned i = 1; i <= 5; i++) {
		assert_true(desk_ring_works(&desk, 0));
		session_refresh(&desk.session);
		assert_int_equal(desk.echo.refreshes, i);
		assert_true(desk_ring_works(&desk, 1));
	}
}

// Answers where it was.
static unsigned stop_ring(unsigned ring)
{
	struct vu_vring_state answer;

	assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, ring, 0), 0);
	desk_expect(&desk, VU_GET_VRING_BASE, &answer, sizeof(answer));
	return answer.num;
}

TEST(device_is_active_from_the_first_ring_s_start_until_the_last_is_stopped)
{
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(desk.echo.activations, i - 1);
		desk_say_all(&desk, 0);
		desk_say_all(&desk, 1);
		assert_int_equal(desk.echo.activations, i);
		stop_ring(0);
		assert_true(desk_ring_works(&desk, 1));
		assert_int_equal(desk.echo.deactivations, i - 1);
		stop_ring(1);
		assert_int_equal(desk.echo.deactivations, i);
		stop_ring(1);
		session_reset(&desk.session);
		assert_int_equal(desk.echo.deactivations, i);
		vm_ring_reset(&desk.rings[0]);
		vm_ring_reset(&desk.rings[1]);
	}
}

TEST(device_stays_active_while_rings_are_but_paused_and_not_while_all_are_disabled)
{
	desk_say_all(&desk, 0);
	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	session_refresh(&desk.session);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(desk.echo.activations, 1);
	assert_int_equal(desk.echo.deactivations, 0);
	assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(desk.echo.deactivations, 1);
	assert_int_equal(desk_say(&desk, DESK_ENABLE, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(desk.echo.activations, 2);
}

TEST(device_is_given_up_by_a_front_end_that_goes_or_resets_it)
{
	desk_accept_protocol_features(&desk);
	desk_say_all(&desk, 0);
	assert_int_equal(desk_send(&desk, VU_RESET_DEVICE, VU_VERSION, NULL, 0, NULL, 0), 0);
	assert_int_equal(desk.echo.deactivations, 1);
	vm_ring_reset(&desk.rings[0]);
	desk_say_all(&desk, 0);
	assert_int_equal(desk.echo.activations, 2);
	session_reset(&desk.session);
	assert_int_equal(desk.echo.deactivations, 2);
}

TEST(rings_wait_for_a_device_that_is_in_other_hands)
{
	desk.echo.busy = -EAGAIN;
	desk_say_all(&desk, 0);
	assert_true(desk.session.held_up);
	assert_false(session_is_running(&desk.session));
	desk.echo.busy = 0;
	session_start_queues(&desk.session);
	assert_false(desk.session.held_up);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(ring_that_is_stopped_while_it_waits_keeps_its_place)
{
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
	stop_ring(0);
	desk.echo.busy = -EAGAIN;
	desk_say_all(&desk, 0);
	assert_int_equal(stop_ring(0), 1);
	assert_false(desk.session.held_up);
	assert_int_equal(desk.echo.deactivations, 2);
	desk.echo.busy = 0;
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(configuration_is_offered_only_by_a_device_that_has_one)
{
	const u64 config = BIT64(VHOST_USER_PROTOCOL_F_CONFIG);

	assert_true(session_offered_protocol_features(&desk.session) & config);
	desk.echo.ops.config = NULL;
	assert_false(session_offered_protocol_features(&desk.session) & config);
}

TEST(memory_that_nobody_has_written_is_said_once)
{
	const char *said;

	log_init("unit", LOG_LEVEL_INFO);
	unit_capture(STDERR_FILENO);
	for (unsigned step = 0; step < 2 * DESK_WORDS; step++) {
		assert_int_equal(
			desk_say(&desk, (enum desk_word)(step % DESK_WORDS), step / DESK_WORDS), 0);
		for (unsigned i = 0; i < desk.session.memory.count; i++)
			desk.session.memory.regions[i].map.blank = true;
	}
	said = strstr(unit_captured(), "all of the guest's memory was empty");
	assert_non_null(said);
	assert_null(strstr(strchr(said, '\n'), "memory was empty"));
}

#define DESK_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DESK_TEST(queues_are_spread_over_the_workers),
		DESK_TEST(device_that_names_no_queue_size_gets_the_default),
		DESK_TEST(most_and_largest_rings_cost_no_memory_before_they_are_used),
		DESK_TEST(offered_features_are_those_of_the_device_and_of_the_core),
		DESK_TEST(configuration_is_offered_only_by_a_device_that_has_one),
		DESK_TEST(memory_that_nobody_has_written_is_said_once),
		DESK_TEST(nothing_starts_before_anything_is_said),
		DESK_TEST(stopped_rings_all_go_on_where_they_were),
		DESK_TEST(session_runs_while_one_ring_does),
		DESK_TEST(reset_gives_back_all_that_a_front_end_brought),
		DESK_TEST(session_serves_again_after_a_reset),
		DESK_TEST(reset_drains_what_is_in_flight),
		DESK_TEST(front_end_with_a_running_ring_hears_of_a_change_at_once),
		DESK_TEST(front_end_without_a_running_ring_hears_of_changes_when_it_starts),
		DESK_TEST(front_end_without_a_channel_is_told_nothing),
		DESK_TEST(front_end_hears_once_that_the_device_needs_a_reset),
		DESK_TEST(driver_that_is_not_ok_yet_hears_of_a_broken_ring_when_it_is),
		DESK_TEST(driver_is_not_told_of_a_ring_that_was_set_up_anew),
		DESK_TEST(
			front_end_without_a_status_or_a_configuration_is_not_told_of_a_broken_ring),
		DESK_TEST(refresh_finds_all_rings_stopped_and_they_go_on),
		DESK_TEST(device_is_active_from_the_first_ring_s_start_until_the_last_is_stopped),
		DESK_TEST(
			device_stays_active_while_rings_are_but_paused_and_not_while_all_are_disabled),
		DESK_TEST(device_is_given_up_by_a_front_end_that_goes_or_resets_it),
		DESK_TEST(rings_wait_for_a_device_that_is_in_other_hands),
		DESK_TEST(ring_that_is_stopped_while_it_waits_keeps_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
