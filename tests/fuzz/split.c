// SPDX-License-Identifier: Apache-2.0
// A driver's side of the split ring (VIRTIO 1.3, 2.7), good and bad.
#include <string.h>

#include "tests/fuzz/rings.h"

enum { MOST_BUFFERS = 16 };

// Where the parts are, from the ring's address on.
enum { DESC = 0, AVAIL = 512, USED = 640 };
#define USED_LEN(num) \
	(sizeof(struct virtq_used) + (num) * sizeof(struct virtq_used_elem) + sizeof(le16))
static_assert(FUZZ_RING_MAX * sizeof(struct virtq_desc) <= AVAIL, "the table fits");

static void place(struct fuzz_ring *ring)
{
	ring->queue.layout = (struct vring_layout){.num = ring->num,
						   .desc.value = ring->addr + DESC,
						   .avail.value = ring->addr + AVAIL,
						   .used.value = ring->addr + USED};
	fuzz_own(ring->rings, ring->addr + USED, USED_LEN(ring->num), FUZZ_CORE);
}

static void write_u16(struct fuzz_ring *ring, u64 addr, u16 value)
{
	const le16 word = le16_of(value);

	fuzz_write(ring->rings, addr, &word, sizeof(word));
}

static void write_desc(struct fuzz_ring *ring, u64 addr, const struct virtq_desc *desc)
{
	if (addr - ring->addr <= AVAIL - sizeof(*desc))
		fuzz_write(ring->rings, addr, desc, sizeof(*desc));
	else
		fuzz_write_anywhere(ring->rings, addr, desc, sizeof(*desc));
}

static bool is_good(const struct fuzz_ring *ring)
{
	return !ring->bad &&
	       !fuzz_owned(ring->rings, ring->addr + AVAIL, FUZZ_RING_LEN - AVAIL, FUZZ_DEVICE);
}

// Takes back all that was used, which must have been available as often.
static void take_used(struct fuzz_ring *ring)
{
	const struct virtq_used *used =
		fuzz_read(ring->rings, ring->addr + USED, USED_LEN(ring->num));

	while (is_good(ring) && ring->seen != le16_get(used->idx)) {
		u32 id = le32_get(used->ring[ring->seen++ % ring->num].id);

		assert(id < ring->num && ring->owed[id] > 0);
		ring->owed[id]--;
	}
}

// A bad driver does so even if the ring is full.
static void offer(struct fuzz_ring *ring, u16 head)
{
	take_used(ring);
	ring->bad |= (u16)(ring->next - ring->seen) >= ring->num;
	if (head < ring->num)
		ring->owed[head]++;
	write_u16(ring, ring->addr + AVAIL + sizeof(le16) * (2u + ring->next % ring->num), head);
	ring->next++;
	write_u16(ring, ring->addr + AVAIL + offsetof(struct virtq_avail, idx), ring->next);
	if (ring->next > ring->shown)
		ring->shown = ring->next;
}

// Writes some linked descriptors to a table, from `first` on; answers how many.
static u16 write_chain(struct fuzz_ring *ring, struct fuzz_input *input, u64 table, u16 first,
		       u16 num)
{
	u16 count = fuzz_u8(input) % MOST_BUFFERS + 1;

	for (u16 i = 0; i < count; i++) {
		u64 addr = fuzz_addr(input);
		u16 len = fuzz_u16(input);
		unsigned flags = fuzz_u8(input) & VIRTQ_DESC_F_WRITE;
		unsigned index = ((unsigned)first + i) % num;

		if (i + 1 < count)
			flags |= VIRTQ_DESC_F_NEXT;
		write_desc(ring, table + index * sizeof(struct virtq_desc),
			   &(struct virtq_desc){.addr = le64_of(addr),
						.len = le32_of(len),
						.flags = le16_of((u16)flags),
						.next = le16_of((u16)((index + 1) % num))});
	}
	return count;
}

static void offer_direct(struct fuzz_ring *ring, struct fuzz_input *input)
{
	u16 head = (u16)(fuzz_u8(input) % ring->num);

	write_chain(ring, input, ring->addr + DESC, head, ring->num);
	offer(ring, head);
}

static void offer_indirect(struct fuzz_ring *ring, struct fuzz_input *input)
{
	u16 head = (u16)(fuzz_u8(input) % ring->num);
	u64 table = fuzz_addr(input);
	u16 count = write_chain(ring, input, table, 0, MOST_BUFFERS);

	write_desc(ring, ring->addr + DESC + head * sizeof(struct virtq_desc),
		   &(struct virtq_desc){.addr = le64_of(table),
					.len = le32_of(count * (u32)sizeof(struct virtq_desc)),
					.flags = le16_of(VIRTQ_DESC_F_INDIRECT)});
	offer(ring, head);
}

static void offer_any(struct fuzz_ring *ring, struct fuzz_input *input)
{
	offer(ring, fuzz_u16(input));
}

// A descriptor as no driver writes it, in the ring's table or in another.
static void write_any(struct fuzz_ring *ring, struct fuzz_input *input, u64 table)
{
	u64 at = fuzz_u8(input) % FUZZ_RING_MAX;
	struct virtq_desc desc;

	fuzz_bytes(input, &desc, sizeof(desc));
	write_desc(ring, table + at * sizeof(desc), &desc);
}

static void write_any_desc(struct fuzz_ring *ring, struct fuzz_input *input)
{
	write_any(ring, input, ring->addr + DESC);
}

static void write_any_table(struct fuzz_ring *ring, struct fuzz_input *input)
{
	write_any(ring, input, fuzz_addr(input));
}

static void write_index(struct fuzz_ring *ring, struct fuzz_input *input)
{
	ring->next = fuzz_u16(input);
	ring->bad = true;
	if (ring->next > ring->shown)
		ring->shown = ring->next;
	write_u16(ring, ring->addr + AVAIL + offsetof(struct virtq_avail, idx), ring->next);
}

static void write_hints(struct fuzz_ring *ring, struct fuzz_input *input)
{
	write_u16(ring, ring->addr + AVAIL, fuzz_u8(input));
	write_u16(ring, ring->addr + AVAIL + sizeof(le16) * (2u + ring->num), fuzz_u16(input));
}

static void step(struct fuzz_ring *ring, struct fuzz_input *input)
{
	static void (*const deeds[])(struct fuzz_ring *, struct fuzz_input *) = {
		offer_direct,	 offer_indirect, offer_any,   write_any_desc,
		write_any_table, write_index,	 write_hints,
	};

	deeds[fuzz_u8(input) % ARRAY_SIZE(deeds)](ring, input);
}

// The ring is stopped: of a good driver's chains each that the device took has come back. Of a bad one's there were no more than it
// has shown, unless the indices may be what a buffer held.
static void check(struct fuzz_ring *ring)
{
	const struct vring *vring = &ring->queue.vring;
	u64 avail = ring->addr + AVAIL + offsetof(struct virtq_avail, idx);
	u64 used = ring->addr + USED + offsetof(struct virtq_used, idx);

	if (fuzz_owned(ring->rings, avail, sizeof(le16), FUZZ_DEVICE) ||
	    fuzz_owned(ring->rings, used, sizeof(le16), FUZZ_DEVICE))
		return;
	assert(le16_get(*(const le16 *)fuzz_read(ring->rings, used, sizeof(le16))) <= ring->shown);
	assert(vring->last_avail <= ring->shown);
	take_used(ring);
	assert(!is_good(ring) || vring->broken || ring->queue.vring.misplaced ||
	       vring->last_avail == ring->seen);
}

const struct fuzz_layout fuzz_split = {.place = place, .step = step, .check = check};
