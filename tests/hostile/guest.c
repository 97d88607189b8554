// SPDX-License-Identifier: Apache-2.0
//
// A good front-end whose rings run, and the ways to write to these rings what no driver would.

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include "tests/frontend/ring_packed.h"
#include "tests/hostile/hostile.h"

enum {
	SLOT_LEN = 64 * 1024,
	/* expect_io's sectors; no input uses them */
	OWN_SECTOR = IMAGE_SECTORS - 256,
};

void guest_start(struct guest *guest, struct target *target, const struct vm_options *options)
{
	struct vm_options filled = options ? *options : (struct vm_options){0};
	struct vm *vm = &guest->vm;
	int error;

	filled.queues = filled.queues ? filled.queues : GUEST_QUEUES;
	filled.timeout_ms = SOON_MS;
	filled.connect_timeout_ms = SOON_MS;
	guest->target = target;
	error = vm_start(vm, target->socket, &filled);
	expect(error == 0, "%s of a good front-end: %s", vm_step_name(vm->step), strerror(-error));
	vm->frontend.need_reply = vm->frontend.reply_ack ? FRONTEND_ALL_REQUESTS : 0;
	for (unsigned i = 0; i < GUEST_QUEUES; i++)
		vm_blk_slot_init(&guest->slots[i], &vm->memory, SLOT_LEN);
	memcpy(&guest->block, vm->config + offsetof(struct vm_blk_config, blk_size),
	       sizeof(guest->block));
	guest->block = le32toh(guest->block);
	expect_answers(&vm->frontend); /* all that was sent has been handled */
	expect(guest->block >= VM_BLK_SECTOR, "the disk's blocks are of %u bytes", guest->block);
}

void guest_close(struct guest *guest)
{
	vm_close(&guest->vm);
}

uint8_t *guest_add_memory(struct guest *guest, uint64_t guest_addr, uint64_t size)
{
	int error = vm_memory_add(&guest->vm.memory, guest_addr, size, 0);

	if (error >= 0)
		error = vm_do(&guest->vm, STEP_ADD_REGIONS);
	expect(error >= 0, "ADD_MEM_REG: %s", strerror(-error));
	return vm_memory_at(&guest->vm.memory, guest_addr, size);
}

uint64_t guest_add_neighbours(struct guest *guest, uint64_t len)
{
	guest_add_memory(guest, ELSEWHERE + len, len);
	guest_add_memory(guest, ELSEWHERE, len);
	return ELSEWHERE + len;
}

uint8_t guest_io(struct guest *guest, unsigned queue, uint32_t type, uint64_t sector, uint32_t len)
{
	struct vm_ring *ring = &guest->vm.rings[queue];
	struct vm_completion completion;
	int result = vm_blk_add(ring, &guest->slots[queue], type, sector, len);

	expect(result >= 0, "ring %u is full", queue);
	vm_ring_kick(ring);
	expect(vm_ring_wait(ring, SOON_MS) == 0, "a good request on ring %u is not answered",
	       queue);
	result = vm_ring_take(ring, &completion);
	expect(result == 1, "ring %u has a used entry that is no chain in flight", queue);
	return *guest->slots[queue].status;
}

void guest_take(struct guest *guest, unsigned queue)
{
	struct vm_completion completion;
	int64_t deadline = clock_ms() + SOON_MS;
	int result = vm_ring_take(&guest->vm.rings[queue], &completion);

	for (; result == 0; result = vm_ring_take(&guest->vm.rings[queue], &completion)) {
		expect(clock_ms() < deadline, "a request on ring %u is not answered", queue);
		sleep_ms(0);
	}
	expect(result == 1, "ring %u has a used entry that is no chain in flight", queue);
	expect(*guest->slots[queue].status == VM_BLK_S_OK, "a request on ring %u fails", queue);
}

void expect_io(struct guest *guest, unsigned queue)
{
	static uint8_t seed;
	uint8_t *data = guest->slots[queue].data, expected[4096];
	uint64_t sector = OWN_SECTOR + queue * sizeof(expected) / VM_BLK_SECTOR;

	memset(expected, ++seed, sizeof(expected));
	memcpy(data, expected, sizeof(expected));
	if (!guest->target->read_only)
		expect(guest_io(guest, queue, VM_BLK_T_OUT, sector, sizeof(expected)) ==
			       VM_BLK_S_OK,
		       "a good write on ring %u fails", queue);
	memset(data, 0, sizeof(expected));
	expect(guest_io(guest, queue, VM_BLK_T_IN, sector, sizeof(expected)) == VM_BLK_S_OK,
	       "a good read on ring %u fails", queue);
	if (!guest->target->read_only)
		expect(memcmp(data, expected, sizeof(expected)) == 0,
		       "what ring %u reads is not what it wrote", queue);
}

void guest_set_up_ring(struct guest *guest, unsigned queue)
{
	static const enum vm_step steps[] = {STEP_NUM,	STEP_BASE, STEP_ADDR,
					     STEP_KICK, STEP_CALL, STEP_ENABLE};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int error = vm_do_ring(&guest->vm, steps[i], queue);

		expect(error == 0, "%s of ring %u: %s", vm_step_name(steps[i]), queue,
		       strerror(-error));
	}
}

void guest_restart_ring(struct guest *guest, unsigned queue)
{
	vm_ring_reset(&guest->vm.rings[queue]);
	guest->vm.bases[queue] = vm_ring_base(&guest->vm.rings[queue]);
	guest_set_up_ring(guest, queue);
}

struct vm_blk_slot *guest_header(struct guest *guest, unsigned queue, uint32_t type,
				 uint64_t sector)
{
	struct vm_blk_slot *slot = &guest->slots[queue];

	*slot->header = (struct vm_blk_header){.type = htole32(type), .sector = htole64(sector)};
	*slot->status = VM_BLK_NO_STATUS;
	return slot;
}

struct vm_desc raw_desc(uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
	return (struct vm_desc){.addr = htole64(addr),
				.len = htole32(len),
				.flags = htole16((uint16_t)flags),
				.next = htole16((uint16_t)next)};
}

void raw_write(struct vm_ring *ring, const struct vm_desc *descs, unsigned count)
{
	memcpy(ring->desc, descs, count * sizeof(*descs));
}

void raw_offer(struct vm_ring *ring, unsigned head)
{
	ring->avail->ring[ring->avail_idx++ & (ring->size - 1)] = htole16((uint16_t)head);
	vm_ring_show(ring);
	vm_ring_notify(ring);
}

void raw_index(struct vm_ring *ring, uint16_t index)
{
	__atomic_store_n(&ring->avail->idx, htole16(index), __ATOMIC_SEQ_CST);
	vm_ring_notify(ring);
}

bool raw_used(const struct vm_ring *ring)
{
	if (ring->packed)
		return packed_has_completion(ring);
	return le16toh(__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE)) != ring->used_idx;
}

struct vm_used_elem raw_wait(struct vm_ring *ring)
{
	int64_t deadline = clock_ms() + SOON_MS;
	struct vm_used_elem elem;

	while (!raw_used(ring)) {
		expect(clock_ms() < deadline, "a chain is not answered");
		sleep_ms(0);
	}
	elem = ring->used->ring[ring->used_idx++ & (ring->size - 1)];
	return (struct vm_used_elem){.id = le32toh(elem.id), .len = le32toh(elem.len)};
}

void raw_chain(struct vm_desc *descs, const struct vm_blk_slot *slot, uint32_t len, bool in)
{
	descs[0] = raw_desc(slot->header_addr, sizeof(*slot->header), VM_DESC_F_NEXT, 1);
	descs[1] = raw_desc(slot->data_addr, len, VM_DESC_F_NEXT | (in ? VM_DESC_F_WRITE : 0u), 2);
	descs[2] = raw_desc(slot->status_addr, 1, VM_DESC_F_WRITE, 0);
}

void raw_start_read(struct guest *guest, struct target *target, struct vm_desc *descs)
{
	guest_start(guest, target, NULL);
	raw_chain(descs, guest_header(guest, 0, VM_BLK_T_IN, 0), guest->block, true);
}

struct vm_desc raw_table(struct guest *guest, const struct vm_desc *descs, unsigned count)
{
	const uint64_t len = (uint64_t)count * DESC;
	uint64_t addr = vm_memory_alloc(&guest->vm.memory, len, 16);

	memcpy(vm_memory_at(&guest->vm.memory, addr, len), descs, len);
	return raw_desc(addr, (uint32_t)len, INDIRECT, 0);
}

static struct vm_used_elem answer(struct guest *guest, const struct vm_desc *descs, unsigned count)
{
	struct vm_ring *ring = &guest->vm.rings[0];
	struct vm_used_elem elem;

	raw_write(ring, descs, count);
	raw_offer(ring, 0);
	elem = raw_wait(ring);
	expect(elem.id == 0, "chain 0 is answered as chain %u", elem.id);
	expect_not_broken(guest, 0);
	return elem;
}

uint8_t expect_status(struct guest *guest, const struct vm_desc *descs, unsigned count)
{
	answer(guest, descs, count);
	expect_io(guest, 1);
	return *guest->slots[0].status;
}

void expect_used0(struct guest *guest, const struct vm_desc *descs, unsigned count)
{
	struct vm_used_elem elem;

	*guest->slots[0].status = VM_BLK_NO_STATUS;
	elem = answer(guest, descs, count);
	expect(elem.len == 0, "%u bytes are said to be written", elem.len);
	expect(*guest->slots[0].status == VM_BLK_NO_STATUS, "the status byte is written: %u",
	       *guest->slots[0].status);
	expect_io(guest, 0);
	expect_io(guest, 1);
}

void expect_chain_breaks(struct guest *guest, const struct vm_desc *descs, unsigned count)
{
	raw_write(&guest->vm.rings[0], descs, count);
	raw_offer(&guest->vm.rings[0], 0);
	expect_broken(guest);
}

void expect_not_broken(struct guest *guest, unsigned queue)
{
	expect(vm_ring_eventfd_read(guest->vm.rings[queue].err_fd) == 0, "ring %u is broken",
	       queue);
}

void expect_broken(struct guest *guest)
{
	struct vm_ring *ring = &guest->vm.rings[0];
	struct pollfd err = {.fd = ring->err_fd, .events = POLLIN};
	uint32_t base;

	expect(poll(&err, 1, SOON_MS) == 1, "the ring is not broken");
	expect(vm_ring_eventfd_read(ring->err_fd) == 1, "err is not signalled exactly once");
	expect(!raw_used(ring), "a broken ring has used a chain");
	vm_ring_notify(ring);
	expect_io(guest, 1);
	sleep_ms(1);
	expect_not_broken(guest, 0);
	expect_not_broken(guest, 1);
	expect(frontend_get_vring_base(&guest->vm.frontend, 0, &base) == 0,
	       "GET_VRING_BASE of a broken ring has no answer");
	guest_restart_ring(guest, 0);
	expect_io(guest, 0);
}
