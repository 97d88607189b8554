// SPDX-License-Identifier: Apache-2.0
//
// V25 to V32: tables of indirect descriptors.

#include <endian.h>
#include <string.h>
#include "tests/hostile/hostile.h"

enum {
	TABLE_MOST = 1024, /* entries of an indirect table */
};

static void v25(struct target *target)
{
	const struct vm_options without = {.without_features = VU_BIT(VM_F_INDIRECT_DESC)};
	struct vm_desc descs[3], table;
	struct guest guest;

	guest_start(&guest, target, &without);
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), guest.block, true);
	table = raw_table(&guest, descs, 3);
	expect_chain_breaks(&guest, &table, 1);
	guest_close(&guest);
}

static void v26(struct target *target)
{
	struct vm_desc descs[3];
	struct guest guest;

	raw_start_read(&guest, target, descs);
	descs[0] = raw_table(&guest, descs, 3);
	descs[0].flags |= htole16(NEXT);
	descs[0].next = htole16(1);
	expect_chain_breaks(&guest, descs, 3);
	guest_close(&guest);
}

static void v27(struct target *target)
{
	struct vm_desc descs[3], table;
	struct guest guest;

	raw_start_read(&guest, target, descs);
	descs[2] = raw_table(&guest, descs + 2, 1);
	table = raw_table(&guest, descs, 3);
	expect_chain_breaks(&guest, &table, 1);
	/* a table that holds itself */
	table = raw_table(&guest, descs, 1);
	memcpy(vm_memory_at(&guest.vm.memory, le64toh(table.addr), DESC), &table, DESC);
	expect_chain_breaks(&guest, &table, 1);
	guest_close(&guest);
}

static void v28(struct target *target)
{
	static const uint32_t lengths[] = {
		0,	    1,		15,	   17, 3 * DESC - 1, (TABLE_MOST + 1) * DESC,
		0x10000000, 0xfffffff0, UINT32_MAX};
	struct vm_desc descs[3], table;
	struct guest guest;

	raw_start_read(&guest, target, descs);
	table = raw_table(&guest, descs, 3);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		table.len = htole32(lengths[i]);
		expect_chain_breaks(&guest, &table, 1);
	}
	/* where the first entry alone would be a chain */
	descs[0].flags = 0;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		table = raw_table(&guest, descs, 1);
		table.len = htole32(lengths[i]);
		expect_chain_breaks(&guest, &table, 1);
	}
	guest_close(&guest);
}

static void v29(struct target *target)
{
	struct vm_desc descs[3], table;
	struct guest guest;
	uint64_t border;

	raw_start_read(&guest, target, descs);
	border = guest_add_neighbours(&guest, 1 << 20);
	for (uint64_t before = 8; before < sizeof(descs); before += 8) {
		for (size_t i = 0; i < sizeof(descs); i++)
			*(uint8_t *)vm_memory_at(&guest.vm.memory, border - before + i, 1) =
				((uint8_t *)descs)[i];
		table = raw_desc(border - before, sizeof(descs), INDIRECT, 0);
		guest_header(&guest, 0, VM_BLK_T_IN, 0);
		expect(expect_status(&guest, &table, 1) == VM_BLK_S_OK,
		       "a table in two regions is not read");
	}
	guest_header(&guest, 0, VM_BLK_T_IN, 0);
	table.addr = htole64(border + (1 << 20) - DESC);
	expect_used0(&guest, &table, 1);
	table.addr = htole64(NOWHERE);
	expect_used0(&guest, &table, 1);
	guest_close(&guest);
}

static void v30(struct target *target)
{
	struct vm_desc descs[3], table;
	struct guest guest;
	struct vm_ring *ring;

	raw_start_read(&guest, target, descs);
	ring = &guest.vm.rings[0];
	/* in the used ring, which the answer overwrites */
	memcpy((uint8_t *)ring->used + DESC, descs, sizeof(descs));
	table = raw_desc(ring->used_addr + DESC, sizeof(descs), INDIRECT, 0);
	expect(expect_status(&guest, &table, 1) == VM_BLK_S_OK, "a table in the used ring");
	/* where the request itself writes what it reads from the disk */
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), 4096, true);
	table = raw_desc(guest.slots[0].data_addr + 16, sizeof(descs), INDIRECT, 0);
	memcpy(guest.slots[0].data + 16, descs, sizeof(descs));
	expect(expect_status(&guest, &table, 1) == VM_BLK_S_OK, "a table in its own data");
	expect(*(uint64_t *)(void *)guest.slots[0].data == 1, "the data was not read");
	/* in the ring's own descriptors */
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), 4096, true);
	memcpy(&ring->desc[64], descs, sizeof(descs));
	table = raw_desc(ring->desc_addr + UINT64_C(64) * DESC, sizeof(descs), INDIRECT, 0);
	expect(expect_status(&guest, &table, 1) == VM_BLK_S_OK, "a table in the ring");
	guest_close(&guest);
}

static void v31(struct target *target)
{
	struct vm_desc descs[3], table, mixed[2];
	struct guest guest;

	raw_start_read(&guest, target, descs);
	/* VIRTIO 1.3, 2.7.5.3.1: direct descriptors first */
	mixed[0] = descs[0];
	descs[1].next = htole16(1);
	mixed[1] = raw_table(&guest, descs + 1, 2);
	expect(expect_status(&guest, mixed, 2) == VM_BLK_S_OK, "direct, then indirect");
	/* 2.7.5.3.2: the write flag of the descriptor of a table is ignored */
	mixed[1].flags |= htole16(WRITE);
	guest_header(&guest, 0, VM_BLK_T_IN, 0);
	expect(expect_status(&guest, mixed, 2) == VM_BLK_S_OK, "an indirect descriptor to write");
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), guest.block, true);
	table = raw_table(&guest, descs, 3);
	table.flags |= htole16(WRITE);
	expect(expect_status(&guest, &table, 1) == VM_BLK_S_OK, "an indirect descriptor to write");
	guest_close(&guest);
}

/* A read into `count` segments of 512 bytes, the first `torn` of which lie across a border. */
static struct vm_desc segments(struct guest *guest, uint64_t border, unsigned count, unsigned torn)
{
	static struct vm_desc descs[TABLE_MOST];
	const struct vm_blk_slot *slot = guest_header(guest, 0, VM_BLK_T_IN, 0);

	descs[0] = raw_desc(slot->header_addr, sizeof(*slot->header), NEXT, 1);
	for (unsigned i = 1; i <= count; i++)
		descs[i] = raw_desc(i <= torn ? border - 256 : ELSEWHERE + i * UINT64_C(512), 512,
				    NEXT | WRITE, i + 1);
	descs[count + 1] = raw_desc(slot->status_addr, 1, WRITE, 0);
	return raw_table(guest, descs, count + 2);
}

static void v32(struct target *target)
{
	struct vm_desc table;
	struct guest guest;
	uint64_t border;

	guest_start(&guest, target, NULL);
	border = guest_add_neighbours(&guest, 1 << 20);
	/* multiples of 8: also blocks of 4096 bytes fit */
	table = segments(&guest, border, 1016, 0);
	expect(expect_status(&guest, &table, 1) == VM_BLK_S_OK, "1016 segments");
	table = segments(&guest, border, 1016, 200);
	expect(expect_status(&guest, &table, 1) == VM_BLK_S_OK, "1216 segments");
	table = segments(&guest, border, 1016, 1016);
	expect_used0(&guest, &table, 1);
	guest_close(&guest);
}

const struct input indirect_inputs[] = {
	{.id = "V25", .description = "an indirect descriptor without the feature", .run = v25},
	{.id = "V26", .description = "an indirect descriptor with a next one", .run = v26},
	{.id = "V27", .description = "an indirect table inside an indirect table", .run = v27},
	{.id = "V28", .description = "indirect tables of odd, no or too much length", .run = v28},
	{.id = "V29",
	 .description = "an indirect table across regions, or not in memory",
	 .run = v29},
	{.id = "V30",
	 .description = "an indirect table in the used ring, its own data, the ring",
	 .run = v30},
	{.id = "V31",
	 .description = "direct descriptors, then one indirect; an indirect one to write: legal",
	 .run = v31},
	{.id = "V32",
	 .description = "more segments than one system call takes, and too many",
	 .run = v32},
	{0},
};
