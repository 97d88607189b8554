// SPDX-License-Identifier: Apache-2.0
// Chains at random, legal and not, through the core's walker and through a model of the specification: both must come to
// the same verdict, and the same buffers.
#include "tests/unit/model_play.h"

#include <endian.h>
#include <string.h>

enum { CHAINS = 240000, TABLES = 64, TABLE_MAX = 2048, SIZE_MAX_TESTED = 256 };

static struct vring_model model;
static u16 used_next;  // what the device fills next
static u64 table_addr; // room for TABLES indirect tables of TABLE_MAX descriptors
static struct vm_desc *tables;

// ---- what drivers write ----

// Most drivers' buffers are in memory.
static struct vm_desc some_buffer(bool good)
{
	u64 addr = good ? good_addr() : some_addr();

	return (struct vm_desc){.addr = htole64(addr),
				.len = htole32(good ? below(65536) : some_len())};
}

// Links `count` entries of a table of `len`, from `first` on and `stride` apart; answers the last one.
static struct vm_desc *write_chain(struct vm_desc *table, unsigned len, unsigned first,
				   unsigned count, unsigned stride)
{
	unsigned index = first, writable = below(count + 1);
	bool good = !one_in(4);

	for (unsigned i = 0;; i++) {
		unsigned next = (index + stride) % len;

		table[index] = some_buffer(good);
		table[index].flags = htole16(i >= writable ? VM_DESC_F_WRITE : 0);
		if (i + 1 == count)
			return &table[index];
		table[index].flags |= htole16(VM_DESC_F_NEXT);
		table[index].next = htole16((u16)next);
		index = next;
	}
}

// One field of a descriptor as it should not be, or could be.
static void spoil(struct vm_desc *desc)
{
	const u16 bits[] = {VM_DESC_F_NEXT, VM_DESC_F_WRITE, VM_DESC_F_INDIRECT, 8, 0x8000};

	switch (below(8)) {
	case 0:
		desc->next = htole16((u16)below(65536));
		break;
	case 1:
		desc->next = htole16((u16)below(ring.driver.size + 1u));
		break;
	case 2:
		desc->addr = htole64(some_addr());
		break;
	case 3:
		desc->len = htole32(some_len());
		break;
	default:
		desc->flags ^= htole16(bits[below(ARRAY_SIZE(bits))]);
	}
}

static void spoil_any(struct vm_desc *table, unsigned len)
{
	for (unsigned times = 1 + below(2); times > 0; times--)
		spoil(&table[below(len)]);
}

// So long that it has too many segments or bytes.
static unsigned write_huge(struct vm_desc *table)
{
	const u64 border = UNIT_RING_GUEST + UNIT_RING_REGION;
	bool bytes = one_in(2);
	unsigned count = bytes ? 100 + below(60) : 600 + below(450);

	for (unsigned i = 0; i < count; i++)
		table[i] = (struct vm_desc){
			.addr = htole64(bytes ? UNIT_RING_GUEST : border - 1),
			.len = htole32(bytes ? 2 * UNIT_RING_REGION : 2),
			.flags = htole16(i + 1 < count ? VM_DESC_F_NEXT : 0),
			.next = htole16((u16)(i + 1)),
		};
	return count;
}

static struct vm_desc some_table(void)
{
	unsigned which = below(TABLES), len = 1 + below(MOST_BUFFERS);
	struct vm_desc *table = tables + (size_t)which * TABLE_MAX;
	struct vm_desc desc = {.flags = htole16(VM_DESC_F_INDIRECT)};

	if (one_in(2000))
		len = write_huge(table);
	else
		write_chain(table, len, 0, 1 + below(len), 1);
	if (one_in(4))
		spoil_any(table, len);
	desc.addr = htole64(table_addr + (u64)which * TABLE_MAX * sizeof(*table));
	desc.len = htole32(len * (u32)sizeof(*table));
	if (one_in(8))
		desc.flags |= htole16(VM_DESC_F_WRITE);
	if (one_in(16))
		desc.len = htole32(below(4) ? below(TABLE_MAX) * 16 : below(64));
	return desc;
}

// ---- the ring ----

static void write_direct(u16 head)
{
	struct vm_ring *driver = &ring.driver;
	unsigned count = 1 + below(min_uint(driver->size, MOST_BUFFERS));
	struct vm_desc *last =
		write_chain(driver->desc, driver->size, head, count, 2 * below(8) + 1);

	if (one_in(3)) {
		*last = some_table();
		if (one_in(32))
			spoil(last);
	}
	if (one_in(6))
		spoil_any(driver->desc, driver->size);
}

static void make_available(u16 head)
{
	struct vm_avail *avail = ring.driver.avail;
	u16 idx = le16toh(avail->idx);

	avail->ring[idx % ring.driver.size] = htole16(head);
	idx++;
	if (one_in(256))
		idx = (u16)(idx + below(65536));
	avail->idx = htole16(idx);
}

static void offer(void)
{
	u16 head = (u16)below(ring.driver.size);

	for (unsigned i = 0; model.in_flight[head] && i < 8; i++)
		head = (u16)below(ring.driver.size);
	write_direct(head);
	if (one_in(128))
		head = (u16)below(65536);
	make_available(head);
}

// Begins anew with any indices.
static void restart(void)
{
	model.next = (u16)below(65536);
	used_next = (u16)below(65536);
	ring.driver.avail->idx = htole16(model.next);
	ring.driver.used->idx = htole16(used_next);
	ring.vring.broken = false;
	assert_int_equal(unit_ring_place(&ring, features, model.next), 0);
	vring_begin_turn(&ring.vring);
}

// ---- the comparison ----

// The next used element, which must be there, as the first of `left` that are.
static void expect_used(u16 head, u32 len, unsigned left)
{
	const struct vm_used_elem *element;

	vring_publish(&ring.vring);
	element = &ring.driver.used->ring[used_next % ring.driver.size];
	assert_int_equal(le16toh(ring.driver.used->idx), (u16)(used_next + left));
	used_next++;
	assert_int_equal(le32toh(element->id), head);
	assert_int_equal(le32toh(element->len), len);
}

static void answer(unsigned index)
{
	struct chain *chain = in_flight[index];
	u16 head = chain->head;
	u32 written = (u32)min_u64(chain_writable_len(chain), below(65536));

	in_flight[index] = in_flight[--in_flight_count];
	vring_push(&ring.vring, chain, written);
	expect_used(head, written, 1);
	model.in_flight[head] = false;
}

static void answer_all(void)
{
	while (in_flight_count > 0)
		answer(below(in_flight_count));
}

// What the model says of the next chain. Those in front of it that are refused must be used with length 0 by the core's pop.
static enum model_verdict next_verdict(u16 *refused, unsigned *count)
{
	enum model_verdict verdict;

	*count = 0;
	do {
		verdict = vring_model_split(&model, &expected);
		verdicts[verdict]++;
		if (verdict == MODEL_REFUSED)
			refused[(*count)++] = expected.head;
	} while (verdict == MODEL_REFUSED);
	return verdict;
}

// What the core takes. A turn's budget may end between the chains that it refuses.
static struct chain *pop(unsigned turns)
{
	struct chain *chain;

	do {
		vring_begin_turn(&ring.vring);
		chain = vring_pop(&ring.vring);
	} while (!chain && !ring.vring.broken && turns-- > 0);
	return chain;
}

static void compare(void)
{
	u16 refused[SIZE_MAX_TESTED];
	unsigned count;
	enum model_verdict verdict = next_verdict(refused, &count);
	struct chain *chain;

	chain = pop(count);
	if (verdict == MODEL_TAKEN)
		expect_chain(chain);
	else
		assert_null(chain);
	assert_int_equal(ring.vring.broken, verdict == MODEL_BROKEN);
	for (unsigned i = 0; i < count; i++)
		expect_used(refused[i], 0, count - i);
	if (verdict != MODEL_BROKEN)
		return;
	assert_int_equal(unit_ring_errors(&ring), 1);
	answer_all();
	restart();
}

// ---- ----

static void open_ring(u16 size, bool indirect)
{
	const size_t tables_len = sizeof(*tables) * TABLES * TABLE_MAX;

	features = indirect ? BIT64(VIRTIO_F_INDIRECT_DESC) : 0;
	unit_ring_open(&ring, size, features, 0);
	memset(&model, 0, sizeof(model));
	model.memory = &ring.vm;
	model.ring = &ring.driver;
	model.indirect = indirect;
	table_addr = vm_memory_alloc(&ring.vm, tables_len, 16);
	tables = vm_memory_at(&ring.vm, table_addr, tables_len);
	assert_non_null(tables);
	restart();
}

static void play(u64 chains)
{
	for (u64 n = 0; n < chains; n++) {
		offer();
		compare();
		while (in_flight_count == min_uint(ring.driver.size, MOST_IN_FLIGHT) ||
		       (in_flight_count > 0 && one_in(2)))
			answer(below(in_flight_count));
	}
	answer_all();
}

TEST(walker_and_model_agree_on_every_chain)
{
	static const u16 sizes[] = {1, 2, 4, 16, 64, SIZE_MAX_TESTED};

	play_all(sizes, ARRAY_SIZE(sizes), CHAINS, open_ring, play);
}

int main(void)
{
	const struct CMUnitTest tests[] = {RUN(walker_and_model_agree_on_every_chain)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
