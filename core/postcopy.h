// SPDX-License-Identifier: Apache-2.0
// Guest memory that comes over only after the guest runs here: a page that is missing makes whoever touches it wait until the
// front-end has it (vhost-user.rst, VHOST_USER_POSTCOPY_ADVISE, _LISTEN, _END; the kernel's userfaultfd.rst). Control thread.
#pragma once

#include "core/guest_memory.h"
#include "seccomp/rule.h"

struct postcopy {
	int fd; // the userfaultfd: one for the life of the process; -1: none, or it has been used up; owned
	bool advised;	// the front-end has it, too
	bool given;	// as advised, for good: whoever has had it may have kept it
	bool listening; // guest memory is registered with it as it is mapped
	bool awaited; // the front-end has been told where memory is, and has not said yet that it will bring what is missing
};

// Opens the userfaultfd of this process, whose faults in system calls it must catch, too. Before the lockdown. fd or -errno, logged.
must_check int postcopy_open(void);

// The system calls that the control thread makes by it.
extern const struct syscall_rule postcopy_rules[];
extern const size_t postcopy_rule_count;

// Whoever touches a missing page of the region waits from here on. 0 or -errno, logged.
must_check int postcopy_register(const struct postcopy *postcopy,
				 const struct guest_region *region);

// All memory has come: it is like any other again, and the userfaultfd is closed.
void postcopy_end(struct postcopy *postcopy, const struct guest_memory *memory);

// No more memory will come: all of it is gone (core/memory_fault.h), and whoever waits goes on and finds it so.
void postcopy_abandon(const struct postcopy *postcopy, const struct guest_memory *memory);
