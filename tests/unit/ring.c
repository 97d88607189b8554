// SPDX-License-Identifier: Apache-2.0
// The ring that unit tests of the ring's device side work on.
#include "tests/unit/ring.h"

#include <string.h>

static void note_wake(struct deferred *deferred)
{
	container_of(deferred, struct unit_ring, wake)->wakes++;
}

int unit_ring_place(struct unit_ring *ring, u64 features, u32 base)
{
	const struct vm_ring *driver = &ring->driver;
	const struct vring_layout layout = {
		.num = driver->size,
		.desc.value = vm_memory_user_addr(&ring->vm, driver->desc_addr),
		.avail.value = vm_memory_user_addr(&ring->vm, driver->avail_addr),
		.used.value = vm_memory_user_addr(&ring->vm, driver->used_addr),
		.base = base,
		.log_used = ring->log_addr != 0,
		.log_addr = ring->log_addr,
	};

	return vring_place(&ring->vring, &ring->memory, ring->log, &layout, features);
}

void unit_ring_open(struct unit_ring *ring, u16 size, u64 features, unsigned indirect_len)
{
	memset(ring, 0, sizeof(*ring));
	for (u64 i = 0; i < 2; i++)
		assert_true(vm_memory_add(&ring->vm, UNIT_RING_GUEST + i * UNIT_RING_REGION,
					  UNIT_RING_REGION, 0) >= 0);
	unit_share(&ring->memory, &ring->vm);
	assert_int_equal(vm_ring_init(&ring->driver, &ring->vm, size,
				      features & BIT64(VIRTIO_F_EVENT_IDX), indirect_len),
			 0);
	vm_ring_set_packed(&ring->driver, features & BIT64(VIRTIO_F_RING_PACKED));
	assert_int_equal(event_loop_init(&ring->worker.loop), 0);
	deferred_init(&ring->wake, note_wake);
	assert_int_equal(
		vring_init(&ring->vring, 5, size, UNIT_RING_REQUEST, &ring->worker, &ring->wake),
		0);
	assert_int_equal(unit_ring_place(ring, features, vm_ring_base(&ring->driver)), 0);
	vring_set_call_fd(&ring->vring, dup(ring->driver.call_fd));
	vring_set_err_fd(&ring->vring, dup(ring->driver.err_fd));
	unit_ring_calls(ring); // one comes with a new call fd
	vring_begin_turn(&ring->vring);
}

void unit_ring_close(struct unit_ring *ring)
{
	vring_fini(&ring->vring);
	event_loop_fini(&ring->worker.loop);
	vm_ring_free(&ring->driver);
	guest_memory_clear(&ring->memory);
	vm_memory_free(&ring->vm);
}

u16 unit_ring_add(struct unit_ring *ring, u32 readable, u32 writable)
{
	struct vm_buffer buffers[2] = {
		{.addr = vm_memory_alloc(&ring->vm, readable, 1), .len = readable}};
	int head;

	if (writable)
		buffers[1] = (struct vm_buffer){.addr = vm_memory_alloc(&ring->vm, writable, 1),
						.len = writable,
						.write = true};
	head = vm_ring_add(&ring->driver, buffers, writable ? 2 : 1, NULL);
	assert_true(head >= 0);
	vm_ring_show(&ring->driver);
	return (u16)head;
}

struct chain *unit_ring_pop(struct unit_ring *ring)
{
	struct chain *chain;

	vring_begin_turn(&ring->vring);
	chain = vring_pop(&ring->vring);
	assert_non_null(chain);
	return chain;
}

void unit_ring_turn(struct unit_ring *ring)
{
	assert_int_equal(event_loop_turn(&ring->worker.loop, 0), 0);
}

u64 unit_ring_calls(struct unit_ring *ring)
{
	return vm_ring_eventfd_read(ring->driver.call_fd);
}

u64 unit_ring_errors(struct unit_ring *ring)
{
	return vm_ring_eventfd_read(ring->driver.err_fd);
}
