// SPDX-License-Identifier: Apache-2.0
// What the control side sees of a ring: its layout in guest memory, its limits, start and stop.
// While a ring runs its worker owns it; while it is stopped the control thread does.
#pragma once

#include "core/dirty_log.h"
#include "core/inflight.h"
#include "core/virtio_abi.h"
#include "core/vring.h"

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
	union {
		struct {
			const struct virtq_desc *desc;
			struct virtq_avail *avail;
			struct virtq_used *used;
		};
		struct {
			struct pvirtq_desc *ring;
			const struct pvirtq_event *driver_event;
			struct pvirtq_event *device_event;
		};
	};
	u16 num; // entries; of a split ring a power of two

	// where we are in it; of a packed ring each index is below num and has a wrap counter
	u16 last_avail;	    // the next available entry to take
	u16 avail_idx;	    // split: the driver's index when last looked at
	u16 used_next;	    // the next used entry to fill
	u16 used_published; // split: what the driver has been told
	u16 batch_first;    // packed: the used descriptor that is told last
	bool avail_wrap, used_wrap;
	unsigned taken_descs; // packed: entries taken, and not yet told to the driver as used
	unsigned batch_descs; // packed: those of them that are answered
	u64 batch_rest;	      // packed: what goes to batch_first

	// what was negotiated, and chosen
	bool packed, event_idx, indirect;
	bool in_order;	 // chains are answered in the order in which they were taken
	bool notify_off; // without EVENT_IDX: we told the driver not to kick
	bool log_used;	 // the used ring is logged too

	bool call_owed; // a signal that control has left to the worker: an eventfd may block, and only the worker can be freed from that
	bool log_fd_dead; // it has blocked once
	bool misplaced;	  // it has been said why the ring cannot start

	// this turn
	bool broken;
	bool turns_are_slow; // a chain takes longer than VRING_PUBLISH_NS
	enum vring_state state;
	unsigned turn_chains;
	u64 turn_bytes;
	u64 publish_time;   // ns
	u64 refused_chains; // answered by the core, since their buffers were not in guest memory

	const struct guest_memory *memory;
	unsigned memory_hint, log_hint;
	const struct dirty_log *log; // NULL: what is written need not be logged
	u64 log_addr;		     // the guest's address of the used ring
	struct inflight inflight;

	struct chain_pool pool;
	void *table;			 // private copy of one indirect table
	struct pvirtq_desc *chain_descs; // packed: private copy of one chain's descriptors
	unsigned table_max;		 // entries that the table holds
	unsigned max_size;		 // of the ring, and so of the next array
	u16 *order;			 // in_order: the heads of what was taken and not answered
	u64 order_first, order_next;

	struct worker *worker;
	struct deferred publish;
	struct deferred *wake; // the queue's: process again in the next turn
	unsigned index;
	int call_fd, err_fd; // -1: none; the ring owns them
	int broken_fd;	     // the core's: an eventfd that has control look for broken rings
};

// Reserves all memory for a ring of up to max_size entries. `wake` is what vring_wake defers. 0 or -ENOMEM.
must_check int vring_init(struct vring *vring, unsigned index, unsigned max_size,
			  size_t request_size, struct worker *worker, struct deferred *wake);
void vring_fini(struct vring *vring);

// What the front-end says of a ring. The addresses are its own.
struct vring_layout {
	u16 num;
	struct frontend_addr desc, avail,
		used; // of a packed ring: descriptors, driver's and device's event suppression
	bool log_used;
	u64 log_addr;
	u32 base; // vhost-user.rst, "Vring descriptor indices for packed virtqueues"; of a split ring only the next available entry
};

// Bytes and alignment of the three parts of a ring of `num` entries.
struct vring_parts {
	u64 desc_len, avail_len, used_len;
	unsigned desc_align, avail_align, used_align;
};
struct vring_parts vring_parts(u16 num, bool packed);

// On the worker. Places the ring in guest memory and takes up what the process before has left in flight; if that cannot be believed the ring
// is broken. log NULL: nothing need be logged. -EINVAL if a part is misaligned, or the base or the size is none; -EFAULT if a
// part is not in one region. Unless ->misplaced was set, that is logged with its reason, and the err eventfd is signalled.
must_check int vring_place(struct vring *vring, const struct guest_memory *memory,
			   const struct dirty_log *log, const struct vring_layout *layout,
			   u64 features);

// Where the ring is, as SET_VRING_BASE and GET_VRING_BASE have it.
u32 vring_base(const struct vring *vring);

// On the worker. A turn begins: the budget is full again and the driver need not kick.
void vring_begin_turn(struct vring *vring);

// On the worker. The turn is over: true if process_queue should be called again, since more is or may be
// available; else the driver has been asked to kick.
bool vring_end_turn(struct vring *vring);

// On the worker. Tells the driver of all pushed chains and signals its call eventfd if it wants that.
void vring_publish(struct vring *vring);

// On the worker. Signals the driver by the call eventfd, if there is one.
void vring_call(struct vring *vring);

// On the worker. Signals what became due while control had the ring.
void vring_signal_owed(struct vring *vring);

// Replaces the eventfd, which the ring owns from now on; -1: none. Whoever owns the ring calls this. A new call fd is owed a
// signal, for an answer that the one before, or a process before us, did not signal.
void vring_set_call_fd(struct vring *vring, int fd);
void vring_set_err_fd(struct vring *vring, int fd);
