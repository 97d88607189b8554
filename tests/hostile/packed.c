// SPDX-License-Identifier: Apache-2.0
//
// P1 to P11: packed rings (VIRTIO 1.3, 2.8 "Packed Virtqueues").

#include <endian.h>
#include "tests/hostile/hostile.h"

static const char *const packed_options[] = {"--packed=on", NULL};
static const char *const in_order_options[] = {"--packed=on", "--in-order", NULL};

static void start_packed(struct guest *guest, struct target *target, uint16_t size)
{
	const struct vm_options options = {.features = VU_BIT(VM_F_RING_PACKED),
					   .queue_size = size};

	guest_start(guest, target, &options);
	expect(guest->vm.rings[0].packed, "packed rings are not offered");
}

/* A good read of one block on ring 0, in three descriptors, the first `direct` of them in no table, not shown: the ring's first. */
static struct vm_packed_desc *add_read_by(struct guest *guest, unsigned direct)
{
	struct vm_blk_slot *slot = guest_header(guest, 0, VM_BLK_T_IN, 0);
	struct vm_ring *ring = &guest->vm.rings[0];
	struct vm_packed_desc *first = &ring->packed_desc[ring->avail_idx];
	const struct vm_buffer buffers[] = {
		{.addr = slot->header_addr, .len = sizeof(*slot->header)},
		{.addr = slot->data_addr, .len = guest->block, .write = true},
		{.addr = slot->status_addr, .len = 1, .write = true}};

	expect(vm_ring_add_mixed(ring, buffers, 3, direct, NULL) >= 0, "the ring is full");
	return first;
}

static struct vm_packed_desc *add_read(struct guest *guest)
{
	return add_read_by(guest, 3);
}

static void show(struct guest *guest)
{
	vm_ring_show(&guest->vm.rings[0]);
	vm_ring_notify(&guest->vm.rings[0]);
}

static void p1(struct target *target)
{
	static const uint16_t bits[] = {0, VM_PACKED_F_USED, VM_PACKED_F_AVAIL | VM_PACKED_F_USED};
	struct guest guest;
	struct vm_ring *ring;

	start_packed(&guest, target, 8);
	ring = &guest.vm.rings[0];
	for (size_t i = 0; i < 48; i++) { /* each ring of 8 flips the counters every other time */
		uint16_t wrong = bits[i % ARRAY_SIZE(bits)];

		if (!ring->avail_wrap && wrong == VM_PACKED_F_USED)
			wrong = VM_PACKED_F_AVAIL;
		ring->packed_desc[ring->avail_idx].flags = htole16(wrong);
		vm_ring_notify(ring);
		expect_answers(&guest.vm.frontend);
		expect_not_broken(&guest, 0);
		expect_io(&guest, 0);
		vm_ring_notify(ring); /* nothing that was answered is served again */
		expect_answers(&guest.vm.frontend);
		expect(!raw_used(ring), "an old chain is answered again");
	}
	guest_close(&guest);
}

static void p2(struct target *target)
{
	struct guest guest;
	struct vm_ring *ring;

	start_packed(&guest, target, 100);
	ring = &guest.vm.rings[0];
	for (unsigned i = 0; i < 100; i++)
		ring->packed_desc[i].flags = htole16(VM_PACKED_F_AVAIL | VM_DESC_F_NEXT);
	vm_ring_notify(ring);
	expect_broken(&guest);
	guest_close(&guest);
}

static void p3(struct target *target)
{
	static const uint16_t ids[] = {100, 101, 1024, 0x7fff, 0x8000, 0xffff};
	struct guest guest;

	start_packed(&guest, target, 100);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		add_read(&guest)[2].id = htole16(ids[i]);
		show(&guest);
		expect_broken(&guest);
	}
	guest_close(&guest);
}

/* The second chain has the id of the first, which the disk still works on, or has answered by then. */
static void p4(struct target *target)
{
	struct vm_packed_desc *first, *second;
	struct vm_completion completion;
	struct guest guest;

	start_packed(&guest, target, 100);
	first = add_read(&guest);
	second = add_read(&guest);
	second[2].id = first[2].id;
	show(&guest);
	expect(vm_ring_wait(&guest.vm.rings[0], SOON_MS) == 0, "the first chain is not answered");
	expect(vm_ring_take(&guest.vm.rings[0], &completion) == 1, "no chain is answered");
	expect_io(&guest, 1);
	guest_close(&guest);
}

/* Flags other than the write flag, and ids, count for nothing in a table. */
static void read_by_odd_table(struct guest *guest)
{
	struct vm_ring *ring = &guest->vm.rings[0];
	unsigned id = le16toh(add_read_by(guest, 0)->id);
	struct vm_completion completion;

	for (unsigned i = 0; i < 3; i++) {
		struct vm_packed_desc *entry = &ring->packed_tables[id * ring->indirect_len + i];

		entry->flags |= htole16((uint16_t)~VM_DESC_F_WRITE);
		entry->id = 0xffff;
	}
	show(guest);
	expect(vm_ring_wait(ring, SOON_MS) == 0, "an odd table is not answered");
	expect(vm_ring_take(ring, &completion) == 1 && completion.len == guest->block + 1,
	       "an odd table is not read");
}

static void p5(struct target *target)
{
	static const struct {
		uint32_t len;
		uint16_t flags;
	} bad[] = {{0, 0}, {15, 0}, {17, 0}, {1025 * 16, 0}, {0xfffffff0, 0}, {48, VM_DESC_F_NEXT}};
	struct guest guest;

	start_packed(&guest, target, 100);
	read_by_odd_table(&guest);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vm_ring *ring = &guest.vm.rings[0];

		add_read_by(&guest, 0)->len = htole32(bad[i].len);
		ring->shown_flags |= htole16(bad[i].flags);
		show(&guest);
		expect_broken(&guest);
	}
	guest_close(&guest);
}

static void p6(struct target *target)
{
	struct vm_completion completion;
	struct vm_packed_desc *descs;
	struct guest guest;

	start_packed(&guest, target, 100);
	descs = add_read(&guest);
	descs[0].id = 0xffff;
	descs[1].id = htole16(77);
	show(&guest);
	expect(vm_ring_wait(&guest.vm.rings[0], SOON_MS) == 0, "the chain is not answered");
	expect(vm_ring_take(&guest.vm.rings[0], &completion) == 1, "another id is answered");
	expect(*guest.slots[0].status == VM_BLK_S_OK, "the read fails");
	expect_not_broken(&guest, 0);
	descs = add_read(&guest);
	descs[1].flags ^= htole16(VM_DESC_F_WRITE);
	descs[2].flags ^= htole16(VM_DESC_F_WRITE);
	guest.vm.rings[0].shown_flags |= htole16(VM_DESC_F_WRITE); /* readable behind writable */
	show(&guest);
	expect_broken(&guest);
	guest_close(&guest);
}

static void p7(struct target *target)
{
	struct guest guest;
	struct vm_ring *ring;

	start_packed(&guest, target, 100);
	ring = &guest.vm.rings[0];
	for (unsigned off_wrap = 0; off_wrap < 0x10000; off_wrap += 257) {
		struct vm_completion completion;

		add_read(&guest);
		ring->driver_event->off_wrap = htole16((uint16_t)off_wrap);
		ring->driver_event->flags = htole16((uint16_t)(off_wrap % 2 ? 3 : 2));
		show(&guest);
		while (!raw_used(ring))
			sleep_ms(0);
		expect(vm_ring_take(ring, &completion) == 1,
		       "the used entry is no chain in flight");
		expect_not_broken(&guest, 0);
	}
	guest_close(&guest);
}

static void p8(struct target *target)
{
	static const uint32_t bases[] = {100, 0x7fff, 100 << 16, 0x7fff0000, 0x80648064};
	struct guest guest;
	uint32_t base;

	start_packed(&guest, target, 100);
	expect(frontend_get_vring_base(&guest.vm.frontend, 0, &base) == 0, "GET_VRING_BASE");
	expect(frontend_set_vring_num(&guest.vm.frontend, 0, 100) == 0, "SET_VRING_NUM");
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		const struct vu_vring_state state = {.num = bases[i]};

		expect_refused(target, &guest.vm.frontend, MESSAGE(VU_SET_VRING_BASE, &state, 8));
	}
	guest_restart_ring(&guest, 0);
	expect_io(&guest, 0);
	guest_close(&guest);
}

static void read_often(struct guest *guest, unsigned times)
{
	struct vm_ring *ring = &guest->vm.rings[0];

	for (unsigned i = 0; i < times; i++) {
		struct vm_completion completion;

		add_read(guest);
		show(guest);
		expect(vm_ring_wait(ring, SOON_MS) == 0, "chain %u is not answered", i);
		expect(vm_ring_take(ring, &completion) == 1, "chain %u is answered wrongly", i);
		expect(*guest->slots[0].status == VM_BLK_S_OK, "read %u fails", i);
	}
}

static void p9(struct target *target)
{
	struct guest guest;

	start_packed(&guest, target, 3);
	read_often(&guest, 20);
	expect_io(&guest, 0);
	guest_close(&guest);
}

static void p10(struct target *target)
{
	static const uint16_t sizes[] = {4, 5, 7, 100, 1000, 1023};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct guest guest;

		start_packed(&guest, target, sizes[i]);
		read_often(&guest, 3 * (sizes[i] > 100 ? 400u : sizes[i]));
		guest_close(&guest);
	}
}

/* Requests of many sizes, all at once: they come back in the order in which they were made available. */
static void p11(struct target *target)
{
	const struct vm_options options = {
		.features = VU_BIT(VM_F_RING_PACKED) | VU_BIT(VM_F_IN_ORDER), .queue_size = 40};
	struct vm_blk_slot slots[13];
	struct guest guest;
	struct vm_ring *ring;

	guest_start(&guest, target, &options);
	expect(guest.vm.features & VU_BIT(VM_F_IN_ORDER), "IN_ORDER is not offered");
	ring = &guest.vm.rings[0];
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
		vm_blk_slot_init(&slots[i], &guest.vm.memory, 64 * 1024);
	for (unsigned round = 0; round < 50; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
			expect(vm_blk_add(ring, &slots[i], VM_BLK_T_IN, 0,
					  (uint32_t)(i % 3 ? 4096 : 65536)) >= 0,
			       "the ring is full");
		vm_ring_kick(ring);
		for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
			struct vm_completion completion;

			expect(vm_ring_wait(ring, SOON_MS) == 0, "a request is not answered");
			expect(vm_ring_take(ring, &completion) == 1, "no chain in flight");
			expect(completion.cookie == &slots[i], "an answer is out of order");
		}
	}
	guest_close(&guest);
}

const struct input packed_inputs[] = {
	{.id = "P1",
	 .description = "packed: wrap bits that contradict each other",
	 .run = p1,
	 .options = packed_options},
	{.id = "P2",
	 .description = "packed: a chain without end",
	 .run = p2,
	 .options = packed_options},
	{.id = "P3",
	 .description = "packed: a buffer id beyond the ring",
	 .run = p3,
	 .options = packed_options},
	{.id = "P4",
	 .description = "packed: a buffer id twice",
	 .run = p4,
	 .options = packed_options},
	{.id = "P5",
	 .description =
		 "packed: indirect tables of odd, no or too much length, with a next, with odd flags",
	 .run = p5,
	 .options = packed_options},
	{.id = "P6",
	 .description = "packed: ids that count for nothing; write flags mixed",
	 .run = p6,
	 .options = packed_options},
	{.id = "P7",
	 .description = "packed: event suppression at random",
	 .run = p7,
	 .options = packed_options},
	{.id = "P8",
	 .description = "packed: a base beyond the ring in either half",
	 .run = p8,
	 .options = packed_options},
	{.id = "P9",
	 .description = "packed: chains exactly as long as the ring",
	 .run = p9,
	 .options = packed_options},
	{.id = "P10",
	 .description = "packed: ring sizes that are no power of two",
	 .run = p10,
	 .options = packed_options},
	{.id = "P11",
	 .description = "packed: answers in order",
	 .run = p11,
	 .options = in_order_options},
	{0},
};
