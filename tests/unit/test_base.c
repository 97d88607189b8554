// SPDX-License-Identifier: Apache-2.0
// Tests of core/base.h.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/eventfd.h>

TEST(sum_that_fits_is_answered)
{
	u64 sum = 0;

	assert_false(add_overflows(UINT64_MAX - 1, 1, &sum));
	assert_true(sum == UINT64_MAX);
}

TEST(sum_that_wraps_is_told)
{
	u64 sum;

	assert_true(add_overflows(UINT64_MAX, 1, &sum));
	assert_true(add_overflows(BIT64(63), BIT64(63), &sum));
}

TEST(product_that_wraps_is_told)
{
	u64 product = 0;

	assert_false(mul_overflows(BIT64(31), BIT64(32), &product));
	assert_true(product == BIT64(63));
	assert_true(mul_overflows(BIT64(32), BIT64(32), &product));
	assert_true(mul_overflows(UINT64_MAX, 2, &product));
}

TEST(powers_of_two_are_known)
{
	for (unsigned i = 0; i < 64; i++)
		assert_true(is_power_of_two(BIT64(i)));
	assert_false(is_power_of_two(0));
	assert_false(is_power_of_two(3));
	assert_false(is_power_of_two(UINT64_MAX));
}

TEST(smaller_of_two_is_chosen)
{
	assert_int_equal(min_uint(3, 4), 3);
	assert_int_equal(min_uint(4, 3), 3);
	assert_true(min_u64(UINT64_MAX, 1) == 1);
	assert_true(min_size(0, SIZE_MAX) == 0);
}

TEST(container_is_found_from_its_member)
{
	struct box {
		int before;
		struct {
			int x;
		} member;
	} box = {0};

	assert_ptr_equal(container_of(&box.member, struct box, member), &box);
}

static bool fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

TEST(fd_is_closed_at_the_end_of_its_scope)
{
	int seen;

	{
		cleanup_fd int fd = eventfd(0, EFD_CLOEXEC);

		seen = fd;
		assert_true(fd_is_open(seen));
	}
	assert_false(fd_is_open(seen));
}

TEST(fd_that_was_taken_stays_open)
{
	int seen;

	{
		cleanup_fd int fd = eventfd(0, EFD_CLOEXEC);

		seen = take_fd(&fd);
		assert_int_equal(fd, -1);
	}
	assert_true(fd_is_open(seen));
	close_fd(&seen);
	assert_int_equal(seen, -1);
	close_fd(&seen); // nothing is held any more
	assert_int_equal(seen, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(sum_that_fits_is_answered),
		RUN(sum_that_wraps_is_told),
		RUN(product_that_wraps_is_told),
		RUN(powers_of_two_are_known),
		RUN(smaller_of_two_is_chosen),
		RUN(container_is_found_from_its_member),
		RUN(fd_is_closed_at_the_end_of_its_scope),
		RUN(fd_that_was_taken_stays_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
