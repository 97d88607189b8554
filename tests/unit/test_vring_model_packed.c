// SPDX-License-Identifier: Apache-2.0
// As test_vring_model.c, of a packed ring: after each chain the whole ring must be as the model has it.
#include "tests/unit/model_play.h"

#include <endian.h>
#include <string.h>

enum { CHAINS = 200000, TABLE_MAX = 1100 };

static struct vring_packed_model model;
static u16 used; // what the device fills next
static bool used_wrap;
static u16 hidden; // where the first used descriptor goes that the driver has not been told of
static struct vm_packed_desc hidden_desc;
static bool any_hidden;
static u64 table_addr;
static struct vm_packed_desc *table;

// ---- what drivers write ----

static u16 as_available(bool wrap)
{
	return wrap ? VM_PACKED_F_AVAIL : VM_PACKED_F_USED;
}

static void spoil(struct vm_packed_desc *desc)
{
	const u16 bits[] = {VM_DESC_F_NEXT,    VM_DESC_F_WRITE, VM_DESC_F_INDIRECT, 8,
			    VM_PACKED_F_AVAIL, VM_PACKED_F_USED};

	switch (below(8)) {
	case 0:
		desc->id = htole16((u16)below(one_in(2) ? 65536 : ring.driver.size + 1u));
		break;
	case 1:
		desc->addr = htole64(some_addr());
		break;
	case 2:
		desc->len = htole32(some_len());
		break;
	default:
		desc->flags ^= htole16(bits[below(ARRAY_SIZE(bits))]);
	}
}

static struct vm_packed_desc some_buffer(bool good, bool writable)
{
	return (struct vm_packed_desc){
		.addr = htole64(good ? good_addr() : some_addr()),
		.len = htole32(good ? below(65536) : some_len()),
		.flags = htole16(writable ? VM_DESC_F_WRITE : 0),
	};
}

static struct vm_packed_desc some_table(void)
{
	unsigned len = 1 + below(one_in(500) ? TABLE_MAX : MOST_BUFFERS), writable = below(len + 1);
	bool good = !one_in(4);
	struct vm_packed_desc desc = {.addr = htole64(table_addr),
				      .len = htole32(len * (u32)sizeof(*table)),
				      .flags = htole16(VM_DESC_F_INDIRECT)};

	for (unsigned i = 0; i < len; i++) {
		table[i] = some_buffer(good, i >= writable);
		table[i].id = htole16((u16)below(65536)); // counts for nothing
	}
	if (one_in(4))
		spoil(&table[below(len)]);
	if (one_in(8))
		desc.flags |= htole16(VM_DESC_F_WRITE);
	if (one_in(16))
		desc.len = htole32(below(4) ? below(TABLE_MAX) * 16 : below(64));
	return desc;
}

static u16 free_id(void)
{
	u16 id = (u16)below(ring.driver.size);

	while (model.in_flight[id] > 0)
		id = (u16)((id + 1) % ring.driver.size);
	return id;
}

static unsigned free_descs(void)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < in_flight_count; i++)
		taken += model.in_flight[in_flight[i]->head];
	return ring.driver.size - taken;
}

static void offer(void)
{
	unsigned most = free_descs(), count = 1 + below(min_uint(most, MOST_BUFFERS));
	unsigned writable = below(count + 1);
	u16 size = ring.driver.size, id = free_id(), at = model.next;
	bool good = !one_in(4), wrap = model.wrap;

	for (unsigned i = 0; i < count; i++) {
		struct vm_packed_desc desc = i + 1 == count && one_in(3)
						     ? some_table()
						     : some_buffer(good, i >= writable);

		desc.id = htole16(i + 1 == count ? id : (u16)below(65536));
		desc.flags |=
			htole16((u16)(as_available(wrap) | (i + 1 < count ? VM_DESC_F_NEXT : 0)));
		if (one_in(64))
			spoil(&desc);
		ring.driver.packed_desc[at] = desc;
		at = (u16)((at + 1) % size);
		wrap ^= at == 0;
	}
}

// Begins anew anywhere, with nothing available.
static void restart(void)
{
	u16 size = ring.driver.size;
	u32 avail, behind;

	model.next = used = (u16)below(size);
	model.wrap = used_wrap = one_in(2);
	memset(model.in_flight, 0, sizeof(model.in_flight));
	for (u16 i = 0; i < size; i++) // as if all had just been used
		ring.driver.packed_desc[i].flags = htole16(
			(model.wrap == (i < used)) ? VM_PACKED_F_AVAIL | VM_PACKED_F_USED : 0);
	avail = model.next | (model.wrap ? VM_PACKED_WRAP : 0u);
	behind = used | (used_wrap ? VM_PACKED_WRAP : 0u);
	ring.vring.broken = false;
	assert_int_equal(unit_ring_place(&ring, features, avail | behind << 16), 0);
	vring_begin_turn(&ring.vring);
}

// ---- the comparison ----

// 2.8.1, 2.8.2: a used descriptor as the device writes it. The first of a batch shows all of it, so it comes last.
static void use(u16 id, u32 len)
{
	unsigned flags = (used_wrap ? VM_PACKED_F_AVAIL | VM_PACKED_F_USED : 0u) |
			 (len > 0 ? VM_DESC_F_WRITE : 0u);
	struct vm_packed_desc desc = {.addr = model.desc[used].addr,
				      .len = htole32(len),
				      .id = htole16(id),
				      .flags = htole16((u16)flags)};

	if (any_hidden) {
		model.desc[used] = desc;
	} else {
		any_hidden = true;
		hidden = used;
		hidden_desc = desc;
	}
	model.untold += model.in_flight[id];
	used_wrap ^= used + model.in_flight[id] >= model.size;
	used = (u16)((used + model.in_flight[id]) % model.size);
	model.in_flight[id] = 0;
}

static void tell(void)
{
	if (any_hidden)
		model.desc[hidden] = hidden_desc;
	any_hidden = false;
	model.untold = 0;
}

static void expect_ring(void)
{
	vring_publish(&ring.vring);
	tell();
	assert_memory_equal(ring.driver.packed_desc, model.desc, model.size * sizeof(*model.desc));
}

static void look(void)
{
	memcpy(model.desc, ring.driver.packed_desc, model.size * sizeof(*model.desc));
}

static void answer(unsigned index)
{
	struct chain *chain = in_flight[index];
	u16 id = chain->head;
	u32 written = (u32)min_u64(chain_writable_len(chain), below(65536));

	look();
	in_flight[index] = in_flight[--in_flight_count];
	vring_push(&ring.vring, chain, written);
	use(id, written);
	expect_ring();
}

// What is refused is used at once, before the device looks further.
static enum model_verdict next_verdict(unsigned *refused)
{
	enum model_verdict verdict;

	for (*refused = 0;; ++*refused) {
		verdict = vring_model_packed(&model, &expected);
		verdicts[verdict]++;
		if (model.tell)
			tell();
		if (verdict != MODEL_REFUSED)
			return verdict;
		use(expected.head, 0);
	}
}

static void compare(void)
{
	struct chain *chain;
	unsigned refused;
	enum model_verdict verdict;

	look();
	verdict = next_verdict(&refused);
	do {
		vring_begin_turn(&ring.vring);
		chain = vring_pop(&ring.vring);
	} while (!chain && ring.vring.state == VRING_BUDGET);
	assert_int_equal(ring.vring.broken, verdict == MODEL_BROKEN);
	if (verdict == MODEL_TAKEN)
		expect_chain(chain);
	else
		assert_null(chain);
	expect_ring();
	if (verdict != MODEL_BROKEN)
		return;
	assert_int_equal(unit_ring_errors(&ring), 1);
	while (in_flight_count > 0)
		answer(below(in_flight_count));
	restart();
}

// ---- ----

static void open_ring(u16 size, bool indirect)
{
	features = BIT64(VIRTIO_F_RING_PACKED) | (indirect ? BIT64(VIRTIO_F_INDIRECT_DESC) : 0);
	unit_ring_open(&ring, size, features, 0);
	model.memory = &ring.vm;
	model.size = size;
	model.indirect = indirect;
	table_addr = vm_memory_alloc(&ring.vm, TABLE_MAX * sizeof(*table), 16);
	table = vm_memory_at(&ring.vm, table_addr, TABLE_MAX * sizeof(*table));
	assert_non_null(table);
	restart();
}

static void play(u64 chains)
{
	for (u64 n = 0; n < chains; n++) {
		offer();
		compare();
		while (in_flight_count == MOST_IN_FLIGHT || (in_flight_count > 0 && one_in(2)) ||
		       free_descs() == 0)
			answer(below(in_flight_count));
	}
	while (in_flight_count > 0)
		answer(below(in_flight_count));
}

TEST(walker_and_model_agree_on_every_chain_of_a_packed_ring)
{
	static const u16 sizes[] = {1, 2, 3, 7, 16, 61, 256};

	play_all(sizes, ARRAY_SIZE(sizes), CHAINS, open_ring, play);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(walker_and_model_agree_on_every_chain_of_a_packed_ring)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
