// SPDX-License-Identifier: Apache-2.0
// What the control side sees of a ring: its layout in guest memory, its limits, start and stop.
// While a ring runs its worker owns it; while it is stopped the control thread does.
#pragma once

#include "core/virtio_abi.h"
#include "core/vring.h"

// Bytes of the parts of a ring of `num` entries. VIRTIO 1.3, 2.7 "Split Virtqueues"; the event fields are counted in.
static inline u64 vring_desc_len(u64 num)
{
	return num * sizeof(struct virtq_desc);
}

static inline u64 vring_avail_len(u64 num)
{
	return sizeof(struct virtq_avail) + (num + 1) * sizeof(le16);
}

static inline u64 vring_used_len(u64 num)
{
	return sizeof(struct virtq_used) + num * sizeof(struct virtq_used_elem) + sizeof(le16);
}

enum {
	VRING_TURN_CHAINS = 64,		// a ring gives way to the others after so many chains
	VRING_TURN_BYTES = 1024 * 1024, // or so many bytes
	VRING_PUBLISH_CHAINS = 8,	// in a long turn the driver hears of what is done so often,
	VRING_PUBLISH_NS = 5000,	// but not more often than this
};

// How the last vring_pop of a turn ended, which tells whether to come back.
enum vring_state {
	VRING_HELD,    // the device stopped by itself, and will wake us
	VRING_EMPTY,   // nothing is available
	VRING_BUDGET,  // more may be available
	VRING_STARVED, // a resource of the core is used up until a chain is pushed
	VRING_BROKEN,
};

struct vring {
	// where the ring is: host pointers into guest memory
	const struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	u16 num; // entries, a power of two
	bool event_idx, indirect;

	// where we are in it
	u16 last_avail;	    // the next available entry to take
	u16 avail_idx;	    // the driver's index when last looked at
	u16 used_next;	    // the next used entry to fill
	u16 used_published; // what the driver has been told
	enum vring_state state;
	bool broken;
	bool notify_off; // without EVENT_IDX: we told the driver not to kick
	unsigned turn_chains;
	u64 turn_bytes;
	u64 publish_time;    // ns
	bool turns_are_slow; // a chain takes longer than VRING_PUBLISH_NS
	u64 refused_chains;  // answered by the core, since their buffers were not in guest memory

	const struct guest_memory *memory;
	unsigned memory_hint;
	struct chain_pool pool;
	struct virtq_desc *table; // private copy of one indirect table
	unsigned table_max;	  // entries it holds

	unsigned index;
	struct worker *worker;
	int call_fd, err_fd; // -1: none; the ring owns them
	struct deferred publish;
	struct deferred *wake; // the queue's: process again in the next turn
};

// Reserves all memory for a ring of up to max_size entries. `wake` is what vring_wake defers. 0 or -ENOMEM.
must_check int vring_init(struct vring *vring, unsigned index, unsigned max_size,
			  size_t request_size, struct worker *worker, struct deferred *wake);
void vring_fini(struct vring *vring);

// Places the ring of `num` entries, taking the used index from guest memory and `base` as the next available
// entry. The three addresses are the front-end's. -EINVAL if a part is misaligned or not in one region.
struct vring_layout {
	u16 num;
	struct frontend_addr desc, avail, used;
};
must_check int vring_place(struct vring *vring, const struct guest_memory *memory,
			   const struct vring_layout *layout, u64 features, u16 base);

// On the worker. A turn begins: the budget is full again and the driver need not kick.
void vring_begin_turn(struct vring *vring);

// On the worker. The turn is over: true if process_queue should be called again, since more is or may be
// available; else the driver has been asked to kick.
bool vring_end_turn(struct vring *vring);

// On the worker. Tells the driver of all pushed chains and signals its call eventfd if it wants that.
void vring_publish(struct vring *vring);

// Signals the driver by the call eventfd, if there is one. Whoever owns the ring calls this.
void vring_call(struct vring *vring);

// Replaces the eventfd, which the ring owns from now on; -1: none. Whoever owns the ring calls this. A new call fd
// is signalled at once.
void vring_set_call_fd(struct vring *vring, int fd);
void vring_set_err_fd(struct vring *vring, int fd);
