// SPDX-License-Identifier: Apache-2.0
//
// virtio-blk requests (VIRTIO 1.3, 5.2 "Block Device") on a ring of a started vm.
//
// struct vm_blk_slot is the memory of one request; the load generator keeps many in flight.
// struct vm_disk sends one request at a time and waits for it. Its functions return the status
// byte (VM_BLK_S_…; 0 is success), VM_BLK_NO_STATUS if the device wrote none, or a negative errno.
#pragma once

#include <stdint.h>
#include "tests/frontend/ring.h"
#include "tests/frontend/vm.h"

enum {
	VM_BLK_NO_STATUS = 0xff,
	VM_DISK_BUFFER = 128 * 1024,
};

struct vm_blk_slot {
	uint64_t header_addr;
	uint64_t data_addr; /* 4096-aligned */
	uint64_t status_addr;
	struct vm_blk_header *header;
	uint8_t *data;
	uint8_t *status;
	uint32_t capacity; /* of data, in bytes */
};

void vm_blk_slot_init(struct vm_blk_slot *slot, struct vm_memory *memory, uint32_t capacity);
/*
 * Adds a request with len bytes of data to the ring (vm_ring_kick shows it); the completion's
 * cookie is the slot. The direction of the data follows from the type. As vm_ring_add.
 */
int vm_blk_add(struct vm_ring *ring, struct vm_blk_slot *slot, uint32_t type, uint64_t sector,
	       uint32_t len);

struct vm_disk {
	struct vm *vm;
	struct vm_ring *ring;
	struct vm_blk_slot slot;
};

/* A disk that uses ring `queue` of a started vm; also again after the vm was started anew. */
void vm_disk_init(struct vm_disk *disk, struct vm *vm, unsigned queue);
/* Any request, on disk->slot. */
int vm_disk_request(struct vm_disk *disk, uint32_t type, uint64_t sector, uint32_t len);
/* len: at most VM_DISK_BUFFER bytes. */
int vm_disk_read(struct vm_disk *disk, uint64_t sector, void *data, uint32_t len);
int vm_disk_write(struct vm_disk *disk, uint64_t sector, const void *data, uint32_t len);
int vm_disk_flush(struct vm_disk *disk);
/* id: VM_BLK_ID_BYTES and a terminating NUL. */
int vm_disk_get_id(struct vm_disk *disk, char *id);
int vm_disk_discard(struct vm_disk *disk, uint64_t sector, uint32_t sectors);
int vm_disk_write_zeroes(struct vm_disk *disk, uint64_t sector, uint32_t sectors, uint32_t flags);
