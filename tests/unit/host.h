// SPDX-License-Identifier: Apache-2.0
// A disk on a host that can be told to fail: the real engine, but for what a test has it refuse.
#pragma once

#include "applets/blk/blk.h"
#include "tests/unit/disk.h"

enum { HOST_DISK_LEN = 8 << 20, HOST_SLOTS = 24 /* more than there are bounce buffers */ };

struct unit_host {
	const struct blk_engine *real;
	int flush_error, write_error; // of the next ones, until it is 0 again
	bool cannot_zero;
	bool moves_nothing; // what writes
	unsigned rings;	    // that can be made
	unsigned flushes, zero_steps;
	unsigned steps_this_turn, most_steps_in_a_turn; // of zeroes that are written, or of ranges
	struct deferred turn_end;
};

extern struct unit_host host;
extern struct unit_disk disk;
extern const char *disk_path;

// For each test: the engine that is real, and the end.
int unit_host_sync(void **state);
int unit_host_uring(void **state);
int unit_host_end(void **state);

#define HOST_TEST(name) \
	RUN_WITH(unit_host_sync, name, unit_host_end), \
		RUN_WITH(unit_host_uring, name, unit_host_end)

struct blk *unit_blk(void);

// Serves a disk of unit_byte's pattern by these words of a command line, with so many workers and as many rings, two at least.
void unit_host_serve(unsigned workers, const char *const *words);
#define SERVE(workers, ...) \
	unit_host_serve(workers, (const char *const[]){ \
					 "--path", disk_path = unit_file("disk", HOST_DISK_LEN), \
					 ##__VA_ARGS__, NULL})

// Writes zeroes to a sector: the status.
int unit_write_sector(u64 sector);

// How often `part` is in the text.
unsigned unit_count(const char *text, const char *part);

// Memory of requests on ring 0.
extern struct vm_blk_slot slots[HOST_SLOTS];

// Adds a request of slot i that discards, or writes zeroes to, `len` bytes at `offset`.
void unit_add_range(unsigned i, u32 type, u64 offset, u64 len);
void unit_add_zeroes(unsigned i, u64 offset, u64 len);

// Waits until all slots are answered, with this status.
void unit_expect_answers(u8 status);
