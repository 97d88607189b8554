// SPDX-License-Identifier: Apache-2.0
// Tests of core/memory_fault.c: guest memory whose file a front-end has cut short.
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "core/memory_fault.h"

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

#define FAULT_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(memory_that_is_there_causes_nothing),
		FAULT_TEST(access_to_memory_that_has_gone_is_noted_and_goes_on),
		FAULT_TEST(copies_out_of_memory_that_has_gone_go_on),
		FAULT_TEST(noted_fault_can_be_cleared_and_comes_again),
		FAULT_TEST(fault_outside_guest_memory_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
