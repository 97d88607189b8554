// SPDX-License-Identifier: Apache-2.0
// Tests of the memory order of core/dirty_log.c by going through all orders: a page is written and marked while the front-end takes
// its bit and copies it.
#include "core/dirty_log.h"
#include "core/guest_memory.h"
// behind what must not be changed by it
#include "tests/unit/memory_model.h"

#define dirty_log_open modelled_open
#define dirty_log_close modelled_close
#define dirty_log_mark modelled_mark
#define dirty_log_mark_host modelled_mark_host
int dirty_log_open(struct dirty_log *log, u64 len, u64 offset, int fd);
void dirty_log_close(struct dirty_log *log);
void dirty_log_mark(const struct dirty_log *log, u64 guest_addr, u64 len);
void dirty_log_mark_host(const struct dirty_log *log, const struct guest_memory *memory,
			 const void *host, u64 len, unsigned *hint);
#include "core/dirty_log.c" // NOLINT(bugprone-suspicious-include)

static u8 bits, bits_before;
static u64 page, copy;
static const struct dirty_log dirty = {.map = {.bytes = &bits, .len = 1}};

static void prepare(void)
{
	bits = bits_before;
	page = 0;
	copy = 0;
}

static void write_and_mark(void)
{
	__atomic_store_n(&page, 1, __ATOMIC_RELAXED);
	dirty_log_mark(&dirty, 0, 1);
}

static void collect(void)
{
	if (bits & 1)
		copy = page;
	bits = 0;
}

static void expect_no_loss(void)
{
	if (!(bits & 1) && copy != 1)
		fail_msg("what was written has neither been copied nor marked");
}

TEST(what_is_written_is_copied_or_marked)
{
	for (unsigned before = 0; before < 2; before++) {
		bits_before = (u8)before;
		assert_true(model_all_orders(prepare, write_and_mark, collect, expect_no_loss) > 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {RUN(what_is_written_is_copied_or_marked)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
