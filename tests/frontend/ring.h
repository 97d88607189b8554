// SPDX-License-Identifier: Apache-2.0
//
// The driver's side of a split virtqueue (VIRTIO 1.3, 2.7 "Split Virtqueues"). Not thread-safe.
//
// vm_ring_add() puts chains into the available ring without showing them; vm_ring_kick() shows
// all of them at once and notifies the device if it wants that. desc, avail and used are public,
// so that a test can write what no driver would.
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
	uint16_t head;
	uint32_t len;
	void *cookie;
};

struct vm_ring {
	uint16_t size;
	bool event_idx;
	unsigned indirect_len; /* descriptors of each indirect table; 0: no indirect descriptors */

	uint64_t desc_addr;
	uint64_t avail_addr;
	uint64_t used_addr;
	struct vm_desc *desc;
	struct vm_avail *avail;
	struct vm_used *used;
	uint64_t tables_addr; /* indirect_len descriptors for each head */
	struct vm_desc *tables;

	int kick_fd;
	int call_fd;
	int err_fd;

	uint16_t avail_idx; /* of the next chain to add */
	uint16_t shown_idx; /* what avail->idx was last set to */
	uint16_t used_idx;  /* of the next completion to take */
	uint16_t free_head;
	uint16_t free_count;
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
