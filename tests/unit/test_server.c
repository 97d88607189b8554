// SPDX-License-Identifier: Apache-2.0
// Tests of core/server.c: the life of a daemon with its front-ends, workers and device.
#include "tests/unit/serve.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/frontend/vm.h"

static struct vm vm;
static struct echo_slot slots[4]; // one for each ring

static const char *listen_on_path(void)
{
	const char *path = unit_path("socket");

	assert_int_equal(listener_open_path(&unit_server.listener, path, FILE_ACCESS(0600)), 0);
	unit_server_start(&unit_server, &unit_echo.device);
	return path;
}

// Serves one end of a socket pair; answers the other.
static int serve_socket(void)
{
	int sockets[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(listener_open_fd(&unit_server.listener, sockets[0]), 0);
	unit_server_start(&unit_server, &unit_echo.device);
	return sockets[1];
}

static void start_vm(const char *path, unsigned queues)
{
	const struct vm_options options = {
		.queues = queues, .queue_size = 16, .memory_size = 1 << 20};
	int error = vm_start(&vm, path, &options);

	if (error)
		fail_msg("%s failed: %d", vm_step_name(vm.step), error);
	for (unsigned i = 0; i < queues; i++)
		echo_slot_init(&slots[i], &vm.memory);
}

static bool ring_works(unsigned ring)
{
	static u32 number;

	return echo_works(&vm.rings[ring], &slots[ring], ++number);
}

// ---- one front-end: serve it and end

TEST(one_connection_is_served_and_then_the_server_ends)
{
	unit_server.options.exit_on_disconnect = true;
	start_vm(listen_on_path(), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_true(ring_works(i));
	vm_close(&vm);
	assert_int_equal(unit_server_join(&unit_server), 0);
	assert_int_equal(unit_echo.worker_stops, 2);
	assert_int_equal(access(unit_path("socket"), F_OK), -1);
}

TEST(disconnect_at_once_is_success)
{
	close(serve_socket());
	assert_int_equal(unit_server_join(&unit_server), 0);
}

TEST(partial_message_is_success)
{
	const u8 bytes[] = {VU_GET_FEATURES, 0, 0, 0, VU_VERSION};

	for (size_t len = 1; len <= sizeof(bytes); len++) {
		int fd = serve_socket();

		assert_int_equal(write(fd, bytes, len), len);
		close(fd);
		assert_int_equal(unit_server_join(&unit_server), 0);
	}
}

TEST(partial_payload_is_success)
{
	const struct vu_header header = {
		.request = VU_SET_FEATURES, .flags = VU_VERSION, .size = 8};
	int fd = serve_socket();

	assert_int_equal(write(fd, &header, sizeof(header)), sizeof(header));
	close(fd);
	assert_int_equal(unit_server_join(&unit_server), 0);
}

TEST(broken_socket_is_success)
{
	const struct vu_header header = {.request = VU_GET_FEATURES, .flags = VU_VERSION};
	int fd = serve_socket();

	for (unsigned i = 0; i < 10; i++) // and no reply is read
		assert_int_equal(write(fd, &header, sizeof(header)), sizeof(header));
	close(fd);
	assert_int_equal(unit_server_join(&unit_server), 0);
}

TEST(only_front_end_that_breaks_the_protocol_is_a_failure)
{
	const struct vu_header header = {.request = VU_GET_FEATURES, .flags = 2};
	int fd = serve_socket();

	assert_int_equal(write(fd, &header, sizeof(header)), sizeof(header));
	assert_int_equal(unit_server_join(&unit_server), -EPROTO);
	close(fd);
}

// ---- any number of front-ends

static bool nobody_is_connected(const void *path)
{
	struct frontend frontend;
	u64 features;
	bool served = frontend_connect(&frontend, path, 5000) == 0 &&
		      frontend_get_features(&frontend, &features) == 0;

	frontend_close(&frontend);
	return served;
}

static bool fds_are_back(const void *fds)
{
	return unit_open_fds() == *(const unsigned *)fds;
}

TEST(front_ends_come_and_go_and_leave_nothing_behind)
{
	const char *path = listen_on_path();
	unsigned fds = unit_open_fds();

	for (unsigned i = 0; i < 10; i++) {
		start_vm(path, 4);
		for (unsigned j = 0; j < 4; j++)
			assert_true(ring_works(j));
		vm_close(&vm);
	}
	assert_true(nobody_is_connected(path)); // so the last one's things are given back
	unit_wait(fds_are_back, &fds);
	assert_int_equal(unit_server_stop(&unit_server), 0);
	assert_int_equal(unit_echo.served, 40);
}

TEST(front_end_that_breaks_the_protocol_is_sent_away_and_the_next_is_served)
{
	const struct vu_header bad = {.request = VU_GET_FEATURES, .flags = 2};
	const char *path = listen_on_path();
	struct frontend frontend;

	assert_int_equal(frontend_connect(&frontend, path, 5000), 0);
	assert_int_equal(frontend_send_bytes(&frontend, &bad, sizeof(bad), NULL, 0), 0);
	assert_int_equal(frontend_wait_closed(&frontend), 0);
	frontend_close(&frontend);
	start_vm(path, 1);
	assert_true(ring_works(0));
	vm_close(&vm);
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

TEST(front_end_that_reads_no_replies_is_sent_away)
{
	const struct vu_header header = {.request = VU_GET_FEATURES, .flags = VU_VERSION};
	const char *path = listen_on_path();
	struct frontend frontend;
	int error = 0;

	assert_int_equal(frontend_connect(&frontend, path, 5000), 0);
	for (unsigned i = 0; i < 1000000 && !error; i++)
		error = frontend_send_bytes(&frontend, &header, sizeof(header), NULL, 0);
	assert_int_equal(error, -ECONNRESET);
	frontend_close(&frontend);
	assert_true(nobody_is_connected(path));
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

TEST(second_front_end_is_served_when_the_first_has_gone)
{
	const char *path = listen_on_path();
	struct frontend second;
	u64 features = 0;

	start_vm(path, 1);
	assert_int_equal(frontend_connect(&second, path, 5000), 0);
	assert_int_equal(frontend_send(&second, VU_GET_FEATURES, VU_VERSION, NULL, 0, NULL, 0), 0);
	assert_true(ring_works(0));
	assert_false(unit_is_readable(second.fd));
	vm_close(&vm);
	assert_int_equal(frontend_get_features(&second, &features), 0);
	assert_true(features & VU_BIT(VM_F_VERSION_1));
	frontend_close(&second);
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

TEST(stopped_rings_go_on_when_the_front_end_resumes)
{
	start_vm(listen_on_path(), 2);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(ring_works(0));
		assert_true(ring_works(1));
		assert_int_equal(vm_stop(&vm), 0);
		assert_int_equal(vm.bases[0], vm.rings[0].used_idx);
		assert_int_equal(vm_resume(&vm), 0);
	}
	assert_true(ring_works(1));
	vm_close(&vm);
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

TEST(every_known_front_end_is_served)
{
	const char *path = listen_on_path();

	for (unsigned i = 0; vm_profile_at(i); i++) {
		const struct vm_options options = {
			.profile = vm_profile_at(i), .queue_size = 16, .memory_size = 1 << 20};

		assert_int_equal(vm_start(&vm, path, &options), 0);
		echo_slot_init(&slots[0], &vm.memory);
		assert_true(ring_works(0));
		vm_close(&vm);
	}
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

// ---- workers

TEST(worker_serves_fds_of_the_device_beside_the_kicks)
{
	unit_echo.order = ECHO_LATER;
	start_vm(listen_on_path(), 1);
	for (u32 i = 1; i <= 20; i++) {
		assert_true(echo_add(&vm.rings[0], &slots[0], i));
		vm_ring_kick(&vm.rings[0]);
		echo_wait(&unit_echo.taken, i);
		assert_null(echo_take(&vm.rings[0]));
		echo_release(&unit_echo, 0);
		assert_int_equal(vm_ring_wait(&vm.rings[0], 5000), 0);
		assert_ptr_equal(echo_take(&vm.rings[0]), &slots[0]);
	}
	assert_true(echo_count(&unit_echo.releases) >= 20);
	vm_close(&vm);
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

static void expect_config_change(void)
{
	struct vu_header header;

	unit_wait_readable(vm.backend_fd);
	assert_int_equal(read(vm.backend_fd, &header, sizeof(header)), sizeof(header));
	assert_int_equal(header.request, VU_BACKEND_CONFIG_CHANGE_MSG);
}

TEST(broken_ring_leaves_its_worker_the_other_rings_and_the_connection_alone)
{
	const struct vm_buffer nowhere = {.addr = UINT64_MAX - 100, .len = 50};
	const char *path;

	unit_server.options.workers = 1;
	path = listen_on_path();
	start_vm(path, 2);
	vm_ring_add(&vm.rings[0], &nowhere, 1, NULL); // refused
	vm.rings[0].avail->ring[1] = UINT16_MAX;      // breaks
	vm.rings[0].avail_idx++;
	vm_ring_kick(&vm.rings[0]);
	unit_wait_readable(vm.rings[0].err_fd);
	expect_config_change(); // DEVICE_NEEDS_RESET
	for (unsigned i = 0; i < 100; i++)
		assert_true(ring_works(1));
	assert_int_equal(vm_stop(&vm), 0);
	vm_close(&vm);
	start_vm(path, 2);
	assert_true(ring_works(0));
	vm_close(&vm);
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

TEST(there_are_no_more_workers_than_queues)
{
	unit_server.options.workers = 64;
	start_vm(listen_on_path(), 4);
	assert_int_equal(unit_server.server.worker_count, 4);
	assert_true(ring_works(3));
	vm_close(&vm);
	assert_int_equal(unit_server_stop(&unit_server), 0);
	assert_int_equal(unit_echo.worker_stops, 4);
}

TEST(device_that_wants_one_worker_gets_one)
{
	unit_server.options.workers = 4;
	unit_echo.ops.one_worker = true;
	start_vm(listen_on_path(), 4);
	assert_int_equal(unit_server.server.worker_count, 1);
	for (unsigned i = 0; i < 4; i++)
		assert_true(ring_works(i));
	vm_close(&vm);
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

TEST(device_that_cannot_start_on_a_worker_ends_those_before_it)
{
	unit_server.options.workers = 4;
	unit_echo.start_error = -EMFILE;
	unit_echo.failing = 2;
	unit_server.listener = (struct listener){.fd = -1, .connected_fd = -1, .keeper_fd = -1};
	assert_int_equal(server_init(&unit_server.server, &unit_echo.device, &unit_server.listener,
				     &unit_server.options),
			 -EMFILE);
	assert_int_equal(unit_echo.worker_stops, 2);
}

TEST(worker_on_a_processor_that_is_not_there_is_an_error)
{
	static const int cpus[] = {CPU_SETSIZE - 1};

	unit_server.options.cpus = cpus;
	unit_server.options.cpu_count = 1;
	unit_server.listener = (struct listener){.fd = -1, .connected_fd = -1, .keeper_fd = -1};
	assert_int_equal(server_init(&unit_server.server, &unit_echo.device, &unit_server.listener,
				     &unit_server.options),
			 -EINVAL);
	assert_int_equal(unit_echo.worker_starts, 0);
}

TEST(sighup_has_the_device_refreshed_with_a_front_end_and_without)
{
#ifdef __SANITIZE_THREAD__
	UNIT_SKIP(
		"ThreadSanitizer may hold a signal back until a thread that waits makes its next call");
#endif
	const char *path = listen_on_path();

	// NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread,cert-pos44-c): it has a handler
	pthread_kill(unit_server.thread, SIGHUP);
	echo_wait(&unit_echo.refreshes, 1);
	start_vm(path, 2);
	assert_true(ring_works(0));
	// NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread,cert-pos44-c): it has a handler
	pthread_kill(unit_server.thread, SIGHUP);
	echo_wait(&unit_echo.refreshes, 2);
	assert_true(ring_works(0) && ring_works(1));
	vm_close(&vm);
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

TEST(rings_start_by_themselves_once_the_device_can_be_had)
{
	unit_echo.busy = -EAGAIN;
	start_vm(listen_on_path(), 2);
	echo_wait(&unit_echo.activations, 10); // though no message has come for long
	assert_int_equal(echo_count(&unit_echo.starts), 0);
	__atomic_store_n(&unit_echo.busy, 0, __ATOMIC_RELEASE);
	assert_true(ring_works(0) && ring_works(1));
	vm_close(&vm);
	assert_int_equal(unit_server_stop(&unit_server), 0);
	assert_int_equal(unit_echo.deactivations, 1);
}

// ---- the end

TEST(signal_ends_an_idle_server)
{
	listen_on_path();
	assert_int_equal(unit_server_stop(&unit_server), 0);
	assert_int_equal(unit_echo.worker_stops, 2);
	assert_int_equal(access(unit_path("socket"), F_OK), -1);
}

TEST(signal_drains_what_is_in_flight_and_ends_every_worker)
{
	unit_echo.order = ECHO_LATER;
	start_vm(listen_on_path(), 4);
	assert_true(echo_add(&vm.rings[3], &slots[3], 1));
	vm_ring_kick(&vm.rings[3]);
	echo_wait(&unit_echo.taken, 1);
	assert_int_equal(unit_server_stop(&unit_server), 0);
	assert_ptr_equal(echo_take(&vm.rings[3]), &slots[3]);
	assert_int_equal(unit_echo.worker_stops, 2);
	vm_close(&vm);
}

TEST(front_end_that_goes_with_requests_in_flight_is_drained)
{
	unit_echo.order = ECHO_LATER;
	unit_echo.stop_ns = 20000000;
	unit_server.options.exit_on_disconnect = true;
	start_vm(listen_on_path(), 4);
	for (u32 i = 0; i < 4; i++) {
		assert_true(echo_add(&vm.rings[i], &slots[i], 1));
		vm_ring_kick(&vm.rings[i]);
	}
	echo_wait(&unit_echo.taken, 1);
	frontend_close(&vm.frontend);
	assert_int_equal(unit_server_join(&unit_server), 0);
	assert_int_equal(unit_echo.taken, unit_echo.served);
	assert_int_equal(unit_echo.stops, 4);
	vm_close(&vm);
}

// In a process of its own, where the signal may reach any thread.
static pid_t fork_server(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	alarm(20); // ends the test if the signal does not
	_exit(server_init(&unit_server.server, &unit_echo.device, &unit_server.listener,
			  &unit_server.options) ||
	      server_serve(&unit_server.server));
}

// A call eventfd that is full and, behind the server's back, made to block.
TEST(signal_ends_a_server_whose_worker_a_front_end_has_made_wait)
{
	const struct timespec moment = {.tv_nsec = 100000000};
	const char *path = unit_path("socket");
	int status = 0;
	pid_t pid;

	assert_int_equal(listener_open_path(&unit_server.listener, path, FILE_ACCESS(0600)), 0);
	pid = fork_server();
	assert_true(pid > 0);
	start_vm(path, 1);
	assert_int_equal(frontend_get_features(&vm.frontend, &(u64){0}), 0); // all is handled now
	vm_ring_eventfd_read(vm.rings[0].call_fd);
	assert_int_equal(eventfd_write(vm.rings[0].call_fd, UINT64_MAX - 1), 0);
	assert_int_equal(fcntl(vm.rings[0].call_fd, F_SETFL, 0), 0);
	assert_true(echo_add(&vm.rings[0], &slots[0], 1));
	vm_ring_arm(&vm.rings[0]);
	vm_ring_kick(&vm.rings[0]);
	nanosleep(&moment, NULL);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	fcntl(vm.rings[0].call_fd, F_SETFL, O_NONBLOCK);
	vm_close(&vm);
	listener_close(&unit_server.listener);
}

#define SERVER_TEST(name) RUN_WITH(unit_server_setup, name, unit_server_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(one_connection_is_served_and_then_the_server_ends),
		SERVER_TEST(disconnect_at_once_is_success),
		SERVER_TEST(partial_message_is_success),
		SERVER_TEST(partial_payload_is_success),
		SERVER_TEST(broken_socket_is_success),
		SERVER_TEST(only_front_end_that_breaks_the_protocol_is_a_failure),
		SERVER_TEST(front_ends_come_and_go_and_leave_nothing_behind),
		SERVER_TEST(front_end_that_breaks_the_protocol_is_sent_away_and_the_next_is_served),
		SERVER_TEST(front_end_that_reads_no_replies_is_sent_away),
		SERVER_TEST(second_front_end_is_served_when_the_first_has_gone),
		SERVER_TEST(stopped_rings_go_on_when_the_front_end_resumes),
		SERVER_TEST(every_known_front_end_is_served),
		SERVER_TEST(worker_serves_fds_of_the_device_beside_the_kicks),
		SERVER_TEST(broken_ring_leaves_its_worker_the_other_rings_and_the_connection_alone),
		SERVER_TEST(there_are_no_more_workers_than_queues),
		SERVER_TEST(device_that_wants_one_worker_gets_one),
		SERVER_TEST(device_that_cannot_start_on_a_worker_ends_those_before_it),
		SERVER_TEST(worker_on_a_processor_that_is_not_there_is_an_error),
		SERVER_TEST(sighup_has_the_device_refreshed_with_a_front_end_and_without),
		SERVER_TEST(rings_start_by_themselves_once_the_device_can_be_had),
		SERVER_TEST(signal_ends_an_idle_server),
		SERVER_TEST(signal_drains_what_is_in_flight_and_ends_every_worker),
		SERVER_TEST(front_end_that_goes_with_requests_in_flight_is_drained),
		SERVER_TEST(signal_ends_a_server_whose_worker_a_front_end_has_made_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
