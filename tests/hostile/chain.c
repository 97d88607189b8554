// SPDX-License-Identifier: Apache-2.0
//
// V10 to V32: what a driver can write to a split ring that runs.

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include "tests/hostile/hostile.h"

enum {
	TABLE_MOST = 1024, /* entries of an indirect table */
};

static void v10(struct target *target)
{
	static const uint16_t leaps[] = {RING_SIZE + 1, 1000, 0x7fff, 0x8000};
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(leaps); i++) {
		struct vm_ring *ring = &guest.vm.rings[0];

		raw_index(ring, (uint16_t)(ring->avail_idx + leaps[i]));
		expect_broken(&guest);
	}
	guest_close(&guest);
}

static void v11(struct target *target)
{
	static const uint16_t steps[] = {1, 2, 100};
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		expect_io(&guest, 0);
		raw_index(&guest.vm.rings[0], (uint16_t)(guest.vm.rings[0].avail_idx - steps[i]));
		expect_broken(&guest);
	}
	guest_close(&guest);
}

static void v12(struct target *target)
{
	static const uint16_t heads[] = {RING_SIZE, RING_SIZE + 1, 1024, 0x7fff, 0xffff};
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		raw_offer(&guest.vm.rings[0], heads[i]);
		expect_broken(&guest);
	}
	guest_close(&guest);
}

static void restart_broken(struct guest *guest)
{
	uint32_t base;

	expect(frontend_get_vring_base(&guest->vm.frontend, 0, &base) == 0,
	       "GET_VRING_BASE of a broken ring has no answer");
	guest_restart_ring(guest, 0);
}

/*
 * The data descriptor changes all the time between a good read and one that leads out of its buffer,
 * out of memory, or round in circles. Whatever the device sees: nothing but the buffer is written.
 */
static void flip(struct guest *guest, const struct vm_desc *good, const struct vm_desc *bad)
{
	struct vm_ring *ring = &guest->vm.rings[0];
	int64_t end = clock_ms() + 100;

	while (clock_ms() < end) {
		int64_t late = clock_ms() + SOON_MS;
		bool broken = false;

		raw_write(ring, good, 3);
		guest_header(guest, 0, VM_BLK_T_IN, 0);
		raw_offer(ring, 0);
		for (unsigned i = 0; !broken && !raw_used(ring); i++) {
			*(volatile struct vm_desc *)&ring->desc[1] = i % 2 ? *bad : *good;
			broken = i % 64 == 0 && vm_ring_eventfd_read(ring->err_fd);
			expect(clock_ms() < late, "a chain is neither answered nor refused");
		}
		if (broken)
			restart_broken(guest);
		else
			raw_wait(ring);
	}
}

static void v13(struct target *target)
{
	struct vm_desc descs[3];
	struct guest guest;
	uint8_t *behind;

	raw_start_read(&guest, target, descs);
	behind = guest_add_memory(&guest, ELSEWHERE, 2 << 20);
	descs[1].addr = htole64(ELSEWHERE + 4096);
	const struct vm_desc bad[] = {
		raw_desc(NOWHERE, 0x80000000, NEXT | WRITE, 2),
		raw_desc(ELSEWHERE + 4096, guest.block, NEXT | WRITE, RING_SIZE),
		raw_desc(ELSEWHERE + 4096, guest.block, NEXT | WRITE, 0),
		raw_desc(ELSEWHERE + 4096, 0x1ffff000, INDIRECT, 0),
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		flip(&guest, descs, &bad[i]);
	for (size_t i = 0; i < (2 << 20); i++)
		expect(behind[i] == 0 || (i >= 4096 && i < 4096 + guest.block),
		       "byte %zu outside of the buffer was written", i);
	expect_io(&guest, 0);
	guest_close(&guest);
}

static void v14(struct target *target)
{
	struct vm_desc descs[3];
	struct guest guest;

	raw_start_read(&guest, target, descs);
	for (uint16_t to = 1; to < 3; to++) {
		struct vm_desc loop[3];

		raw_chain(loop, &guest.slots[0], guest.block, true);
		loop[2].flags = htole16(NEXT | WRITE);
		loop[2].next = htole16(to);
		expect_chain_breaks(&guest, loop, 3);
	}
	descs[0].next = 0;
	expect_chain_breaks(&guest, descs, 3);
	guest_close(&guest);
}

/* Beyond the ring's table, but in memory, lies just what the chain lacks. */
static void end_chain_outside(struct guest *guest, struct vm_desc *descs)
{
	const struct vm_blk_slot *slot = &guest->slots[0];
	const uint64_t addr = slot->data_addr + 32768;
	const uint64_t next = (addr - guest->vm.rings[0].desc_addr) / DESC;

	expect(next > RING_SIZE && next <= UINT16_MAX, "the slot is too far from the ring");
	*(struct vm_desc *)vm_memory_at(&guest->vm.memory, addr, DESC) = descs[2];
	descs[1].next = htole16((uint16_t)next);
	expect_chain_breaks(guest, descs, 3);
}

static void v15(struct target *target)
{
	static const uint16_t nexts[] = {RING_SIZE, RING_SIZE + 1, 1024, 0x8000, 0xffff};
	struct vm_desc descs[4], table;
	struct guest guest;

	raw_start_read(&guest, target, descs);
	for (size_t i = 0; i < ARRAY_SIZE(nexts); i++) {
		descs[1].next = htole16(nexts[i]);
		expect_chain_breaks(&guest, descs, 3);
		table = raw_table(&guest, descs, 3);
		expect_chain_breaks(&guest, &table, 1);
	}
	end_chain_outside(&guest, descs);
	/* the same in a table, behind whose end lies what the table before had there */
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), guest.block, true);
	descs[1].next = htole16(3);
	descs[3] = descs[2];
	table = raw_table(&guest, descs, 4);
	expect(expect_status(&guest, &table, 1) == VM_BLK_S_OK, "a read fails");
	table.len = htole32(3 * DESC);
	expect_chain_breaks(&guest, &table, 1);
	guest_close(&guest);
}

static void v16(struct target *target)
{
	static struct vm_desc many[TABLE_MOST + 1];
	struct vm_desc table;
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = raw_desc(guest.slots[0].data_addr, 1, NEXT | WRITE, i + 1);
	/* every entry of the ring, and on */
	many[RING_SIZE - 1].next = 0;
	expect_chain_breaks(&guest, many, RING_SIZE);
	many[RING_SIZE - 1].next = htole16(RING_SIZE);
	many[TABLE_MOST].flags = htole16(WRITE);
	table = raw_table(&guest, many, TABLE_MOST + 1);
	expect_chain_breaks(&guest, &table, 1);
	guest_close(&guest);
}

static void v17(struct target *target)
{
	struct vm_desc descs[3];
	struct guest guest;
	struct vm_ring *ring;

	raw_start_read(&guest, target, descs);
	ring = &guest.vm.rings[0];
	raw_write(ring, descs, 3);
	ring->avail->ring[0] = 0;
	ring->avail->ring[1] = 0;
	ring->avail_idx = 2;
	vm_ring_show(ring);
	vm_ring_notify(ring);
	raw_wait(ring);
	if (strcmp(target->engine, "direct") == 0) {
		/* the first is still with the disk when the second is seen */
		expect_broken(&guest);
	} else {
		/* the first has been answered by then */
		raw_wait(ring);
		expect_not_broken(&guest, 0);
	}
	guest_close(&guest);
}

static void v18(struct target *target)
{
	static const uint64_t bad[] = {1u << 30, NOWHERE, UINT64_MAX - 4096};
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		for (unsigned which = 0; which < 3; which++) {
			struct vm_desc descs[3];

			raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), guest.block,
				  true);
			descs[which].addr = htole64(bad[i]);
			expect_used0(&guest, descs, 3);
		}
	}
	guest_close(&guest);
}

static void v19(struct target *target)
{
	const struct vm_desc bad[] = {
		raw_desc(UINT64_MAX, 4096, NEXT | WRITE, 2),
		raw_desc(UINT64_MAX - 4095, 8192, NEXT | WRITE, 2),
		raw_desc(4096, UINT32_MAX, NEXT | WRITE, 2),
		raw_desc((64 << 20) - 4096, 8192, NEXT | WRITE, 2),
	};
	struct vm_desc descs[3];
	struct guest guest;

	raw_start_read(&guest, target, descs);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		descs[1] = bad[i];
		expect_used0(&guest, descs, 3);
	}
	guest_close(&guest);
}

static void v20(struct target *target)
{
	const uint32_t len = 8 * 4096;
	struct vm_desc descs[3];
	struct guest guest;
	uint64_t border;

	raw_start_read(&guest, target, descs);
	border = guest_add_neighbours(&guest, 1 << 20);
	for (uint64_t before = 512; before < len; before += 4096 + 512) {
		descs[1] = raw_desc(border - before, len, NEXT | WRITE, 2);
		guest_header(&guest, 0, VM_BLK_T_IN, 64);
		expect(expect_status(&guest, descs, 3) == VM_BLK_S_OK, "a read fails");
		for (uint64_t at = 0; at < len; at += VM_BLK_SECTOR) {
			const uint64_t *word =
				vm_memory_at(&guest.vm.memory, border - before + at, 8);

			expect(*word == 64 + at / VM_BLK_SECTOR + 1,
			       "a sector is at a wrong place");
		}
	}
	guest_close(&guest);
}

static void v21(struct target *target)
{
	const struct vm_desc empty = raw_desc(NOWHERE, 0, NEXT | WRITE, 1);
	struct vm_desc descs[5];
	struct guest guest;

	raw_start_read(&guest, target, descs);
	descs[4] = descs[2];
	descs[3] = raw_desc(guest.slots[0].data_addr, 0, NEXT | WRITE, 4);
	descs[2] = descs[1];
	descs[2].next = htole16(3);
	descs[1] = raw_desc(NOWHERE, 0, NEXT, 2);
	expect(expect_status(&guest, descs, 5) == VM_BLK_S_OK, "empty descriptors are not skipped");
	/* a loop of nothing ends, too */
	descs[0] = empty;
	descs[1] = empty;
	expect_chain_breaks(&guest, descs, 2);
	guest_close(&guest);
}

static void v22(struct target *target)
{
	struct vm_desc descs[5];
	struct guest guest;

	guest_start(&guest, target, NULL);
	guest_add_memory(&guest, ELSEWHERE, UINT64_C(4) << 30);
	/* the lengths' sum is 512 in 32 bits */
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), 0, true);
	descs[4] = descs[2];
	descs[1] = raw_desc(ELSEWHERE, UINT32_MAX, NEXT | WRITE, 2);
	descs[2] = raw_desc(ELSEWHERE, 513, NEXT | WRITE, 4);
	expect_used0(&guest, descs, 5);
	/* just within 2^32, and beyond the end of the disk */
	guest_header(&guest, 0, VM_BLK_T_IN, 0);
	descs[1].len = htole32(UINT32_MAX & ~4095u);
	descs[2].len = 0;
	expect(expect_status(&guest, descs, 5) == VM_BLK_S_IOERR, "4 GiB are read from 4 MiB");
	guest_close(&guest);
}

static void v23(struct target *target)
{
	struct vm_desc descs[3], table;
	struct guest guest;

	raw_start_read(&guest, target, descs);
	descs[2].flags = 0;
	expect_chain_breaks(&guest, descs, 3);
	table = raw_table(&guest, descs, 3);
	expect_chain_breaks(&guest, &table, 1);
	guest_close(&guest);
}

static void v24(struct target *target)
{
	struct vm_desc descs[3], table;
	struct guest guest;

	raw_start_read(&guest, target, descs);
	for (unsigned i = 0; i < 3; i++)
		descs[i].flags |= htole16(0xfff8);
	expect(expect_status(&guest, descs, 3) == VM_BLK_S_OK, "unknown flags are not ignored");
	table = raw_table(&guest, descs, 3);
	table.flags |= htole16(0xfff8);
	guest_header(&guest, 0, VM_BLK_T_IN, 0);
	expect(expect_status(&guest, &table, 1) == VM_BLK_S_OK, "unknown flags are not ignored");
	guest_close(&guest);
}

const struct input chain_inputs[] = {
	{.id = "V10",
	 .description = "an available index further ahead than the ring is long",
	 .run = v10},
	{.id = "V11", .description = "an available index that goes back", .run = v11},
	{.id = "V12", .description = "an available head beyond the ring", .run = v12},
	{.id = "V13", .description = "a descriptor that changes while it is read", .run = v13},
	{.id = "V14", .description = "descriptors in a loop", .run = v14},
	{.id = "V15", .description = "a next descriptor beyond its table", .run = v15},
	{.id = "V16", .description = "a chain longer than its table may be", .run = v16},
	{.id = "V17", .description = "the same head made available twice", .run = v17},
	{.id = "V18", .description = "buffers that are not in memory", .run = v18},
	{.id = "V19", .description = "buffers whose end wraps, or is not in memory", .run = v19},
	{.id = "V20", .description = "a buffer across two regions", .run = v20},
	{.id = "V21", .description = "empty descriptors, also in a loop", .run = v21},
	{.id = "V22", .description = "more than 4 GiB in one chain", .run = v22},
	{.id = "V23", .description = "a readable descriptor behind a writable one", .run = v23},
	{.id = "V24", .description = "unknown descriptor flags", .run = v24},
	{0},
};
