// SPDX-License-Identifier: Apache-2.0
// Tests of core/memory_fault.c: guest memory whose file a front-end has cut short.
#include "tests/unit/unit.h"

#include <linux/memfd.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/memory_fault.h"
#include "tests/unit/ring.h"

#define PAGE UINT64_C(4096)
#define LEN (8 * PAGE)

static struct guest_memory memory;
static int fd, event_fd;
static unsigned fds_before;

static int setup(void **state)
{
	(void)state;
	fds_before = unit_open_fds();
	memory.count = 0;
	fd = vm_memory_file(LEN);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(guest_memory_add(&memory, (struct guest_addr){0},
					  (struct frontend_addr){0}, LEN, 0, fd),
			 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	memory_fault_release();
	memory_fault_clear();
	guest_memory_clear(&memory);
	close(fd);
	close(event_fd);
	return unit_open_fds() == fds_before ? 0 : -1;
}

// Not in setup: cmocka has handlers of its own, which it sets behind that.
static void catch_faults(void)
{
	assert_int_equal(memory_fault_catch(&memory, event_fd), 0);
}

// The page of the region, which the compiler knows nothing of.
static volatile u8 *page(unsigned index)
{
	return memory.regions[0].host + index * PAGE;
}

static void cut_to(unsigned pages)
{
	catch_faults();
	assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
}

TEST(memory_that_is_there_causes_nothing)
{
	catch_faults();
	*page(7) = 1;
	assert_int_equal(*page(7), 1);
	assert_false(memory_fault_happened());
	assert_false(unit_is_readable(event_fd));
}

TEST(access_to_memory_that_has_gone_is_noted_and_goes_on)
{
	u8 byte = 0;

	cut_to(4);
	*page(5) = 9;
	assert_true(memory_fault_happened());
	assert_true(unit_is_readable(event_fd));
	assert_int_equal(*page(5), 9); // a page of our own now
	*page(3) = 3;
	assert_int_equal(pread(fd, &byte, 1, 3 * PAGE), 1);
	assert_int_equal(byte, 3); // what is left is the front-end's
}

TEST(copies_out_of_memory_that_has_gone_go_on)
{
	u8 bytes[LEN];

	cut_to(0);
	assert_int_equal(guest_memory_read(&memory, (struct guest_addr){0}, bytes, sizeof(bytes)),
			 0);
	assert_true(memory_fault_happened());
}

TEST(noted_fault_can_be_cleared_and_comes_again)
{
	cut_to(4);
	*page(5) = 1;
	memory_fault_clear();
	assert_false(memory_fault_happened());
	*page(7) = 1;
	assert_true(memory_fault_happened());
}

// What else a front-end shares may go, too: its log and its region of chains in flight.
TEST(other_maps_that_are_watched_may_go)
{
	for (unsigned slot = 0; slot < MEMORY_FAULT_OTHER_MAPS; slot++) {
		int other = vm_memory_file(PAGE);
		struct shared_map map = {0};

		assert_int_equal(shared_map_open(&map, "map", PAGE, 0, other), 0);
		catch_faults();
		memory_fault_watch(slot, &map);
		assert_int_equal(ftruncate(other, 0), 0);
		*(volatile u8 *)map.bytes = 9;
		assert_true(memory_fault_happened());
		assert_int_equal(*(volatile u8 *)map.bytes, 9);
		memory_fault_release(); // and forgets it
		shared_map_close(&map);
		close(other);
	}
}

// A fault that has nothing to do with the guest must not be passed over.
TEST(fault_outside_guest_memory_ends_the_process)
{
	int status = 0, other = vm_memory_file(PAGE);
	pid_t pid;

	catch_faults();
	pid = fork();
	if (pid == 0) {
		volatile u8 *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);

		if (ftruncate(other, 0) == 0)
			*own = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 128 + SIGBUS);
	close(other);
}

// However much is touched, what takes its place is one page, so nothing has to be given back.
TEST(one_page_takes_the_place_of_all_that_has_gone)
{
	struct stat file;

	cut_to(0);
	for (unsigned i = 0; i < 8; i++)
		*page(i) = (u8)i;
	assert_int_equal(fstat(memory_fault_fd(), &file), 0);
	assert_int_equal(file.st_size, PAGE);
	assert_in_range(file.st_blocks * 512, 0, PAGE);
}

// A system call that is given the rest of a huge page of which a part has been replaced must not find zeroes there.
TEST(rest_of_a_huge_page_stays_away_from_system_calls)
{
	const u64 huge = UINT64_C(2) << 20;
	int huge_fd = (int)memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB), sink;
	int error;

	guest_memory_clear(&memory);
	error = huge_fd < 0 || ftruncate(huge_fd, (off_t)huge) != 0 ||
		guest_memory_add(&memory, (struct guest_addr){0}, (struct frontend_addr){0}, huge,
				 0, huge_fd);
	catch_faults();
	if (!error && ftruncate(huge_fd, 0) == 0) {
		*page(5) = 5;
		*page(7) = 7;
		assert_int_equal(*page(7), 7);
		sink = vm_memory_file(PAGE);
		assert_int_equal(pwrite(sink, (const void *)(uintptr_t)page(6), PAGE, 0), -1);
		assert_int_equal(errno, EFAULT);
		close(sink);
	}
	close(huge_fd);
	if (error)
		UNIT_SKIP("this host has no huge page to give");
}

// ---- chains and rings

static struct unit_ring ring;

static int setup_ring(void **state)
{
	(void)state;
	unit_ring_open(&ring, 256, 0, 0);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return 0;
}

static int teardown_ring(void **state)
{
	(void)state;
	memory_fault_release();
	memory_fault_clear();
	unit_ring_close(&ring);
	close(event_fd);
	return 0;
}

static void cut_region(unsigned index, off_t len)
{
	assert_int_equal(memory_fault_catch(&ring.memory, event_fd), 0);
	assert_int_equal(ftruncate(ring.vm.regions[index].fd, len), 0);
}

// A chain of `count` segments of eight bytes, at the end of the first region and in the second.
static struct chain *pop_chain(unsigned count)
{
	const u64 border = UNIT_RING_GUEST + UNIT_RING_REGION;
	const struct vm_buffer buffers[2] = {{.addr = border - 8, .len = 8},
					     {.addr = border, .len = 8}};

	assert_true(vm_ring_add(&ring.driver, buffers + 2 - count, count, NULL) >= 0);
	vm_ring_show(&ring.driver);
	return unit_ring_pop(&ring);
}

static void expect_nothing_read(unsigned segments)
{
	struct chain *chain = pop_chain(segments);
	u8 bytes[16];

	cut_region(1, 0);
	assert_int_equal(chain_read(chain, bytes, sizeof(bytes) / 2 * segments), 0);
	assert_int_equal(chain_readable_len(chain), 0);
	vring_push(&ring.vring, chain, 0);
}

TEST(read_of_a_chain_out_of_memory_that_has_gone_answers_nothing)
{
	expect_nothing_read(1);
}

TEST(read_of_a_chain_of_which_a_part_has_gone_answers_nothing)
{
	expect_nothing_read(2);
}

static void expect_silent_break(void)
{
	struct chain *chain;

	unit_capture(STDERR_FILENO);
	vring_begin_turn(&ring.vring);
	chain = vring_pop(&ring.vring);
	assert_string_equal(unit_captured(), "");
	assert_null(chain);
	assert_true(ring.vring.broken);
	assert_true(vring_idle(&ring.vring));
	assert_int_equal(unit_ring_errors(&ring), 1);
	assert_true(unit_is_readable(event_fd));
}

// Its index is 0 now, far behind what was taken last.
TEST(ring_that_has_gone_breaks_without_a_word_of_its_index)
{
	assert_int_equal(unit_ring_place(&ring, 0, 5), 0);
	cut_region(0, 0);
	expect_silent_break();
}

// The descriptors are still there, and those of head 0 are of a chain that was answered long ago.
TEST(available_entry_that_has_gone_is_not_taken_for_head_0)
{
	unit_ring_add(&ring, 8, 0);
	unit_ring_add(&ring, 8, 0);
	vring_push(&ring.vring, unit_ring_pop(&ring), 0);
	assert_int_equal(ring.driver.avail_addr, UNIT_RING_GUEST + PAGE);
	cut_region(0, PAGE);
	expect_silent_break();
}

#define FAULT_TEST(name) RUN_WITH(setup, name, teardown)
#define RING_FAULT_TEST(name) RUN_WITH(setup_ring, name, teardown_ring)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(memory_that_is_there_causes_nothing),
		FAULT_TEST(access_to_memory_that_has_gone_is_noted_and_goes_on),
		FAULT_TEST(copies_out_of_memory_that_has_gone_go_on),
		FAULT_TEST(noted_fault_can_be_cleared_and_comes_again),
		FAULT_TEST(other_maps_that_are_watched_may_go),
		FAULT_TEST(fault_outside_guest_memory_ends_the_process),
		FAULT_TEST(one_page_takes_the_place_of_all_that_has_gone),
		FAULT_TEST(rest_of_a_huge_page_stays_away_from_system_calls),
		RING_FAULT_TEST(read_of_a_chain_out_of_memory_that_has_gone_answers_nothing),
		RING_FAULT_TEST(read_of_a_chain_of_which_a_part_has_gone_answers_nothing),
		RING_FAULT_TEST(ring_that_has_gone_breaks_without_a_word_of_its_index),
		RING_FAULT_TEST(available_entry_that_has_gone_is_not_taken_for_head_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
