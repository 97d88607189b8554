// SPDX-License-Identifier: Apache-2.0
// A ring with both its sides on one thread: the driver's in guest memory, the device's on a worker whose loop is
// turned by hand.
#pragma once

#include "core/vring_setup.h"
#include "tests/frontend/ring.h"
#include "tests/unit/unit.h"

struct unit_ring {
	struct vm_memory vm; // two regions, adjacent in the guest but not here
	struct vm_ring driver;
	struct guest_memory memory;
	struct worker worker; // not started
	struct vring vring;
	struct deferred wake;
	unsigned wakes; // how often process_queue would have been called again
	const struct dirty_log *log;
	u64 log_addr; // of the used ring; 0: it is not logged
};

enum {
	UNIT_RING_REGION = 16 << 20, // bytes of each region
	UNIT_RING_LEN = 2 * UNIT_RING_REGION,
	UNIT_RING_REQUEST = 40, // bytes of the device's memory for each chain
};
#define UNIT_RING_GUEST BIT64(32) // where the first region begins

// Makes and places a ring of `size` entries, packed if the features say so. indirect_len: as in vm_ring_init.
void unit_ring_open(struct unit_ring *ring, u16 size, u64 features, unsigned indirect_len);
void unit_ring_close(struct unit_ring *ring);

// Places the ring again: the next available entry is `base`.
int unit_ring_place(struct unit_ring *ring, u64 features, u32 base);

// Makes a chain of one readable and, unless zero, one writable buffer available to the device; answers the head.
u16 unit_ring_add(struct unit_ring *ring, u32 readable, u32 writable);

// The next chain of a new turn, which must be there.
struct chain *unit_ring_pop(struct unit_ring *ring);

// Turns the worker's loop: publishes and wakes.
void unit_ring_turn(struct unit_ring *ring);

// How often the driver was called (its ring's error was told) since this was last asked.
u64 unit_ring_calls(struct unit_ring *ring);
u64 unit_ring_errors(struct unit_ring *ring);
