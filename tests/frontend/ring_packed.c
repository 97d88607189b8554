// SPDX-License-Identifier: Apache-2.0
//
// Packed virtqueue, driver side.

#include "tests/frontend/ring_packed.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* VIRTIO 1.3, 2.8.1 "Driver and Device Ring Wrap Counters" */
static uint16_t available(bool wrap)
{
	return wrap ? VM_PACKED_F_AVAIL : VM_PACKED_F_USED;
}

static void advance(const struct vm_ring *ring, uint16_t *index, bool *wrap, unsigned by)
{
	unsigned next = *index + by;

	if (next >= ring->size) {
		next -= ring->size;
		*wrap = !*wrap;
	}
	*index = (uint16_t)next;
}

static struct vm_packed_desc buffer_desc(const struct vm_buffer *buffer)
{
	return (struct vm_packed_desc){.addr = htole64(buffer->addr),
				       .len = htole32(buffer->len),
				       .flags = htole16(buffer->write ? VM_DESC_F_WRITE : 0)};
}

static struct vm_packed_desc fill_table(struct vm_ring *ring, uint16_t id,
					const struct vm_buffer *buffers, unsigned count)
{
	uint64_t first = (uint64_t)id * ring->indirect_len;

	for (unsigned i = 0; i < count; i++)
		ring->packed_tables[first + i] = buffer_desc(&buffers[i]);
	return (struct vm_packed_desc){
		.addr = htole64(ring->tables_addr + first * sizeof(struct vm_packed_desc)),
		.len = htole32((uint32_t)(count * sizeof(struct vm_packed_desc))),
		.flags = htole16(VM_DESC_F_INDIRECT),
	};
}

/* The flags of the first descriptor that is hidden show all that are behind it, so they are stored last. */
static void put(struct vm_ring *ring, struct vm_packed_desc desc, uint16_t id, bool last)
{
	struct vm_packed_desc *shared = &ring->packed_desc[ring->avail_idx];
	uint16_t flags = htole16((uint16_t)(le16toh(desc.flags) | available(ring->avail_wrap) |
					    (last ? 0 : VM_DESC_F_NEXT)));

	/* A device may look at it before it is shown. */
	__atomic_store_n(&shared->addr, desc.addr, __ATOMIC_RELAXED);
	__atomic_store_n(&shared->len, desc.len, __ATOMIC_RELAXED);
	__atomic_store_n(&shared->id, htole16(id), __ATOMIC_RELAXED);
	if (ring->hidden == 0)
		ring->shown_flags = flags;
	else
		__atomic_store_n(&shared->flags, flags, __ATOMIC_RELAXED);
	ring->hidden++;
	advance(ring, &ring->avail_idx, &ring->avail_wrap, 1);
}

int packed_add(struct vm_ring *ring, const struct vm_buffer *buffers, unsigned count,
	       unsigned direct, void *cookie)
{
	unsigned in_table = count - direct;
	unsigned needed = direct + (in_table ? 1 : 0);
	uint16_t id = ring->free_head;

	for (unsigned i = 0; i < direct; i++)
		put(ring, buffer_desc(&buffers[i]), id, i + 1 == needed);
	if (in_table)
		put(ring, fill_table(ring, id, buffers + direct, in_table), id, true);
	ring->free_head = ring->slots[id].next;
	ring->free_count = (uint16_t)(ring->free_count - needed);
	ring->slots[id].taken = (uint16_t)needed;
	ring->slots[id].cookie = cookie;
	return id;
}

/* VIRTIO 1.3, 2.8.14 "Event Suppression Structure Format" */
static bool wants_notification(const struct vm_ring *ring, uint16_t descs)
{
	uint16_t flags = le16toh(__atomic_load_n(&ring->device_event->flags, __ATOMIC_ACQUIRE));
	uint16_t off_wrap =
		le16toh(__atomic_load_n(&ring->device_event->off_wrap, __ATOMIC_RELAXED));
	int event = off_wrap & ~VM_PACKED_WRAP, distance;

	if (flags != VM_PACKED_EVENT_DESC)
		return flags != VM_PACKED_EVENT_DISABLE;
	if ((bool)(off_wrap & VM_PACKED_WRAP) != ring->avail_wrap)
		event -= ring->size;
	distance = ring->avail_idx - event; /* descriptors from the one that is meant on */
	return distance > 0 && distance <= descs;
}

bool packed_show(struct vm_ring *ring)
{
	uint16_t descs = ring->hidden;

	if (descs == 0)
		return false;
	__atomic_store_n(&ring->packed_desc[ring->shown_idx].flags, ring->shown_flags,
			 __ATOMIC_RELEASE);
	ring->shown_idx = ring->avail_idx;
	ring->hidden = 0;
	/* The descriptors must be visible before the device's wish is read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return wants_notification(ring, descs);
}

/* The half of the next used descriptor that a device stores at once. */
struct rest {
	uint32_t len;
	uint16_t id, flags;
};

static struct rest load_rest(const struct vm_ring *ring)
{
	typedef uint64_t __attribute__((may_alias)) word;
	const void *half = &ring->packed_desc[ring->used_idx].len;
	uint64_t bits = __atomic_load_n((const word *)half, __ATOMIC_ACQUIRE);
	struct rest rest;

	memcpy(&rest, &bits, sizeof(rest));
	return rest;
}

bool packed_has_completion(const struct vm_ring *ring)
{
	uint16_t flags = le16toh(load_rest(ring).flags);
	bool avail = flags & VM_PACKED_F_AVAIL, used = flags & VM_PACKED_F_USED;

	return avail == used && used == ring->used_wrap;
}

int packed_take(struct vm_ring *ring, struct vm_completion *completion)
{
	struct rest rest = load_rest(ring);
	uint16_t id = le16toh(rest.id);
	struct vm_ring_slot *slot = &ring->slots[id < ring->size ? id : 0];

	if (id >= ring->size || slot->taken == 0)
		return -EPROTO;
	*completion = (struct vm_completion){
		.head = id, .len = le32toh(rest.len), .cookie = slot->cookie};
	advance(ring, &ring->used_idx, &ring->used_wrap, slot->taken);
	ring->free_count = (uint16_t)(ring->free_count + slot->taken);
	slot->taken = 0;
	slot->next = ring->free_head;
	ring->free_head = id;
	return 1;
}

static void set_event(struct vm_ring *ring, uint16_t flags)
{
	__atomic_store_n(&ring->driver_event->flags, htole16(flags), __ATOMIC_RELEASE);
}

void packed_arm(struct vm_ring *ring)
{
	uint16_t off_wrap = (uint16_t)(ring->used_idx | (ring->used_wrap ? VM_PACKED_WRAP : 0));

	__atomic_store_n(&ring->driver_event->off_wrap, htole16(off_wrap), __ATOMIC_RELAXED);
	set_event(ring, ring->event_idx ? VM_PACKED_EVENT_DESC : VM_PACKED_EVENT_ENABLE);
}

void packed_disarm(struct vm_ring *ring)
{
	set_event(ring, VM_PACKED_EVENT_DISABLE);
}

uint32_t packed_base(const struct vm_ring *ring)
{
	uint32_t half = ring->used_idx | (ring->used_wrap ? VM_PACKED_WRAP : 0u);

	return half | half << 16;
}
