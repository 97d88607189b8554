// SPDX-License-Identifier: Apache-2.0
// Rings of two entries, all in one guest memory, whose worker never runs.
#include "tests/unit/pair.h"

#include <string.h>

struct pair pairs[PAIRS];

static struct vm_memory vm;
static struct guest_memory memory;
static struct worker worker;

static void no_wake(struct deferred *deferred)
{
	(void)deferred;
}

static void open_one(struct pair *pair, u64 features)
{
	const struct vm_ring *driver = &pair->driver;
	struct vring_layout layout = {.num = PAIR_SIZE};

	assert_int_equal(vm_ring_init(&pair->driver, &vm, PAIR_SIZE,
				      features & BIT64(VIRTIO_F_EVENT_IDX), 0),
			 0);
	vm_ring_set_packed(&pair->driver, features & BIT64(VIRTIO_F_RING_PACKED));
	deferred_init(&pair->wake, no_wake);
	assert_int_equal(vring_init(&pair->vring, 0, PAIR_SIZE, 0, &worker, &pair->wake), 0);
	pair->vring.call_fd = pair->driver.call_fd; // never written to: a call is an answer here
	layout.desc.value = vm_memory_user_addr(&vm, driver->desc_addr);
	layout.avail.value = vm_memory_user_addr(&vm, driver->avail_addr);
	layout.used.value = vm_memory_user_addr(&vm, driver->used_addr);
	layout.base = vm_ring_base(driver);
	assert_int_equal(vring_place(&pair->vring, &memory, NULL, &layout, features), 0);
	// by the driver's addresses, so that ThreadSanitizer knows that both mean the same
	pair->vring.desc = (const void *)driver->desc;
	pair->vring.avail = (void *)driver->avail;
	pair->vring.used = (void *)driver->used;
}

static int open_all(u64 features)
{
	memset(&vm, 0, sizeof(vm));
	assert_true(vm_memory_add(&vm, UNIT_RING_GUEST, UNIT_RING_REGION, 0) >= 0);
	unit_share(&memory, &vm);
	assert_int_equal(event_loop_init(&worker.loop), 0);
	for (unsigned i = 0; i < PAIRS; i++)
		open_one(&pairs[i], features);
	return 0;
}

int pair_setup_split(void **state)
{
	(void)state;
	return open_all(0);
}

int pair_setup_split_event_idx(void **state)
{
	(void)state;
	return open_all(BIT64(VIRTIO_F_EVENT_IDX));
}

int pair_setup_packed(void **state)
{
	(void)state;
	return open_all(BIT64(VIRTIO_F_RING_PACKED));
}

int pair_setup_packed_event_idx(void **state)
{
	(void)state;
	return open_all(BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_EVENT_IDX));
}

int pair_teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PAIRS; i++) {
		pairs[i].vring.call_fd = -1;
		vring_fini(&pairs[i].vring);
		vm_ring_free(&pairs[i].driver);
	}
	event_loop_fini(&worker.loop);
	guest_memory_clear(&memory);
	vm_memory_free(&vm);
	return 0;
}

void pair_add(struct pair *pair)
{
	const struct vm_buffer buffer = {.addr = UNIT_RING_GUEST, .len = 1};

	assert_true(vm_ring_add(&pair->driver, &buffer, 1, NULL) >= 0);
}

void pair_answer_next(struct pair *pair)
{
	struct chain *chain;

	vring_begin_turn(&pair->vring);
	chain = vring_pop(&pair->vring);
	assert_non_null(chain);
	vring_push(&pair->vring, chain, 0);
	deferred_cancel(&pair->vring.publish);
}

void pair_take(struct pair *pair)
{
	struct vm_completion completion;

	assert_int_equal(vm_ring_take(&pair->driver, &completion), 1);
}

bool pair_show(struct vring *vring)
{
	return vring->packed ? vring_packed_show(vring) : vring_split_show(vring);
}

bool pair_want_kick(struct vring *vring, bool wanted)
{
	return vring->packed ? vring_packed_want_kick(vring, wanted)
			     : vring_split_want_kick(vring, wanted);
}

// ---- an answer, and a driver that goes to sleep ----

static void prepare_answer(struct pair *pair)
{
	pair_add(pair);
	vm_ring_show(&pair->driver);
	vm_ring_disarm(&pair->driver);
	pair_answer_next(pair);
}

static void driver_sleeps(struct pair *pair)
{
	pair->driver_saw = vm_ring_arm(&pair->driver);
}

static void expect_driver_knows(struct pair *pair)
{
	if (!pair->driver_saw && !pair->device_saw)
		fail_msg("the driver sleeps, and is not called for what has been answered");
	pair_take(pair);
}

const struct duel pair_call_duel = {prepare_answer, driver_sleeps, expect_driver_knows, true};

// ---- a chain, and a device that goes to sleep ----

static void prepare_chain(struct pair *pair)
{
	pair_want_kick(&pair->vring, false);
	pair_add(pair);
}

static void driver_shows(struct pair *pair)
{
	pair->driver_saw = vm_ring_show(&pair->driver);
}

static void expect_device_knows(struct pair *pair)
{
	if (!pair->driver_saw && !pair->device_saw)
		fail_msg("the device sleeps, and is not kicked for what is available");
	pair_answer_next(pair);
	pair_show(&pair->vring);
	pair_take(pair);
}

const struct duel pair_kick_duel = {prepare_chain, driver_shows, expect_device_knows, false};
