// SPDX-License-Identifier: Apache-2.0
// The cgroup of one VM, in the unified hierarchy (cgroup v2): MOUNT/PARENT/ID. The kernel's cgroup-v2.rst explains the files.
#pragma once

#include "applets/options.h"

struct cgroup {
	int parent_fd; // MOUNT/PARENT
	int fd;	       // -1: there is none
	const char *id;
	char path[512]; // for messages
};

// Makes the cgroup and all that is missing above it, turns on the controllers that `values` ("memory.max=4160M") need, and writes these.
// An empty cgroup of the same id is replaced. `id` is kept by reference. 0 or -errno, logged.
must_check int cgroup_open(struct cgroup *cgroup, const char *parent, const char *id,
			   const struct option_list *values);

// Moves the calling process into it. 0 or -errno, logged.
must_check int cgroup_join(const struct cgroup *cgroup);

// Removes the cgroup, in which no process may be any more; those above it stay.
void cgroup_remove(struct cgroup *cgroup);
