// SPDX-License-Identifier: Apache-2.0
// Tests of core/sys.h and core/sys.c.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "core/sys.h"

static unsigned calls;

// Fails with `error` until it was called `times` times, then answers 5.
static int fails(unsigned times, int error)
{
	if (++calls > times)
		return 5;
	errno = error;
	return -1;
}

TEST(interrupted_call_is_repeated)
{
	calls = 0;
	assert_int_equal(sys_int(fails(3, EINTR)), 5);
	assert_int_equal(calls, 4);
}

TEST(failed_call_answers_negative_errno)
{
	calls = 0;
	assert_int_equal(sys_int(fails(1, ENOSPC)), -ENOSPC);
	assert_int_equal(calls, 1);
	assert_int_equal(sys(read(-1, NULL, 0)), -EBADF);
}

TEST(reserved_memory_is_zero_and_untouched)
{
	const size_t len = (size_t)1 << 30;
	u8 *memory = sys_reserve(len);
	unsigned char resident[1];

	assert_non_null(memory);
	assert_int_equal(mincore(memory + len / 2, 1, resident), 0);
	assert_int_equal(resident[0] & 1, 0);
	assert_int_equal(memory[0], 0);
	assert_int_equal(memory[len - 1], 0);
	memory[len - 1] = 1;
	sys_release(memory, len);
}

TEST(reserving_nothing_still_answers_memory)
{
	void *memory = sys_reserve(0);

	assert_non_null(memory);
	sys_release(memory, 0);
	sys_release(NULL, 0);
}

TEST(impossible_reservation_is_refused)
{
	assert_null(sys_reserve(SIZE_MAX / 2));
}

TEST(event_is_signalled_even_if_its_counter_is_full)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	eventfd_t value;

	assert_true(sys_event_signal(fd));
	assert_true(sys_event_signal(fd));
	assert_int_equal(eventfd_read(fd, &value), 0);
	assert_int_equal(value, 2);
	assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
	assert_true(sys_event_signal(fd));
	assert_int_equal(eventfd_read(fd, &value), 0);
	assert_true(value == UINT64_MAX - 1);
	close(fd);
}

// It waits until a signal ends that, and is not tried again.
TEST(event_that_somebody_has_made_to_block_is_given_up_with_a_signal)
{
	int fd = unit_full_eventfd();
	eventfd_t value;

	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	unit_interrupt(true);
	assert_false(sys_event_signal(fd));
	unit_interrupt(false);
	assert_int_equal(eventfd_read(fd, &value), 0);
	assert_true(value == UINT64_MAX - 1);
	close(fd);
}

static bool lingers(int fd)
{
	struct linger linger = {0};
	socklen_t len = sizeof(linger);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len), 0);
	return linger.l_onoff;
}

TEST(socket_of_a_stranger_does_not_linger_when_it_is_closed)
{
	const struct linger long_time = {.l_onoff = 1, .l_linger = 60};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), other = dup(fd);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &long_time, sizeof(long_time)), 0);
	assert_true(lingers(other));
	sys_close_strange(&fd);
	assert_int_equal(fd, -1);
	assert_false(lingers(other));
	sys_close_strange(&fd);
	assert_int_equal(fd, -1);
	close(other);
}

TEST(socket_of_the_unix_family_is_told_from_all_else)
{
	int fds[] = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
		     socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
		     eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_int_equal(sys_is_unix_socket(fds[i]), i == 0 && fds[i] >= 0);
		close_fd(&fds[i]);
	}
	assert_false(sys_is_unix_socket(-1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(interrupted_call_is_repeated),
		RUN(failed_call_answers_negative_errno),
		RUN(reserved_memory_is_zero_and_untouched),
		RUN(reserving_nothing_still_answers_memory),
		RUN(impossible_reservation_is_refused),
		RUN(event_is_signalled_even_if_its_counter_is_full),
		RUN(event_that_somebody_has_made_to_block_is_given_up_with_a_signal),
		RUN(socket_of_a_stranger_does_not_linger_when_it_is_closed),
		RUN(socket_of_the_unix_family_is_told_from_all_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
