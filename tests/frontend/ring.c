// SPDX-License-Identifier: Apache-2.0
//
// Virtqueue, driver side: what both layouts have in common, and the split one.

#include "tests/frontend/ring_packed.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static size_t avail_bytes(uint16_t size)
{
	return sizeof(struct vm_avail) + sizeof(uint16_t) * (size + 1u);
}

static size_t used_bytes(uint16_t size)
{
	return sizeof(struct vm_used) + sizeof(struct vm_used_elem) * size + sizeof(uint16_t);
}

uint16_t *vm_ring_used_event(struct vm_ring *ring)
{
	return &ring->avail->ring[ring->size];
}

uint16_t *vm_ring_avail_event(struct vm_ring *ring)
{
	return (uint16_t *)(void *)&ring->used->ring[ring->size];
}

static uint16_t load(const uint16_t *shared, int order)
{
	return le16toh(__atomic_load_n(shared, order));
}

static void store(uint16_t *shared, uint16_t value, int order)
{
	__atomic_store_n(shared, htole16(value), order);
}

void vm_ring_reset(struct vm_ring *ring)
{
	memset(ring->desc, 0, sizeof(struct vm_desc) * ring->size);
	memset(ring->avail, 0, avail_bytes(ring->size));
	memset(ring->used, 0, used_bytes(ring->size));
	ring->avail_idx = ring->shown_idx = ring->used_idx = 0;
	ring->avail_wrap = ring->used_wrap = true;
	ring->hidden = 0;
	ring->free_head = 0;
	ring->free_count = ring->size;
	for (uint16_t i = 0; i < ring->size; i++)
		ring->slots[i] = (struct vm_ring_slot){.next = (uint16_t)(i + 1)};
}

void vm_ring_set_packed(struct vm_ring *ring, bool packed)
{
	if (ring->packed == packed)
		return;
	ring->packed = packed;
	vm_ring_reset(ring);
}

uint32_t vm_ring_base(const struct vm_ring *ring)
{
	return ring->packed ? packed_base(ring) : load(&ring->used->idx, __ATOMIC_ACQUIRE);
}

static void allocate_rings(struct vm_ring *ring, struct vm_memory *memory)
{
	uint64_t desc_bytes = sizeof(struct vm_desc) * ring->size;
	uint64_t tables_bytes = desc_bytes * ring->indirect_len;

	ring->desc_addr = vm_memory_alloc(memory, desc_bytes, 4096);
	ring->avail_addr = vm_memory_alloc(memory, avail_bytes(ring->size), 64);
	ring->used_addr = vm_memory_alloc(memory, used_bytes(ring->size), 4096);
	ring->desc = vm_memory_at(memory, ring->desc_addr, desc_bytes);
	ring->avail = vm_memory_at(memory, ring->avail_addr, avail_bytes(ring->size));
	ring->used = vm_memory_at(memory, ring->used_addr, used_bytes(ring->size));
	if (tables_bytes) {
		ring->tables_addr = vm_memory_alloc(memory, tables_bytes, 4096);
		ring->tables = vm_memory_at(memory, ring->tables_addr, tables_bytes);
	}
}

int vm_ring_init(struct vm_ring *ring, struct vm_memory *memory, uint16_t size, bool event_idx,
		 unsigned indirect_len)
{
	*ring = (struct vm_ring){.size = size,
				 .event_idx = event_idx,
				 .indirect_len = indirect_len,
				 .kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				 .call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				 .err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				 .slots = calloc(size, sizeof(struct vm_ring_slot))};
	if (!ring->slots || ring->kick_fd < 0 || ring->call_fd < 0 || ring->err_fd < 0) {
		vm_ring_free(ring);
		return -ENOMEM;
	}
	allocate_rings(ring, memory);
	vm_ring_reset(ring);
	return 0;
}

void vm_ring_free(struct vm_ring *ring)
{
	int fds[] = {ring->kick_fd, ring->call_fd, ring->err_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(ring->slots);
	*ring = (struct vm_ring){.kick_fd = -1, .call_fd = -1, .err_fd = -1};
}

static struct vm_desc buffer_desc(const struct vm_buffer *buffer, uint16_t next, bool last)
{
	unsigned flags = (buffer->write ? VM_DESC_F_WRITE : 0u) | (last ? 0u : VM_DESC_F_NEXT);

	return (struct vm_desc){.addr = htole64(buffer->addr),
				.len = htole32(buffer->len),
				.flags = htole16((uint16_t)flags),
				.next = htole16(last ? 0 : next)};
}

static struct vm_desc fill_table(struct vm_ring *ring, uint16_t head,
				 const struct vm_buffer *buffers, unsigned count)
{
	uint64_t first = (uint64_t)head * ring->indirect_len;

	for (unsigned i = 0; i < count; i++)
		ring->tables[first + i] =
			buffer_desc(&buffers[i], (uint16_t)(i + 1), i + 1 == count);
	return (struct vm_desc){
		.addr = htole64(ring->tables_addr + first * sizeof(struct vm_desc)),
		.len = htole32((uint32_t)(count * sizeof(struct vm_desc))),
		.flags = htole16(VM_DESC_F_INDIRECT),
	};
}

int vm_ring_add_mixed(struct vm_ring *ring, const struct vm_buffer *buffers, unsigned count,
		      unsigned direct, void *cookie)
{
	unsigned in_table = count - direct;
	unsigned needed = direct + (in_table ? 1 : 0);
	uint16_t head = ring->free_head, at = head;

	if (count == 0 || direct > count || in_table > ring->indirect_len)
		return -EINVAL;
	if (needed > ring->free_count)
		return -ENOSPC;
	if (ring->packed)
		return packed_add(ring, buffers, count, direct, cookie);
	for (unsigned i = 0; i < direct; i++, at = ring->slots[at].next)
		ring->desc[at] = buffer_desc(&buffers[i], ring->slots[at].next, i + 1 == needed);
	if (in_table) {
		ring->desc[at] = fill_table(ring, head, buffers + direct, in_table);
		at = ring->slots[at].next;
	}
	ring->free_head = at;
	ring->free_count = (uint16_t)(ring->free_count - needed);
	ring->slots[head].taken = (uint16_t)needed;
	ring->slots[head].cookie = cookie;
	ring->avail->ring[ring->avail_idx++ & (ring->size - 1)] = htole16(head);
	return head;
}

int vm_ring_add(struct vm_ring *ring, const struct vm_buffer *buffers, unsigned count, void *cookie)
{
	unsigned direct = ring->indirect_len && count > 1 ? 0 : count;

	return vm_ring_add_mixed(ring, buffers, count, direct, cookie);
}

/* VIRTIO 1.3, 2.7.10 "Available Buffer Notification Suppression" */
static bool wants_notification(struct vm_ring *ring, uint16_t old)
{
	uint16_t event;

	if (!ring->event_idx)
		return !(load(&ring->used->flags, __ATOMIC_RELAXED) & VM_USED_F_NO_NOTIFY);
	event = load(vm_ring_avail_event(ring), __ATOMIC_RELAXED);
	return (uint16_t)(ring->avail_idx - event - 1) < (uint16_t)(ring->avail_idx - old);
}

bool vm_ring_show(struct vm_ring *ring)
{
	uint16_t old = ring->shown_idx;

	if (ring->packed)
		return packed_show(ring);
	if (old == ring->avail_idx)
		return false;
	store(&ring->avail->idx, ring->avail_idx, __ATOMIC_RELEASE);
	ring->shown_idx = ring->avail_idx;
	/* The new index must be visible before the device's wish is read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return wants_notification(ring, old);
}

void vm_ring_notify(struct vm_ring *ring)
{
	eventfd_write(ring->kick_fd, 1);
}

void vm_ring_kick(struct vm_ring *ring)
{
	if (vm_ring_show(ring))
		vm_ring_notify(ring);
}

static bool has_completion(const struct vm_ring *ring)
{
	if (ring->packed)
		return packed_has_completion(ring);
	return load(&ring->used->idx, __ATOMIC_ACQUIRE) != ring->used_idx;
}

static void free_chain(struct vm_ring *ring, uint16_t head)
{
	struct vm_ring_slot *slot = &ring->slots[head];
	uint16_t last = head;

	for (uint16_t i = 1; i < slot->taken; i++)
		last = ring->slots[last].next;
	ring->slots[last].next = ring->free_head;
	ring->free_head = head;
	ring->free_count = (uint16_t)(ring->free_count + slot->taken);
	slot->taken = 0;
}

int vm_ring_take(struct vm_ring *ring, struct vm_completion *completion)
{
	const struct vm_used_elem *elem = &ring->used->ring[ring->used_idx & (ring->size - 1)];
	uint32_t id;

	if (!has_completion(ring))
		return 0;
	if (ring->packed)
		return packed_take(ring, completion);
	id = le32toh(elem->id);
	if (id >= ring->size || ring->slots[id].taken == 0)
		return -EPROTO;
	*completion = (struct vm_completion){
		.head = (uint16_t)id, .len = le32toh(elem->len), .cookie = ring->slots[id].cookie};
	free_chain(ring, (uint16_t)id);
	ring->used_idx++;
	return 1;
}

bool vm_ring_arm(struct vm_ring *ring)
{
	if (ring->packed)
		packed_arm(ring);
	else if (ring->event_idx)
		store(vm_ring_used_event(ring), ring->used_idx, __ATOMIC_RELAXED);
	else
		store(&ring->avail->flags, 0, __ATOMIC_RELAXED);
	/* The wish must be visible before the used index is read for the last time. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return has_completion(ring);
}

void vm_ring_disarm(struct vm_ring *ring)
{
	/* With EVENT_IDX a used_event that was just passed is the farthest away. */
	if (ring->packed)
		packed_disarm(ring);
	else if (ring->event_idx)
		store(vm_ring_used_event(ring), (uint16_t)(ring->used_idx - 1), __ATOMIC_RELAXED);
	else
		store(&ring->avail->flags, VM_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
}

uint64_t vm_ring_eventfd_read(int fd)
{
	eventfd_t count = 0;

	return eventfd_read(fd, &count) == 0 ? count : 0;
}

int vm_ring_wait(struct vm_ring *ring, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = ring->call_fd, .events = POLLIN};

	while (!vm_ring_arm(ring)) {
		if (poll(&poll_fd, 1, timeout_ms) == 0)
			return has_completion(ring) ? 0 : -ETIMEDOUT;
		vm_ring_eventfd_read(ring->call_fd);
	}
	return 0;
}
