// SPDX-License-Identifier: Apache-2.0
// A driver's side of the packed ring (VIRTIO 1.3, 2.8), good and bad. As long as it is good it holds each used descriptor
// against what it has made available.
#include <string.h>

#include "tests/fuzz/rings.h"

enum { MOST_BUFFERS = 16 };

// Where the parts are, from the ring's address on.
enum { DESC = 0, DRIVER_EVENT = 512, DEVICE_EVENT = 640 };
static_assert(FUZZ_RING_MAX * sizeof(struct pvirtq_desc) <= DRIVER_EVENT, "the ring fits");

enum { FIRST_BASE = 0x80008000u }; // both halves at 0, with a wrap counter of 1

static u64 desc_addr(const struct fuzz_ring *ring, u16 index)
{
	return ring->addr + DESC + index * sizeof(struct pvirtq_desc);
}

static void place(struct fuzz_ring *ring)
{
	ring->queue.layout = (struct vring_layout){.num = ring->num,
						   .desc.value = ring->addr + DESC,
						   .avail.value = ring->addr + DRIVER_EVENT,
						   .used.value = ring->addr + DEVICE_EVENT,
						   .base = FIRST_BASE};
	ring->packed = (struct fuzz_packed){.wrap = true, .used_wrap = true, .free = ring->num};
	fuzz_own(ring->rings, desc_addr(ring, 0), ring->num * sizeof(struct pvirtq_desc),
		 FUZZ_CORE);
	fuzz_own(ring->rings, ring->addr + DEVICE_EVENT, sizeof(struct pvirtq_event), FUZZ_CORE);
}

static void advance(const struct fuzz_ring *ring, u16 *index, bool *wrap, unsigned by)
{
	unsigned next = *index + by;

	*wrap ^= next >= ring->num;
	*index = (u16)(next % ring->num);
}

// ---- what was used ----

static bool is_good(const struct fuzz_ring *ring)
{
	return !ring->bad && !fuzz_owned(ring->rings, desc_addr(ring, 0),
					 ring->num * sizeof(struct pvirtq_desc), FUZZ_DEVICE);
}

// 2.8.1 "Driver and Device Ring Wrap Counters"
static bool is_used(const struct pvirtq_desc *desc, bool wrap)
{
	u16 flags = le16_get(desc->flags);

	return !(flags & PVIRTQ_DESC_F_AVAIL) == !wrap && !(flags & PVIRTQ_DESC_F_USED) == !wrap;
}

// Whether the device has told of all before the driver's next used descriptor, but not of that one.
static bool is_untold(const struct fuzz_ring *ring)
{
	const struct vring *vring = &ring->queue.vring;
	bool batch = vring->batch_descs > 0;
	u16 next = batch ? vring->batch_first : vring->used_next;
	bool wrap = batch ? fuzz_batch_wrap(vring) : vring->used_wrap;

	return ring->packed.used == next && ring->packed.used_wrap == wrap;
}

// Takes back all that was used, which must have been available.
static void take_used(struct fuzz_ring *ring)
{
	struct fuzz_packed *packed = &ring->packed;

	while (is_good(ring)) {
		const struct pvirtq_desc *desc =
			fuzz_read(ring->rings, desc_addr(ring, packed->used), sizeof(*desc));
		u16 id = le16_get(desc->id);

		if (packed->free == ring->num || !is_used(desc, packed->used_wrap))
			return;
		assert(!is_untold(ring));
		assert(id < ring->num && packed->taken[id] > 0);
		assert(packed->free + packed->taken[id] <= ring->num);
		advance(ring, &packed->used, &packed->used_wrap, packed->taken[id]);
		packed->free = (u16)(packed->free + packed->taken[id]);
		packed->taken[id] = 0;
	}
}

// ---- what is available ----

// Unless said otherwise the buffer ids of a chain are all the same.
static struct pvirtq_desc some_desc(struct fuzz_input *input, u16 id)
{
	u64 addr = fuzz_addr(input);
	u16 len = fuzz_u16(input);
	unsigned flags = fuzz_u8(input) & VIRTQ_DESC_F_WRITE;

	return (struct pvirtq_desc){.addr = le64_of(addr),
				    .len = le32_of(len),
				    .id = le16_of(id),
				    .flags = le16_of((u16)flags)};
}

static void put(struct fuzz_ring *ring, struct pvirtq_desc desc, bool last)
{
	struct fuzz_packed *packed = &ring->packed;
	unsigned mark = packed->wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED;

	desc.flags = le16_of((u16)(le16_get(desc.flags) | mark | (last ? 0 : VIRTQ_DESC_F_NEXT)));
	fuzz_write(ring->rings, desc_addr(ring, ring->next), &desc, sizeof(desc));
	advance(ring, &ring->next, &packed->wrap, 1);
}

// The next id that is free, if a chain of `count` descriptors has room; a bad driver takes it all the same.
static bool begin(struct fuzz_ring *ring, struct fuzz_input *input, u16 count, u16 *id)
{
	struct fuzz_packed *packed = &ring->packed;
	u8 choice = fuzz_u8(input);

	take_used(ring);
	*id = (u16)(choice % ring->num);
	if (!is_good(ring))
		return true;
	if (packed->free < count || packed->taken[*id] > 0) {
		ring->bad = choice & 0x80;
		return ring->bad;
	}
	packed->free = (u16)(packed->free - count);
	packed->taken[*id] = (u8)count;
	return true;
}

static void offer_direct(struct fuzz_ring *ring, struct fuzz_input *input)
{
	u16 count = (u16)(fuzz_u8(input) % min_uint(ring->num, MOST_BUFFERS) + 1), id;

	if (!begin(ring, input, count, &id))
		return;
	for (u16 i = 0; i < count; i++)
		put(ring, some_desc(input, id), i + 1 == count);
}

static void offer_indirect(struct fuzz_ring *ring, struct fuzz_input *input)
{
	u64 table = fuzz_addr(input);
	u16 count = fuzz_u8(input) % MOST_BUFFERS + 1, id;

	if (!begin(ring, input, 1, &id))
		return;
	for (u16 i = 0; i < count; i++) {
		struct pvirtq_desc desc = some_desc(input, 0);

		fuzz_write_anywhere(ring->rings, table + i * sizeof(desc), &desc, sizeof(desc));
	}
	put(ring,
	    (struct pvirtq_desc){.addr = le64_of(table),
				 .len = le32_of(count * (u32)sizeof(struct pvirtq_desc)),
				 .id = le16_of(id),
				 .flags = le16_of(VIRTQ_DESC_F_INDIRECT)},
	    true);
}

// A descriptor as no driver writes it, somewhere in the ring or where it goes on.
static void write_any_desc(struct fuzz_ring *ring, struct fuzz_input *input)
{
	u16 at = (u16)(fuzz_u8(input) % ring->num);
	struct pvirtq_desc desc;

	fuzz_bytes(input, &desc, sizeof(desc));
	fuzz_write(ring->rings, desc_addr(ring, at), &desc, sizeof(desc));
	ring->bad = true;
}

// Available, but for its place as no driver writes it.
static void offer_any_desc(struct fuzz_ring *ring, struct fuzz_input *input)
{
	const unsigned marks = PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED;
	u16 id = fuzz_u8(input), flags = fuzz_u8(input);
	u64 addr = fuzz_addr(input);
	u32 len = fuzz_u32(input);

	put(ring,
	    (struct pvirtq_desc){.addr = le64_of(addr),
				 .len = le32_of(len),
				 .id = le16_of(id),
				 .flags = le16_of((u16)(flags & ~marks))},
	    true);
	ring->bad = true;
}

static void write_table_desc(struct fuzz_ring *ring, struct fuzz_input *input)
{
	u64 addr = fuzz_addr(input);
	struct pvirtq_desc desc;

	fuzz_bytes(input, &desc, sizeof(desc));
	fuzz_write_anywhere(ring->rings, addr, &desc, sizeof(desc));
}

static void write_event(struct fuzz_ring *ring, struct fuzz_input *input)
{
	struct pvirtq_event event;

	fuzz_bytes(input, &event, sizeof(event));
	fuzz_write(ring->rings, ring->addr + DRIVER_EVENT, &event, sizeof(event));
}

static void step(struct fuzz_ring *ring, struct fuzz_input *input)
{
	static void (*const deeds[])(struct fuzz_ring *, struct fuzz_input *) = {
		offer_direct,	offer_indirect,	  offer_any_desc,
		write_any_desc, write_table_desc, write_event,
	};

	deeds[fuzz_u8(input) % ARRAY_SIZE(deeds)](ring, input);
}

// The ring is stopped: of a good driver's chains each that the device took has come back.
static void check(struct fuzz_ring *ring)
{
	const struct vring *vring = &ring->queue.vring;

	if (ring->queue.vring.misplaced)
		return;
	assert(vring->last_avail < ring->num && vring->used_next < ring->num);
	take_used(ring);
	if (!is_good(ring) || vring->broken)
		return;
	assert(vring->used_next == ring->packed.used && vring->used_wrap == ring->packed.used_wrap);
}

const struct fuzz_layout fuzz_packed = {
	.features = BIT64(VIRTIO_F_RING_PACKED), .place = place, .step = step, .check = check};
