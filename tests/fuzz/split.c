// SPDX-License-Identifier: Apache-2.0
// A driver's side of the split ring (VIRTIO 1.3, 2.7), good and bad.
#include <string.h>

#include "tests/fuzz/rings.h"

enum { MOST_BUFFERS = 16 };

// Where the parts are, from the ring's address on.
enum { DESC = 0, AVAIL = 512, USED = 1024 };
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
	if (addr - ring->addr < AVAIL)
		fuzz_write(ring->rings, addr, desc, sizeof(*desc));
	else
		fuzz_write_anywhere(ring->rings, addr, desc, sizeof(*desc));
}

static void offer(struct fuzz_ring *ring, u16 head)
{
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

// A descriptor as no driver writes it, in the ring's table or in another.
static void write_any_desc(struct fuzz_ring *ring, struct fuzz_input *input, u64 table)
{
	u64 at = fuzz_u8(input) % FUZZ_RING_MAX;
	struct virtq_desc desc;

	fuzz_bytes(input, &desc, sizeof(desc));
	write_desc(ring, table + at * sizeof(desc), &desc);
}

static void write_index(struct fuzz_ring *ring, struct fuzz_input *input)
{
	ring->next = fuzz_u16(input);
	if (ring->next > ring->shown)
		ring->shown = ring->next;
	write_u16(ring, ring->addr + AVAIL + offsetof(struct virtq_avail, idx), ring->next);
}

static void write_hints(struct fuzz_ring *ring, struct fuzz_input *input)
{
	write_u16(ring, ring->addr + AVAIL, fuzz_u8(input));
	write_u16(ring, ring->addr + AVAIL + sizeof(le16) * (2u + ring->num), fuzz_u16(input));
}

enum deed { DIRECT, INDIRECT, OFFER, ANY_DESC, ANY_DESC_IN_TABLE, INDEX, HINTS, DEEDS };

static void step(struct fuzz_ring *ring, struct fuzz_input *input)
{
	switch ((enum deed)(fuzz_u8(input) % DEEDS)) {
	case DIRECT:
		offer_direct(ring, input);
		break;
	case INDIRECT:
		offer_indirect(ring, input);
		break;
	case OFFER:
		offer(ring, fuzz_u16(input));
		break;
	case ANY_DESC:
		write_any_desc(ring, input, ring->addr + DESC);
		break;
	case ANY_DESC_IN_TABLE:
		write_any_desc(ring, input, fuzz_addr(input));
		break;
	case INDEX:
		write_index(ring, input);
		break;
	case HINTS:
		write_hints(ring, input);
		break;
	case DEEDS:
		break;
	}
}

// Unless the indices may be what a buffer held.
static void check(struct fuzz_ring *ring)
{
	u64 avail = ring->addr + AVAIL + offsetof(struct virtq_avail, idx);
	u64 used = ring->addr + USED + offsetof(struct virtq_used, idx);

	if (fuzz_owned(ring->rings, avail, sizeof(le16), FUZZ_DEVICE) ||
	    fuzz_owned(ring->rings, used, sizeof(le16), FUZZ_DEVICE))
		return;
	assert(le16_get(*(const le16 *)fuzz_read(ring->rings, used, sizeof(le16))) <= ring->shown);
	assert(ring->popped <= ring->shown);
}

const struct fuzz_layout fuzz_split = {.place = place, .step = step, .check = check};
