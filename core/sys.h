// SPDX-License-Identifier: Apache-2.0
// System calls that answer a value or -errno and are repeated when a signal interrupts them.
#pragma once

#include <errno.h>

#include <time.h>

#include "core/base.h"

// sys(call): the call's result, or -errno; repeated on EINTR. The call must be safe to repeat.
#define sys(call) \
	({ \
		long sys_result; \
		do \
			sys_result = (long)(call); \
		while (sys_result == -1 && errno == EINTR); \
		sys_result == -1 ? -(long)errno : sys_result; \
	})
#define sys_int(call) ((int)sys(call))

// Reserves `len` bytes of zeroed private memory that costs nothing until touched. NULL if refused.
// Reserve before the lockdown, on one thread at a time; give back with sys_release().
must_check void *sys_reserve(size_t len);
void sys_release(void *memory, size_t len);

// Adds 1 to an eventfd. A full counter means that the signal is already there, so that is no error. False if the fd blocked
// and a signal ended that: whoever else has the fd has made it a blocking one.
static inline bool sys_event_signal(int fd)
{
	const u64 one = 1;

	return write(fd, &one, sizeof(one)) >= 0 || errno != EINTR;
}

// True for a socket of the unix family: others may linger when they are closed, which waits for a peer.
bool sys_is_unix_socket(int fd);

// Closes what a stranger has sent; *fd is -1 afterwards. A socket does not linger, unless somebody else makes it do so just now.
void sys_close_strange(int *fd);

// Nanoseconds of a clock that only goes forward; no system call on usual hosts.
static inline u64 sys_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

// The same to a few milliseconds, and never a system call.
static inline u64 sys_clock_coarse_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}
