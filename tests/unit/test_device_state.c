// SPDX-License-Identifier: Apache-2.0
// Tests of core/device_state.c: bytes on their way through pipes, sockets and files, and what is made of them.
#include "tests/unit/echo.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "core/device_setup.h"
#include "core/device_state.h"
#include "core/process.h"

enum { LEN = 1000, HEADER = sizeof(struct device_state_header) };

static struct echo echo;
static struct worker worker;
static struct device_state transfer;
static unsigned fds_before;

static int setup(void **context)
{
	(void)context;
	fds_before = unit_open_fds();
	echo_init(&echo, 4, ECHO_AT_ONCE);
	echo.state_len = LEN;
	for (size_t i = 0; i < sizeof(echo.state); i++)
		echo.state[i] = unit_byte(i);
	assert_int_equal(worker_start(&worker, 0, -1), 0);
	device_state_init(&transfer, &echo.device, &worker);
	return device_worker_start(&echo.device, &worker);
}

static int teardown(void **context)
{
	(void)context;
	device_state_cancel(&transfer);
	device_worker_stop(&echo.device, &worker);
	worker_stop(&worker);
	return echo.wrong_thread || unit_open_fds() != fds_before ? -1 : 0;
}

static void make_pipe(int fds[2])
{
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
}

// Reads to the end, waiting for more; how many bytes there were.
static size_t read_all(int fd, u8 *bytes, size_t most)
{
	size_t len = 0;

	for (;;) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		ssize_t got;

		assert_int_equal(poll(&poll_fd, 1, 10000), 1);
		got = read(fd, bytes + len, most - len);
		assert_true(got >= 0);
		if (got == 0)
			return len;
		len += (size_t)got;
	}
}

static size_t saved(u8 *bytes, size_t most)
{
	int fds[2];
	size_t len;

	make_pipe(fds);
	device_state_transfer(&transfer, false, fds[1]);
	len = read_all(fds[0], bytes, most);
	close(fds[0]);
	assert_true(device_state_check(&transfer));
	return len;
}

static bool loads(const void *bytes, size_t len)
{
	int fds[2];

	make_pipe(fds);
	assert_int_equal(write(fds[1], bytes, len), (ssize_t)len);
	close(fds[1]);
	device_state_transfer(&transfer, true, fds[0]);
	return device_state_check(&transfer);
}

static void spoil_device(void)
{
	memset(echo.state, 0, sizeof(echo.state));
}

static void expect_device_is_whole(void)
{
	for (size_t i = 0; i < echo.state_len; i++)
		assert_int_equal(echo.state[i], unit_byte(i));
}

TEST(what_is_saved_can_be_loaded)
{
	u8 bytes[HEADER + LEN + 1];

	assert_int_equal(saved(bytes, sizeof(bytes)), HEADER + LEN);
	assert_memory_equal(bytes, "VMDS\x01\0\x2a\0\x04\0\0\0\xe8\x03\0\0", HEADER);
	spoil_device();
	assert_true(loads(bytes, HEADER + LEN));
	expect_device_is_whole();
	assert_int_equal(echo.loads, 1);
	assert_true(device_state_check(&transfer)); // it may be asked again
}

TEST(device_without_a_state_has_the_header_alone)
{
	u8 bytes[HEADER + 1] = {0};

	echo.ops.save = NULL;
	echo.ops.load = NULL;
	assert_int_equal(saved(bytes, sizeof(bytes)), HEADER);
	assert_true(loads(bytes, HEADER));
	bytes[12] = 1;
	assert_false(loads(bytes, HEADER + 1));
}

TEST(device_says_no_to_what_it_does_not_understand)
{
	u8 bytes[HEADER + LEN + 1];

	saved(bytes, sizeof(bytes));
	echo.state_len = LEN - 1;
	assert_false(loads(bytes, HEADER + LEN));
	assert_int_equal(echo.loads, 0);
}

TEST(header_that_is_wrong_in_any_byte_is_refused)
{
	u8 bytes[HEADER + LEN + 1];

	saved(bytes, sizeof(bytes));
	for (unsigned i = 0; i < HEADER; i++) {
		bytes[i] ^= 0x80;
		assert_false(loads(bytes, HEADER + LEN));
		bytes[i] ^= 0x80;
	}
	for (size_t len = 0; len < HEADER + LEN; len++)
		assert_false(loads(bytes, len));
	assert_false(loads(bytes, HEADER + LEN + 1));
	assert_int_equal(echo.loads, 0);
}

TEST(device_with_fewer_queues_may_be_moved_here_but_none_with_more)
{
	u8 bytes[HEADER + LEN + 1];

	saved(bytes, sizeof(bytes));
	bytes[8] = 3;
	assert_true(loads(bytes, HEADER + LEN));
	bytes[8] = 5;
	assert_false(loads(bytes, HEADER + LEN));
	bytes[8] = 0;
	assert_false(loads(bytes, HEADER + LEN));
}

TEST(large_state_goes_through_a_small_pipe_in_pieces)
{
	static u8 bytes[DEVICE_STATE_MAX];
	size_t len, done = 0;
	int fds[2];

	echo.state_len = sizeof(echo.state);
	make_pipe(fds);
	assert_true(fcntl(fds[0], F_SETPIPE_SZ, 4096) > 0);
	device_state_transfer(&transfer, false, fds[1]);
	len = read_all(fds[0], bytes, sizeof(bytes));
	close(fds[0]);
	assert_true(device_state_check(&transfer));
	assert_int_equal(len, HEADER + sizeof(echo.state));
	spoil_device();
	make_pipe(fds);
	assert_true(fcntl(fds[0], F_SETPIPE_SZ, 4096) > 0);
	device_state_transfer(&transfer, true, fds[0]);
	assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
	while (done < len) {
		ssize_t put = write(fds[1], bytes + done, len - done);

		assert_true(put > 0);
		done += (size_t)put;
	}
	close(fds[1]);
	assert_true(device_state_check(&transfer));
	expect_device_is_whole();
}

// Else the device would change while the control thread looks at it.
TEST(state_is_applied_only_while_its_end_is_asked_for)
{
	u8 bytes[HEADER + LEN + 1];
	int fds[2];

	saved(bytes, sizeof(bytes));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
	device_state_transfer(&transfer, true, fds[0]);
	for (unsigned i = 0; i < HEADER + LEN; i += 2)
		assert_int_equal(write(fds[1], bytes + i, 2), 2);
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	unit_wait_readable(fds[1]); // all was read, and the other end is closed
	close(fds[1]);
	assert_int_equal(echo_count(&echo.loads), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(device_state_check(&transfer));
		assert_int_equal(echo_count(&echo.loads), 1);
	}
}

TEST(state_that_nobody_asks_for_is_thrown_away)
{
	const char *path = unit_path("unasked");
	u8 bytes[HEADER + LEN + 1];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	saved(bytes, sizeof(bytes));
	assert_int_equal(pwrite(fd, bytes, HEADER + LEN, 0), HEADER + LEN);
	device_state_transfer(&transfer, true, fd);
	device_state_cancel(&transfer);
	assert_false(device_state_check(&transfer));
	device_state_transfer(&transfer, true, open(path, O_RDONLY | O_CLOEXEC));
	assert_int_equal(saved(bytes, sizeof(bytes)), HEADER + LEN);
	assert_int_equal(echo.loads, 0);
}

TEST(file_is_written_and_read_at_once)
{
	const char *path = unit_path("state");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	device_state_transfer(&transfer, false, fd);
	assert_true(device_state_check(&transfer));
	spoil_device();
	device_state_transfer(&transfer, true, open(path, O_RDONLY | O_CLOEXEC));
	assert_true(device_state_check(&transfer));
	expect_device_is_whole();
}

TEST(state_that_is_too_long_is_refused)
{
	static const u8 bytes[DEVICE_STATE_MAX];
	const char *path = unit_path("long");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	unit_capture(STDERR_FILENO);
	device_state_transfer(&transfer, true, fd);
	assert_false(device_state_check(&transfer));
	assert_non_null(strstr(unit_captured(), "the device state is too long"));
}

TEST(nothing_is_good_before_it_has_ended)
{
	u8 bytes[HEADER + LEN + 1];
	int fds[2];

	assert_false(device_state_check(&transfer));
	saved(bytes, sizeof(bytes));
	device_state_cancel(&transfer);
	assert_false(device_state_check(&transfer));
	make_pipe(fds);
	assert_int_equal(write(fds[1], bytes, HEADER + LEN), HEADER + LEN);
	device_state_transfer(&transfer, true, fds[0]);
	assert_false(device_state_check(&transfer));
	close(fds[1]); // too late
	assert_false(device_state_check(&transfer));
	assert_int_equal(echo.loads, 0);
}

TEST(reader_that_goes_away_is_an_error)
{
	int fds[2];

	echo.state_len = sizeof(echo.state);
	make_pipe(fds);
	assert_true(fcntl(fds[0], F_SETPIPE_SZ, 4096) > 0);
	device_state_transfer(&transfer, false, fds[1]);
	unit_wait_readable(fds[0]);
	unit_capture(STDERR_FILENO);
	close(fds[0]);
	assert_false(device_state_check(&transfer));
	assert_non_null(strstr(unit_captured(), "cannot be written: Broken pipe"));
}

// The sender may make the pipe block after we have made it not to. A signal ends the wait, and what came is not the whole.
TEST(fd_that_blocks_later_is_not_waited_for)
{
	u8 bytes[HEADER + LEN + 1];
	int fds[2];

	assert_int_equal(saved(bytes, sizeof(bytes)), HEADER + LEN);
	make_pipe(fds);
	assert_int_equal(write(fds[1], bytes, HEADER + LEN), HEADER + LEN);
	assert_int_equal(fcntl(fds[0], F_SETFL, 0), 0);
	unit_capture(STDERR_FILENO);
	device_state_transfer(&transfer, true, fds[0]);
	assert_false(device_state_check(&transfer));
	assert_non_null(strstr(unit_captured(), "the device state was not sent to its end"));
	close(fds[1]);
}

TEST(next_transfer_takes_the_place_of_one_under_way)
{
	u8 bytes[HEADER + LEN + 1];
	int fds[2];

	make_pipe(fds);
	device_state_transfer(&transfer, true, fds[0]);
	assert_int_equal(saved(bytes, sizeof(bytes)), HEADER + LEN);
	assert_int_equal(write(fds[1], bytes, 1), -1); // nobody has the other end
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		// these look for lines in the log, which in a second has room for as many as the others have
		RUN_WITH(setup, state_that_is_too_long_is_refused, teardown),
		RUN_WITH(setup, reader_that_goes_away_is_an_error, teardown),
		RUN_WITH(setup, fd_that_blocks_later_is_not_waited_for, teardown),
		RUN_WITH(setup, what_is_saved_can_be_loaded, teardown),
		RUN_WITH(setup, device_without_a_state_has_the_header_alone, teardown),
		RUN_WITH(setup, device_says_no_to_what_it_does_not_understand, teardown),
		RUN_WITH(setup, header_that_is_wrong_in_any_byte_is_refused, teardown),
		RUN_WITH(setup, device_with_fewer_queues_may_be_moved_here_but_none_with_more,
			 teardown),
		RUN_WITH(setup, large_state_goes_through_a_small_pipe_in_pieces, teardown),
		RUN_WITH(setup, state_is_applied_only_while_its_end_is_asked_for, teardown),
		RUN_WITH(setup, state_that_nobody_asks_for_is_thrown_away, teardown),
		RUN_WITH(setup, file_is_written_and_read_at_once, teardown),
		RUN_WITH(setup, nothing_is_good_before_it_has_ended, teardown),
		RUN_WITH(setup, next_transfer_takes_the_place_of_one_under_way, teardown),
	};

	process_reset_signals(); // as main does
	return cmocka_run_group_tests(tests, NULL, NULL);
}
