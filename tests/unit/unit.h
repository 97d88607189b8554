// SPDX-License-Identifier: Apache-2.0
// What every unit test uses: cmocka, a folder for its files, what it prints, and guest memory made known to the core.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/guest_memory.h"
#include "tests/frontend/memory.h"

// A test is named by the behaviour that it proves.
#define TEST(name) static void name(void **state __attribute__((unused)))
#define RUN(name) cmocka_unit_test(name)
// Says why this host cannot run the test, and ends it.
#define UNIT_SKIP(reason) (print_message("# skipped: %s\n", reason), skip())
#define RUN_WITH(setup, name, teardown) cmocka_unit_test_setup_teardown(name, setup, teardown)

// The path of `name` in a folder of this program's own, which is removed when it ends. Kept until the next but
// seven calls.
const char *unit_path(const char *name);

// Makes a file of `len` bytes, with the pattern that unit_byte tells; answers its path as unit_path.
const char *unit_file(const char *name, u64 len);
static inline u8 unit_byte(u64 offset)
{
	return (u8)(offset * 7 + offset / 512 + 1);
}

// The next number of a sequence that `seed` began with: the same in every run.
static inline unsigned unit_random(u64 *seed)
{
	*seed = *seed * 6364136223846793005 + 1442695040888963407;
	return (unsigned)(*seed >> 33);
}

// What is written to `fd` (1, 2) between these two; the text is kept until the next capture.
void unit_capture(int fd);
const char *unit_captured(void);

// How many file descriptors this process has open.
unsigned unit_open_fds(void);

// Bytes that can be read of an eventfd or pipe now: true if there are any.
bool unit_is_readable(int fd);

// Waits until condition(context) holds; fails the test if it does not within ten seconds.
void unit_wait(bool (*condition)(const void *context), const void *context);
void unit_wait_readable(int fd);

// While it is on, a signal comes every millisecond and ends whatever call of this thread waits.
void unit_interrupt(bool on);

// An eventfd that is full, so that whoever signals it would wait were it not nonblocking.
int unit_full_eventfd(void);

// Adds all regions that the front-end has to the core's guest memory.
void unit_share(struct guest_memory *memory, const struct vm_memory *vm);
