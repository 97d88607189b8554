// SPDX-License-Identifier: Apache-2.0
// A driver that does what the input says to the rings of a real device: it writes descriptors and any other memory, kicks,
// pauses, writes the configuration. What the device may not do, whatever the driver does, is checked here.
#pragma once

#include <setjmp.h>

#include "core/queue.h"
#include "tests/fuzz/fuzz.h"

enum {
	FUZZ_RINGS = 6,
	FUZZ_RING_MAX = 32, // entries
	FUZZ_REGIONS = 3,
};
#define FUZZ_REGION_LEN ((size_t)8192)
#define FUZZ_RING_LEN ((size_t)1024) // bytes of guest memory for the parts of one ring
// The rings begin here. The second region follows the first one; the third is apart.
#define FUZZ_GUEST BIT64(32)

struct fuzz_rings;

// What a good driver of a packed ring knows of it.
struct fuzz_packed {
	bool wrap, used_wrap;
	u16 used, free;		 // the next used descriptor; descriptors that it may write
	u8 taken[FUZZ_RING_MAX]; // descriptors of what is available or in flight, by its id
};

struct fuzz_ring {
	struct fuzz_rings *rings;
	struct queue queue;
	u64 addr; // of its FUZZ_RING_LEN bytes
	u16 num;
	int kick_fd;
	u16 next;  // where the driver goes on
	u16 shown; // how many chains have been made available, at most
	bool bad;  // the driver, or who has told us what is in flight
	u64 writable_len[FUZZ_RING_MAX];
	bool in_flight[FUZZ_RING_MAX];
	struct fuzz_packed packed;
	u16 seen;		 // split: the driver's used index
	u16 owed[FUZZ_RING_MAX]; // split: how often a head is available or in flight
};

// How a driver writes a ring of one layout.
struct fuzz_layout {
	u64 features; // that it stands for
	// Tells the queue where the ring is; marks what the device may write of it.
	void (*place)(struct fuzz_ring *ring);
	// The driver's next deed.
	void (*step)(struct fuzz_ring *ring, struct fuzz_input *input);
	// Asserts that no more chains were used than were made available.
	void (*check)(struct fuzz_ring *ring);
};
extern const struct fuzz_layout fuzz_split, fuzz_packed;

struct fuzz_rings {
	struct device *device;
	const struct fuzz_layout *layout;
	u64 features;
	struct worker worker;
	struct guest_memory memory;
	struct fuzz_ring ring[FUZZ_RINGS];
	unsigned count;
	u8 expected[FUZZ_REGIONS][FUZZ_REGION_LEN]; // the memory as the driver wrote it
	u8 owner[FUZZ_REGIONS][FUZZ_REGION_LEN];    // enum fuzz_owner of each byte
};

// Who may have written a byte, beside the driver.
enum fuzz_owner {
	FUZZ_DRIVER, // nobody
	FUZZ_CORE,   // it is of a ring
	FUZZ_DEVICE, // a buffer was there, or the driver has written anything: it may be anything
};

// Of a packed ring: the wrap counter where the answers begin that the driver has not been told of, or the last ones that it has.
static inline bool fuzz_batch_wrap(const struct vring *vring)
{
	return vring->used_wrap != (vring->used_next <= vring->batch_first);
}

// Lets the device's workers start and end; memory and rings stay for the next device of the same applet.
void fuzz_rings_open(struct fuzz_rings *rings, struct device *device);
void fuzz_rings_close(struct fuzz_rings *rings);

// Plays one input on a clean guest. `other` (or NULL) is what else can happen to this device.
void fuzz_rings_play(struct fuzz_rings *rings, struct fuzz_input *input,
		     void (*other)(struct fuzz_input *input));

// How many of the core's crash points are left before the process dies, which is a jump to fuzz_death; 0: it lives.
extern unsigned fuzz_die_in;
extern jmp_buf fuzz_death;

// ---- for layouts ----

// A guest address that the input says: in the regions, or between and behind them.
u64 fuzz_addr(struct fuzz_input *input);
// The driver writes; what is not in memory is left out.
void fuzz_write(struct fuzz_rings *rings, u64 addr, const void *bytes, size_t len);
// The same, but maybe on a ring, whose indices tell nothing then.
void fuzz_write_anywhere(struct fuzz_rings *rings, u64 addr, const void *bytes, size_t len);
// `len` bytes in one region as they are now; NULL if there are none.
const void *fuzz_read(const struct fuzz_rings *rings, u64 addr, size_t len);
// Sets the owner of what is there of these bytes; whether any of them has this owner.
void fuzz_own(struct fuzz_rings *rings, u64 addr, u64 len, enum fuzz_owner owner);
bool fuzz_owned(const struct fuzz_rings *rings, u64 addr, u64 len, enum fuzz_owner owner);
