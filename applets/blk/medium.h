// SPDX-License-Identifier: Apache-2.0
// What the disk's bytes are kept in: a file, a block device, memory, or nothing at all.
#pragma once

#include <linux/fs.h> // RWF_ flags
#include <sys/uio.h>

#include "core/base.h"

enum medium_lock { MEDIUM_LOCK_OFF, MEDIUM_LOCK_SHARED, MEDIUM_LOCK_EXCLUSIVE, MEDIUM_LOCK_AUTO };

struct medium_options {
	const char *path; // or "memory:SIZE", "null:SIZE", "fd:N"
	const char *sys;  // where sysfs is; NULL: /sys
	bool read_only;
	bool raw; // also what looks like an image of another format
	bool direct;
	enum medium_lock lock;
	bool lock_handover; // lock it not now: medium_lock and medium_unlock follow
};

struct medium {
	int fd;		// -1: null, every request succeeds and moves nothing
	u64 len;	// bytes, when it was opened
	bool in_memory; // a transfer never waits for a disk
	bool direct;
	bool read_only;		// as asked, or as its fd was opened
	bool can_discard;	// by fallocate's hole, or
	bool discards_by_ioctl; // by medium_discard; neither may work after all, which is -EOPNOTSUPP
	bool can_zero;		// fallocate makes zeroes at little cost, whatever their number
	bool locks;		// at all
	bool lock_shared;	// with who locks so too
	bool lock_alone;	// one writer or many readers
	u32 logical_block, physical_block;   // bytes; powers of two
	u32 memory_align;		     // of addresses, for direct I/O
	u32 range_align;		     // of offsets and lengths to discard and to zero
	u32 optimal_io, discard_granularity; // bytes; 0: no wish
};

// The fd that "fd:N", or one of the kernel's own names for it, stands for, or -EINVAL.
int medium_fd_number(const char *path);

// What is wrong with the options, as far as it can be seen from them: 0 or -EINVAL, logged. Warns of those without effect.
must_check int medium_check(const struct medium_options *options);

// Opens and locks. 0 or -errno, the reason logged. Control thread, before the lockdown.
must_check int medium_open(struct medium *medium, const struct medium_options *options);
void medium_close(struct medium *medium);

// The part of medium_open that locks.
must_check int medium_lock_at_open(struct medium *medium, const struct medium_options *options);
// Takes the lock if it can be had at once: 0, -EAGAIN if another process has it, or another -errno. Not of null. Control thread.
must_check int medium_lock(const struct medium *medium);
void medium_unlock(const struct medium *medium);

// Finds how many bytes there are now, by reading where the end may be; *len: how many there were. 0 or
// -errno, *len as it was. One thread at a time; the block as for transfers. Not of null.
must_check int medium_measure(const struct medium *medium, u32 block, u64 *len);

// preadv2 and pwritev2 with flags RWF_…: bytes moved, 0 at the end of the medium, or -errno. Any thread.
must_check int medium_read(const struct medium *medium, const struct iovec *segments,
			   unsigned count, u64 offset, int flags);
must_check int medium_write(const struct medium *medium, const struct iovec *segments,
			    unsigned count, u64 offset, int flags);

// Discards a range of a block device that has no other way to: 0 or -errno. Whole blocks of the device. Any thread.
must_check int medium_discard(const struct medium *medium, u64 offset, u64 len);

// The format of disk images that the medium begins as: "qcow2"; NULL: none that is known. Control thread.
const char *medium_format(const struct medium *medium);
