// SPDX-License-Identifier: Apache-2.0
// What the disk's bytes are kept in: a file, a block device, memory, or nothing at all.
#pragma once

#include <linux/fs.h> // RWF_ flags
#include <sys/uio.h>

#include "core/base.h"

enum medium_lock { MEDIUM_LOCK_OFF, MEDIUM_LOCK_SHARED, MEDIUM_LOCK_EXCLUSIVE, MEDIUM_LOCK_AUTO };

struct medium_options {
	const char *path; // or "memory:SIZE", "null:SIZE"
	bool read_only;
	bool direct;
	enum medium_lock lock;
};

struct medium {
	int fd;		// -1: null, every request succeeds and moves nothing
	u64 len;	// bytes
	bool in_memory; // a transfer never waits for a disk
	bool direct;
	bool can_punch; // fallocate can deallocate ranges, which read as zeroes then
	bool can_zero; // fallocate can make zeroes without deallocating, or nothing is lost by deallocating
	u32 logical_block, physical_block;   // bytes; powers of two
	u32 optimal_io, discard_granularity; // bytes; 0: no wish
};

// Opens and locks. 0 or -errno, the reason logged. Control thread, before the lockdown.
must_check int medium_open(struct medium *medium, const struct medium_options *options);
void medium_close(struct medium *medium);

// preadv2 and pwritev2 with flags RWF_…: bytes moved, 0 at the end of the medium, or -errno. Any thread.
must_check int medium_read(const struct medium *medium, const struct iovec *segments,
			   unsigned count, u64 offset, int flags);
must_check int medium_write(const struct medium *medium, const struct iovec *segments,
			    unsigned count, u64 offset, int flags);
