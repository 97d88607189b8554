// SPDX-License-Identifier: Apache-2.0
// Counts and dies, in the build for crash tests.
#include "core/crash_point.h"

#ifdef CRASH_POINTS
#include <stdlib.h>

static long left; // passages until the last; 0: for ever

// Before main(), since the lockdown clears the environment.
__attribute__((constructor)) static void read_environment(void)
{
	const char *text = getenv("VHOST_CRASH_AT");

	left = text ? atol(text) : 0;
}

// No handler and no atexit function runs, as if by SIGKILL.
void crash_point(void)
{
	if (left > 0 && __atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) == 0)
		__builtin_trap();
}
#endif
