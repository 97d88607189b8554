// SPDX-License-Identifier: Apache-2.0
// A system call that a thread may make after the lockdown, with the reason, and what its arguments must be.
#pragma once

#include <sys/syscall.h>

#include "core/base.h"

enum { RULE_MAX_CHECKS = 3 };

// Argument `index`, masked, must equal `value`. Several rules for one call are alternatives.
struct syscall_check {
	u8 index;
	u64 mask, value;
};

struct syscall_rule {
	const char *name, *reason;
	int number;
	unsigned check_count;
	struct syscall_check checks[RULE_MAX_CHECKS];
};

#define RULE(call, why) \
	{ \
		.number = __NR_##call, .name = #call, .reason = (why) \
	}
#define RULE_IF(call, why, ...) \
	{ \
		.number = __NR_##call, .name = #call, .reason = (why), \
		.check_count = sizeof((struct syscall_check[]){__VA_ARGS__}) / \
			       sizeof(struct syscall_check), \
		.checks = { \
			__VA_ARGS__ \
		} \
	}

// Stand for fds, and for our own process, that are known when the filter is made.
enum {
	RULE_REPLACEMENT_FD = 0x7ffffff0,
	RULE_DEVICE_FD,
	RULE_LISTENER_FD,
	RULE_USERFAULT_FD,
	RULE_OWN_FDS, // any of several
	RULE_OWN_PID
};

// Checks for RULE_IF. seccomp sees arguments as 64 bits, of which an int fills the lower half.
#define ARGUMENT_IS(index, value) \
	{ \
		(index), UINT64_MAX, (u64)(value) \
	}
#define ARGUMENT_INT_IS(index, value) \
	{ \
		(index), UINT32_MAX, (u64)(u32)(value) \
	}
