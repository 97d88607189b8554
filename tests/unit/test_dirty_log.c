// SPDX-License-Identifier: Apache-2.0
// Tests of core/dirty_log.c, and of what rings mark in it: exactly the pages of the bytes that were written.
#include "tests/unit/ring.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "core/sys.h"

#define PAGE UINT64_C(4096)
#define LOG_ADDR (16 * PAGE)

static struct unit_ring ring;
static struct dirty_log dirty;
static int file;

// One bit for each page up to the end of the ring's memory.
#define LOG_LEN ((UNIT_RING_GUEST + UNIT_RING_LEN) / PAGE / 8)

static void open_log(u64 len, u64 offset)
{
	dirty = (struct dirty_log){.event_fd = -1};
	file = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(file, (off_t)(offset + len)), 0);
	assert_int_equal(dirty_log_open(&dirty, len, offset, file), 0);
}

static int close_log(void **state)
{
	(void)state;
	dirty_log_close(&dirty);
	close_fd(&file);
	return 0;
}

static void open_ring_of(u16 size, u64 features, u64 log_addr)
{
	open_log(LOG_LEN, 0);
	unit_ring_open(&ring, size, features, 0);
	ring.log = &dirty;
	ring.log_addr = log_addr;
	assert_int_equal(unit_ring_place(&ring, features, vm_ring_base(&ring.driver)), 0);
}

static void open_ring(u64 features, u64 log_addr)
{
	open_ring_of(8, features, log_addr);
}

static int close_ring(void **state)
{
	unit_ring_close(&ring);
	return close_log(state);
}

// Takes the bit away.
static bool is_marked(u64 guest_addr)
{
	u64 page = guest_addr / PAGE;
	u8 bit = (u8)(1u << page % 8), *byte = &dirty.map.bytes[page / 8];
	bool marked = *byte & bit;

	*byte = (u8)(*byte & ~bit);
	return marked;
}

static void expect_none(void)
{
	for (u64 i = 0; i < dirty.map.len; i++)
		if (dirty.map.bytes[i])
			fail_msg("byte %#llx of the log is %#x", (unsigned long long)i,
				 dirty.map.bytes[i]);
}

TEST(bytes_mark_their_pages_alone)
{
	open_log(64, 0);
	dirty_log_mark(&dirty, 5 * PAGE + 17, 1);
	assert_true(is_marked(5 * PAGE));
	expect_none();
	dirty_log_mark(&dirty, 6 * PAGE - 1, 2);
	assert_true(is_marked(5 * PAGE));
	assert_true(is_marked(6 * PAGE));
	expect_none();
	dirty_log_mark(&dirty, 7 * PAGE, PAGE);
	assert_true(is_marked(7 * PAGE));
	dirty_log_mark(&dirty, 7 * PAGE, 0);
	expect_none();
}

TEST(what_is_beyond_the_log_is_not_marked)
{
	u8 around[3];

	open_log(1, 8);
	dirty_log_mark(&dirty, 7 * PAGE, 100 * PAGE);
	assert_true(is_marked(7 * PAGE));
	dirty_log_mark(&dirty, 8 * PAGE, 1);
	dirty_log_mark(&dirty, UINT64_MAX, 1);
	dirty_log_mark(&dirty, UINT64_MAX, 2);
	assert_int_equal(ftruncate(file, 16), 0);
	assert_int_equal(pread(file, around, sizeof(around), 7), sizeof(around));
	assert_true(around[0] == 0 && around[1] == 0 && around[2] == 0); // not one bit past it, too
}

TEST(log_that_cannot_be_mapped_leaves_the_old_one)
{
	const u8 *before;

	open_log(64, 0);
	before = dirty.map.bytes;
	assert_int_equal(dirty_log_open(&dirty, 65, 0, file), -EINVAL);
	assert_int_equal(dirty_log_open(&dirty, 0, 0, file), -EINVAL);
	assert_int_equal(dirty_log_open(&dirty, 8, UINT64_MAX - 7, file), -EINVAL);
	assert_ptr_equal(dirty.map.bytes, before);
}

// ---- who else is at the log ----

// Two workers mark pages of one byte of the log, while a third thread takes its bits away and copies the pages, as the workers do
// themselves so that they need not wait for it.
enum { SHARED_PAGES = 4, WORKERS = 2, ROUNDS = 1000000, PATIENCE_S = 60 };

static u64 contents[SHARED_PAGES], copies[SHARED_PAGES];
static unsigned working;

static void collect(void)
{
	u8 bits = __atomic_exchange_n(dirty.map.bytes, 0, __ATOMIC_SEQ_CST);

	for (unsigned i = 0; i < SHARED_PAGES; i++)
		if (bits & 1u << i)
			__atomic_store_n(&copies[i],
					 __atomic_load_n(&contents[i], __ATOMIC_RELAXED),
					 __ATOMIC_RELAXED);
}

static bool is_copied(u64 page, u64 round)
{
	u64 until = 0;

	while (__atomic_load_n(&copies[page], __ATOMIC_RELAXED) != round) {
		u64 now = sys_clock_ns();

		if (until == 0)
			until = now + PATIENCE_S * UINT64_C(1000000000);
		if (now > until)
			return false;
		collect();
	}
	return true;
}

// Writes every other page and waits until each has been copied, again and again. NULL: one never was.
static void *write_pages(void *first)
{
	const u64 *own = first;
	bool good = true;

	for (u64 round = 1; good && round <= ROUNDS; round++) {
		for (u64 i = *own; i < SHARED_PAGES; i += WORKERS) {
			__atomic_store_n(&contents[i], round, __ATOMIC_RELAXED);
			dirty_log_mark(&dirty, i * PAGE, 1);
		}
		for (u64 i = *own; good && i < SHARED_PAGES; i += WORKERS)
			good = is_copied(i, round);
	}
	__atomic_sub_fetch(&working, 1, __ATOMIC_RELAXED);
	return good ? first : NULL;
}

TEST(no_mark_is_lost_among_workers_and_the_front_end)
{
	u64 first[WORKERS] = {0, 1};
	pthread_t threads[WORKERS];

	open_log(1, 0);
	working = WORKERS;
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_pages, &first[i]), 0);
	while (__atomic_load_n(&working, __ATOMIC_RELAXED) > 0) {
		collect();
		sched_yield();
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		void *done;

		assert_int_equal(pthread_join(threads[i], &done), 0);
		assert_non_null(done);
	}
}

// ---- what rings mark ----

// A chain of one readable page, and writable ones that end in a status byte on a page of its own; the first writable address.
static u64 offer(u64 *status, unsigned pages)
{
	u64 data = vm_memory_alloc_in(&ring.vm, 0, (u64)pages * PAGE, PAGE);
	struct vm_buffer buffers[3] = {
		{.addr = vm_memory_alloc_in(&ring.vm, 0, PAGE, PAGE), .len = PAGE},
		{.addr = data, .len = pages * PAGE, .write = true},
		{.addr = vm_memory_alloc_in(&ring.vm, 0, PAGE, PAGE), .len = 1, .write = true}};

	*status = buffers[2].addr;
	assert_true(vm_ring_add(&ring.driver, buffers, 3, NULL) >= 0);
	vm_ring_show(&ring.driver);
	return data;
}

TEST(read_marks_its_data_and_status)
{
	struct chain *chain;
	u64 status, data;

	open_ring(0, 0);
	data = offer(&status, 3);
	chain = unit_ring_pop(&ring);
	*chain_take_last_byte(chain) = 0;
	vring_push(&ring.vring, chain, 3 * PAGE + 1);
	unit_ring_turn(&ring);
	for (u64 page = 0; page < 3; page++)
		assert_true(is_marked(data + page * PAGE));
	assert_true(is_marked(status));
	expect_none();
}

TEST(write_marks_its_status_alone)
{
	struct chain *chain;
	u64 status;

	open_ring(0, 0);
	offer(&status, 2);
	chain = unit_ring_pop(&ring);
	*chain_take_last_byte(chain) = 0;
	vring_push(&ring.vring, chain, 0);
	unit_ring_turn(&ring);
	assert_true(is_marked(status));
	expect_none();
}

// What was copied piece by piece is marked as far as it went.
TEST(copies_mark_what_they_filled)
{
	u8 bytes[PAGE + 1] = {0};
	struct chain *chain;
	u64 status, data;

	open_ring(0, 0);
	data = offer(&status, 3);
	chain = unit_ring_pop(&ring);
	assert_int_equal(chain_write(chain, bytes, 100), 100);
	assert_int_equal(chain_write(chain, bytes, sizeof(bytes)), sizeof(bytes));
	vring_push(&ring.vring, chain, 100 + sizeof(bytes));
	unit_ring_turn(&ring);
	assert_true(is_marked(data));
	assert_true(is_marked(data + PAGE));
	expect_none();
}

TEST(chain_across_regions_is_marked_by_guest_addresses)
{
	const u64 border = UNIT_RING_GUEST + UNIT_RING_REGION;
	const struct vm_buffer buffer = {.addr = border - PAGE, .len = 2 * PAGE, .write = true};

	open_ring(0, 0);
	assert_true(vm_ring_add(&ring.driver, &buffer, 1, NULL) >= 0);
	vm_ring_show(&ring.driver);
	vring_push(&ring.vring, unit_ring_pop(&ring), PAGE + 1);
	unit_ring_turn(&ring);
	assert_true(is_marked(border - PAGE));
	assert_true(is_marked(border));
	expect_none();
}

TEST(split_used_ring_is_marked_where_the_front_end_says)
{
	open_ring(0, LOG_ADDR);
	unit_ring_add(&ring, 1, 0);
	vring_push(&ring.vring, unit_ring_pop(&ring), 0);
	unit_ring_turn(&ring);
	assert_true(is_marked(LOG_ADDR));
	expect_none();
}

TEST(packed_ring_and_event_are_marked)
{
	open_ring(BIT64(VIRTIO_F_RING_PACKED), LOG_ADDR);
	unit_ring_add(&ring, 1, 0);
	vring_push(&ring.vring, unit_ring_pop(&ring), 0);
	unit_ring_turn(&ring);
	assert_true(is_marked(ring.driver.desc_addr));
	assert_true(is_marked(ring.driver.used_addr));
	expect_none();
}

// Chains of one descriptor, answered and told one by one; their marks are forgotten.
static void answer_many(unsigned count)
{
	struct vm_completion completion;

	for (unsigned i = 0; i < count; i++) {
		const struct vm_buffer buffer = {.addr = UNIT_RING_GUEST, .len = 1};

		assert_true(vm_ring_add(&ring.driver, &buffer, 1, NULL) >= 0);
		vm_ring_show(&ring.driver);
		vring_push(&ring.vring, unit_ring_pop(&ring), 0);
		unit_ring_turn(&ring);
		assert_int_equal(vm_ring_take(&ring.driver, &completion), 1);
	}
	memset(dirty.map.bytes, 0, dirty.map.len);
}

enum { LONG_RING = 1024, FAR = 600 }; // the used ring has three pages, the packed ring four

// 2.7.8: 4 bytes, 8 for each entry, 2 of avail_event.
TEST(each_part_of_a_long_used_ring_marks_its_own_page)
{
	open_ring_of(LONG_RING, BIT64(VIRTIO_F_EVENT_IDX), LOG_ADDR);
	answer_many(FAR);
	answer_many(1);
	unit_ring_add(&ring, 1, 0);
	vring_push(&ring.vring, unit_ring_pop(&ring), 0);
	assert_false(is_marked(LOG_ADDR)); // the index, which is not told yet
	assert_true(is_marked(LOG_ADDR + PAGE));
	expect_none();
	vring_publish(&ring.vring);
	assert_true(is_marked(LOG_ADDR));
	expect_none();
	assert_null(vring_pop(&ring.vring));
	vring_end_turn(&ring.vring);
	assert_true(is_marked(LOG_ADDR + 2 * PAGE));
	expect_none();
}

TEST(flags_of_a_used_ring_are_marked)
{
	open_ring(0, LOG_ADDR);
	vring_begin_turn(&ring.vring);
	memset(dirty.map.bytes, 0, dirty.map.len);
	assert_null(vring_pop(&ring.vring));
	vring_end_turn(&ring.vring);
	assert_true(is_marked(LOG_ADDR));
	expect_none();
}

TEST(entry_of_a_long_packed_ring_marks_its_own_page)
{
	open_ring_of(LONG_RING, BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_EVENT_IDX), LOG_ADDR);
	answer_many(FAR);
	unit_ring_add(&ring, 1, 0);
	vring_push(&ring.vring, unit_ring_pop(&ring), 0);
	vring_publish(&ring.vring);
	assert_true(is_marked(ring.driver.desc_addr + (u64)FAR * 16));
	expect_none();
	assert_null(vring_pop(&ring.vring));
	vring_end_turn(&ring.vring);
	assert_true(is_marked(ring.driver.used_addr));
	expect_none();
}

// A batch is told by its first entry; the others, on pages of their own, are marked as they are written.
TEST(batch_across_pages_of_a_packed_ring_marks_both)
{
	const unsigned border = PAGE / 16;
	struct chain *first, *second;

	open_ring_of(LONG_RING, BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_EVENT_IDX), LOG_ADDR);
	answer_many(border - 1);
	unit_ring_add(&ring, 1, 0);
	unit_ring_add(&ring, 1, 0);
	first = unit_ring_pop(&ring);
	second = vring_pop(&ring.vring);
	assert_non_null(second);
	vring_push(&ring.vring, first, 0);
	expect_none();
	vring_push(&ring.vring, second, 0);
	assert_true(is_marked(ring.driver.desc_addr + PAGE));
	expect_none();
	vring_publish(&ring.vring);
	assert_true(is_marked(ring.driver.desc_addr));
	expect_none();
}

// Three segments on pages of their own: what is written ends in the middle of the second, or with it.
TEST(segments_are_marked_as_far_as_they_were_filled)
{
	for (u32 written = 2 * PAGE - 1; written <= 2 * PAGE; written++) {
		struct vm_buffer buffers[3];

		open_ring(0, 0);
		for (unsigned i = 0; i < 3; i++)
			buffers[i] = (struct vm_buffer){
				.addr = vm_memory_alloc_in(&ring.vm, 0, PAGE, PAGE),
				.len = PAGE,
				.write = true};
		assert_true(vm_ring_add(&ring.driver, buffers, 3, NULL) >= 0);
		vm_ring_show(&ring.driver);
		vring_push(&ring.vring, unit_ring_pop(&ring), written);
		unit_ring_turn(&ring);
		assert_true(is_marked(buffers[0].addr) && is_marked(buffers[1].addr));
		expect_none();
		close_ring(NULL);
	}
	open_ring(0, 0);
}

// What a ring that is taken over writes before its first chain: the flags of what the process before has left untold.
TEST(recovery_of_a_packed_ring_is_marked)
{
	static _Alignas(64) u8 region[64 + 8 * 32];
	const u64 features = BIT64(VIRTIO_F_RING_PACKED);

	memset(region, 0, sizeof(region));
	open_ring(features, LOG_ADDR);
	inflight_attach(&ring.vring.inflight, region, sizeof(region));
	assert_int_equal(unit_ring_place(&ring, features, vm_ring_base(&ring.driver)), 0);
	unit_ring_add(&ring, 1, 0);
	unit_ring_pop(&ring);
	memset(dirty.map.bytes, 0, dirty.map.len);
	vring_fini(&ring.vring);
	assert_int_equal(vring_init(&ring.vring, 5, 8, UNIT_RING_REQUEST, &ring.worker, &ring.wake),
			 0);
	inflight_attach(&ring.vring.inflight, region, sizeof(region));
	assert_int_equal(unit_ring_place(&ring, features, vm_ring_base(&ring.driver)), 0);
	assert_non_null(inflight_next_left(&ring.vring.inflight));
	assert_true(is_marked(ring.driver.desc_addr));
	expect_none();
	vring_push(&ring.vring, unit_ring_pop(&ring), 0);
	unit_ring_turn(&ring);
	assert_true(is_marked(ring.driver.desc_addr));
}

#define LOG_TEST(name) RUN_WITH(NULL, name, close_log)
#define RING_TEST(name) RUN_WITH(NULL, name, close_ring)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(bytes_mark_their_pages_alone),
		LOG_TEST(what_is_beyond_the_log_is_not_marked),
		LOG_TEST(log_that_cannot_be_mapped_leaves_the_old_one),
		LOG_TEST(no_mark_is_lost_among_workers_and_the_front_end),
		RING_TEST(read_marks_its_data_and_status),
		RING_TEST(write_marks_its_status_alone),
		RING_TEST(copies_mark_what_they_filled),
		RING_TEST(chain_across_regions_is_marked_by_guest_addresses),
		RING_TEST(split_used_ring_is_marked_where_the_front_end_says),
		RING_TEST(packed_ring_and_event_are_marked),
		RING_TEST(each_part_of_a_long_used_ring_marks_its_own_page),
		RING_TEST(flags_of_a_used_ring_are_marked),
		RING_TEST(entry_of_a_long_packed_ring_marks_its_own_page),
		RING_TEST(batch_across_pages_of_a_packed_ring_marks_both),
		RING_TEST(segments_are_marked_as_far_as_they_were_filled),
		RING_TEST(recovery_of_a_packed_ring_is_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
