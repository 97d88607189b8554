// SPDX-License-Identifier: Apache-2.0
//
// virtio-blk requests, driver side.

#include "tests/frontend/blk.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

void vm_blk_slot_init(struct vm_blk_slot *slot, struct vm_memory *memory, uint32_t capacity)
{
	slot->header_addr = vm_memory_alloc(memory, sizeof(*slot->header) + 1, 64);
	slot->header = vm_memory_at(memory, slot->header_addr, sizeof(*slot->header) + 1);
	slot->status_addr = slot->header_addr + sizeof(*slot->header);
	slot->status = (uint8_t *)(slot->header + 1);
	slot->data_addr = vm_memory_alloc(memory, capacity, 4096);
	slot->data = vm_memory_at(memory, slot->data_addr, capacity);
	slot->capacity = capacity;
}

static bool device_writes_data(uint32_t type)
{
	return type == VM_BLK_T_IN || type == VM_BLK_T_GET_ID;
}

int vm_blk_add(struct vm_ring *ring, struct vm_blk_slot *slot, uint32_t type, uint64_t sector,
	       uint32_t len)
{
	const struct vm_buffer status = {.addr = slot->status_addr, .len = 1, .write = true};
	struct vm_buffer buffers[3] = {{.addr = slot->header_addr, .len = sizeof(*slot->header)}};
	unsigned count = 1;

	*slot->header = (struct vm_blk_header){.type = htole32(type), .sector = htole64(sector)};
	*slot->status = VM_BLK_NO_STATUS;
	if (len)
		buffers[count++] = (struct vm_buffer){
			.addr = slot->data_addr, .len = len, .write = device_writes_data(type)};
	buffers[count++] = status;
	return vm_ring_add(ring, buffers, count, slot);
}

void vm_disk_init(struct vm_disk *disk, struct vm *vm, unsigned queue)
{
	*disk = (struct vm_disk){.vm = vm, .ring = &vm->rings[queue]};
	vm_blk_slot_init(&disk->slot, &vm->memory, VM_DISK_BUFFER);
}

int vm_disk_request(struct vm_disk *disk, uint32_t type, uint64_t sector, uint32_t len)
{
	struct vm_completion completion;
	int result;

	if (len > disk->slot.capacity)
		return -E2BIG;
	result = vm_blk_add(disk->ring, &disk->slot, type, sector, len);
	if (result < 0)
		return result;
	vm_ring_kick(disk->ring);
	result = vm_ring_wait(disk->ring, disk->vm->frontend.timeout_ms);
	if (result)
		return result;
	result = vm_ring_take(disk->ring, &completion);
	if (result < 0)
		return result;
	return completion.cookie == &disk->slot ? *disk->slot.status : -EPROTO;
}

int vm_disk_read(struct vm_disk *disk, uint64_t sector, void *data, uint32_t len)
{
	int status = vm_disk_request(disk, VM_BLK_T_IN, sector, len);

	if (status == VM_BLK_S_OK)
		memcpy(data, disk->slot.data, len);
	return status;
}

int vm_disk_write(struct vm_disk *disk, uint64_t sector, const void *data, uint32_t len)
{
	if (len > disk->slot.capacity)
		return -E2BIG;
	memcpy(disk->slot.data, data, len);
	return vm_disk_request(disk, VM_BLK_T_OUT, sector, len);
}

int vm_disk_flush(struct vm_disk *disk)
{
	return vm_disk_request(disk, VM_BLK_T_FLUSH, 0, 0);
}

int vm_disk_get_id(struct vm_disk *disk, char *id)
{
	int status = vm_disk_request(disk, VM_BLK_T_GET_ID, 0, VM_BLK_ID_BYTES);

	memcpy(id, disk->slot.data, VM_BLK_ID_BYTES);
	id[VM_BLK_ID_BYTES] = '\0';
	return status;
}

static int range_request(struct vm_disk *disk, uint32_t type, uint64_t sector, uint32_t sectors,
			 uint32_t flags)
{
	const struct vm_blk_range range = {
		.sector = htole64(sector), .sectors = htole32(sectors), .flags = htole32(flags)};

	memcpy(disk->slot.data, &range, sizeof(range));
	return vm_disk_request(disk, type, 0, sizeof(range));
}

int vm_disk_discard(struct vm_disk *disk, uint64_t sector, uint32_t sectors)
{
	return range_request(disk, VM_BLK_T_DISCARD, sector, sectors, 0);
}

int vm_disk_write_zeroes(struct vm_disk *disk, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	return range_request(disk, VM_BLK_T_WRITE_ZEROES, sector, sectors, flags);
}
