// SPDX-License-Identifier: Apache-2.0
// What would differ from run to run, or only take time, is made the same and fast: the clock, the kernel's random bytes, the
// log, and memory that is reserved.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/log.h"
#include "core/sys.h"
#include "tests/fuzz/fuzz.h"

enum {
	CLOCK_STEP_NS = 700, // so that some turns are long: VRING_PUBLISH_NS
	LARGE = 128 * 1024,  // what the sanitizer would map anew each time, and touch all of it
};

// ---- core/log.c: nobody reads it, and how much it says would hang on the clock ----

void log_init(const char *name, enum log_level level)
{
	(void)name;
	(void)level;
}

bool log_shows(enum log_level level)
{
	(void)level;
	return false;
}

void log_set_line_end(const char *end)
{
	(void)end;
}

void log_line(enum log_level level, const char *format, ...)
{
	(void)level;
	(void)format;
}

int log_errno(int error, const char *format, ...)
{
	(void)format;
	return error;
}

// ---- what the linker makes of calls (its option --wrap). NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*) ----

static u64 now_ns;

void fuzz_restart_clock(void)
{
	now_ns = 1000000000;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags);
void *__real_sys_reserve(size_t len);
void *__wrap_sys_reserve(size_t len);
void __real_sys_release(void *memory, size_t len);
void __wrap_sys_release(void *memory, size_t len);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	now_ns += CLOCK_STEP_NS;
	*now = (struct timespec){.tv_sec = (time_t)(now_ns / 1000000000),
				 .tv_nsec = (long)(now_ns % 1000000000)};
	return 0;
}

// No zeroes, which memory is full of.
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags)
{
	(void)flags;
	memset(bytes, 0xa5, len);
	return (ssize_t)len;
}

// From the sanitizer, so that each byte in front of it, behind it and after its time is an error.
void *__wrap_sys_reserve(size_t len)
{
	return len < LARGE ? calloc(1, len ? len : 1) : __real_sys_reserve(len);
}

void __wrap_sys_release(void *memory, size_t len)
{
	if (len < LARGE)
		free(memory);
	else
		__real_sys_release(memory, len);
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl*)
