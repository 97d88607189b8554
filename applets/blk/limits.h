// SPDX-License-Identifier: Apache-2.0
// What a medium can do and what it demands: each fact asked of who knows it, without writing a byte of the medium.
#pragma once

#include "applets/blk/medium.h"

enum { LIMITS_MIN_BLOCK = 512, LIMITS_MAX_BLOCK = 65536, LIMITS_PAGE = 4096 };

// Learns all but the length of the medium, whose fd, direct and read_only are known. `sys`: where sysfs is, usually "/sys".
// 0 or -errno, the reason logged. Control thread, before the lockdown.
must_check int limits_learn(struct medium *medium, const char *sys);

// The parts of it, for its tests.

// A number from the queue folder of a block device, or of the one that it is a partition of; -1: nobody tells.
int64_t limits_of_queue(const char *sys, u32 major, u32 minor, const char *name);

// How direct I/O must be aligned, in bytes.
struct alignment {
	u64 block;  // offsets and lengths
	u64 memory; // addresses
};

// The file system or the driver says it (Linux 6.1). False if it does not.
bool limits_align_by_kernel(int fd, struct alignment *alignment);
// A file system's block device says it. False if there is none, as of a network's.
bool limits_align_by_device(const char *sys, u32 major, u32 minor, struct alignment *alignment);
// Reads where there is data, since what is read of a hole may never come to the disk.
void limits_align_by_reading(int fd, struct alignment *alignment);

// How a block device makes zeroes and discards. can_discard: 1 or 0, or -1 if the device itself has not told.
void limits_of_ranges(struct medium *medium, const char *sys, u32 major, u32 minor,
		      int can_discard);
