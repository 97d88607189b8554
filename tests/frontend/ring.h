// SPDX-License-Identifier: Apache-2.0
//
// The driver's side of a virtqueue, split or packed (VIRTIO 1.3, 2.7 "Split Virtqueues", 2.8 "Packed Virtqueues").
// Not thread-safe.
//
// vm_ring_add() puts chains into the available ring without showing them; vm_ring_kick() shows
// all of them at once and notifies the device if it wants that. desc, avail and used, and their
// counterparts of a packed ring, are public, so that a test can write what no driver would.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tests/frontend/memory.h"
#include "tests/frontend/wire.h"

struct vm_buffer {
	uint64_t addr; /* guest address */
	uint32_t len;
	bool write; /* written by the device */
};

struct vm_completion {
	uint16_t head; /* packed: the buffer id */
	uint32_t len;
	void *cookie;
};

struct vm_ring {
	uint16_t size;
	bool event_idx, packed;
	unsigned indirect_len; /* descriptors of each indirect table; 0: no indirect descriptors */

	uint64_t desc_addr;
	uint64_t avail_addr;
	uint64_t used_addr;
	union { /* both layouts have the same places */
		struct {
			struct vm_desc *desc;
			struct vm_avail *avail;
			struct vm_used *used;
		};
		struct {
			struct vm_packed_desc *packed_desc;
			struct vm_packed_event *driver_event, *device_event;
		};
	};
	uint64_t tables_addr; /* indirect_len descriptors for each head */
	union {
		struct vm_desc *tables;
		struct vm_packed_desc *packed_tables;
	};

	int kick_fd;
	int call_fd;
	int err_fd;

	uint16_t
		avail_idx; /* of the next chain to add; packed: of the next descriptor, below size */
	uint16_t
		shown_idx; /* what avail->idx was last set to; packed: of the first that is not shown */
	uint16_t used_idx;	    /* of the next completion to take; packed: below size */
	bool avail_wrap, used_wrap; /* packed */
	uint16_t hidden;	    /* packed: descriptors that were added and not shown */
	uint16_t shown_flags;	    /* packed: of the first of them */
	uint16_t free_head;	    /* packed: the next free buffer id */
	uint16_t free_count;	    /* descriptors */
	struct vm_ring_slot *slots; /* private state per descriptor */
};

struct vm_ring_slot {
	uint16_t next;	/* in the free list or in the chain */
	uint16_t taken; /* of a head in flight: descriptors of its chain; else 0 */
	void *cookie;
};

/*
 * Allocates the rings in guest memory, as many indirect tables as the ring has entries, and three
 * eventfds. 0 or a negative errno.
 */
int vm_ring_init(struct vm_ring *ring, struct vm_memory *memory, uint16_t size, bool event_idx,
		 unsigned indirect_len);
void vm_ring_free(struct vm_ring *ring);
/* Makes it of the other layout, empty, if it is not already. New rings are split. */
void vm_ring_set_packed(struct vm_ring *ring, bool packed);
/* Where a device goes on that has answered all that it took: as SET_VRING_BASE tells it. */
uint32_t vm_ring_base(const struct vm_ring *ring);
/* Forgets everything in flight and zeroes the rings, as a driver does after a device reset. */
void vm_ring_reset(struct vm_ring *ring);

/*
 * Adds a chain: all in one indirect table if the ring has them and count > 1, else direct.
 * Returns the head, -ENOSPC if the ring is full, -EINVAL if count is 0 or too long.
 */
int vm_ring_add(struct vm_ring *ring, const struct vm_buffer *buffers, unsigned count,
		void *cookie);
/* The same with the first `direct` buffers direct and the rest, if any, in one indirect table. */
int vm_ring_add_mixed(struct vm_ring *ring, const struct vm_buffer *buffers, unsigned count,
		      unsigned direct, void *cookie);
/* Shows what was added; true if the device asks to be notified of it. */
bool vm_ring_show(struct vm_ring *ring);
/* vm_ring_show(), and vm_ring_notify() if asked for. */
void vm_ring_kick(struct vm_ring *ring);
/* Writes the kick eventfd whether the device asks for it or not. */
void vm_ring_notify(struct vm_ring *ring);

/* 1: a completion was taken; 0: there is none; -EPROTO: the used entry is no chain in flight. */
int vm_ring_take(struct vm_ring *ring, struct vm_completion *completion);
/* Asks the device to signal the next completion; true if there is one already. */
bool vm_ring_arm(struct vm_ring *ring);
/* Asks for no signals. */
void vm_ring_disarm(struct vm_ring *ring);
/* Sleeps on the call eventfd until a completion can be taken. 0 or -ETIMEDOUT. */
int vm_ring_wait(struct vm_ring *ring, int timeout_ms);
/* How many times the eventfd was signalled since it was last read. */
uint64_t vm_ring_eventfd_read(int fd);

/* The event words behind the rings. */
uint16_t *vm_ring_used_event(struct vm_ring *ring);
uint16_t *vm_ring_avail_event(struct vm_ring *ring);
