// SPDX-License-Identifier: Apache-2.0
// Tests of core/endian.h.
#include "tests/unit/unit.h"

#include <string.h>

#include "core/endian.h"

TEST(values_lie_in_memory_least_significant_byte_first)
{
	const u8 bytes[8] = {0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
	le16 small = le16_of(0xcdef);
	le32 middle = le32_of(0x89abcdef);
	le64 large = le64_of(0x0123456789abcdef);

	assert_memory_equal(&small, bytes, sizeof(small));
	assert_memory_equal(&middle, bytes, sizeof(middle));
	assert_memory_equal(&large, bytes, sizeof(large));
}

TEST(values_are_read_back_as_written)
{
	assert_int_equal(le16_get(le16_of(0xfedc)), 0xfedc);
	assert_int_equal(le32_get(le32_of(0xfedcba98)), 0xfedcba98);
	assert_true(le64_get(le64_of(0xfedcba9876543210)) == 0xfedcba9876543210);
}

TEST(shared_memory_is_loaded_and_stored_least_significant_byte_first)
{
	const u8 bytes[2] = {0x34, 0x12};
	le16 shared, stored;

	memcpy(&shared, bytes, sizeof(shared));
	assert_int_equal(le16_load(&shared), 0x1234);
	assert_int_equal(le16_load_acquire(&shared), 0x1234);
	le16_store(&stored, 0x1234);
	assert_memory_equal(&stored, bytes, sizeof(stored));
	le16_store_release(&stored, 0x4321);
	assert_int_equal(le16_get(stored), 0x4321);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(values_lie_in_memory_least_significant_byte_first),
		RUN(values_are_read_back_as_written),
		RUN(shared_memory_is_loaded_and_stored_least_significant_byte_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
