// SPDX-License-Identifier: Apache-2.0
// The guest's memory, its driver, and the watch over what is taken from the rings and given back.
#include "tests/fuzz/rings.h"

#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "core/sys.h"

static const u64 region_addr[FUZZ_REGIONS] = {FUZZ_GUEST, FUZZ_GUEST + FUZZ_REGION_LEN,
					      FUZZ_GUEST + UINT64_C(3) * FUZZ_REGION_LEN};
enum { COMPARED = 512 }; // bytes at once

// ---- memory ----

// The part of [addr, addr + len) that is in the region: its length, and where it begins there and in the range.
static size_t overlap(unsigned region, u64 addr, u64 len, size_t *in_region, size_t *in_range)
{
	u64 start = addr > region_addr[region] ? addr : region_addr[region];
	u64 end = min_u64(addr + len, region_addr[region] + FUZZ_REGION_LEN);

	*in_region = start - region_addr[region];
	*in_range = start - addr;
	return end > start ? end - start : 0;
}

void fuzz_write(struct fuzz_rings *rings, u64 addr, const void *bytes, size_t len)
{
	for (unsigned i = 0; i < FUZZ_REGIONS; i++) {
		size_t at, from, part = overlap(i, addr, len, &at, &from);

		if (part == 0)
			continue;
		memcpy(rings->memory.regions[i].host + at, (const u8 *)bytes + from, part);
		memcpy(rings->expected[i] + at, (const u8 *)bytes + from, part);
	}
}

void fuzz_write_anywhere(struct fuzz_rings *rings, u64 addr, const void *bytes, size_t len)
{
	fuzz_write(rings, addr, bytes, len);
	if (addr < FUZZ_GUEST + FUZZ_RINGS * FUZZ_RING_LEN)
		fuzz_own(rings, addr, len, FUZZ_DEVICE);
}

const void *fuzz_read(const struct fuzz_rings *rings, u64 addr, size_t len)
{
	for (unsigned i = 0; i < FUZZ_REGIONS; i++) {
		size_t at, from;

		if (overlap(i, addr, len, &at, &from) == len)
			return rings->memory.regions[i].host + at;
	}
	return NULL;
}

void fuzz_own(struct fuzz_rings *rings, u64 addr, u64 len, enum fuzz_owner owner)
{
	for (unsigned i = 0; i < FUZZ_REGIONS; i++) {
		size_t at, from, part = overlap(i, addr, len, &at, &from);

		if (part > 0)
			memset(rings->owner[i] + at, (int)owner, part);
	}
}

bool fuzz_owned(const struct fuzz_rings *rings, u64 addr, u64 len, enum fuzz_owner owner)
{
	for (unsigned i = 0; i < FUZZ_REGIONS; i++) {
		size_t at, from, part = overlap(i, addr, len, &at, &from);

		if (part > 0 && memchr(rings->owner[i] + at, (int)owner, part))
			return true;
	}
	return false;
}

u64 fuzz_addr(struct fuzz_input *input)
{
	return FUZZ_GUEST + fuzz_u16(input) % ((FUZZ_REGIONS + 2) * FUZZ_REGION_LEN);
}

static void open_memory(struct fuzz_rings *rings)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	assert(fd >= 0 && ftruncate(fd, FUZZ_REGIONS * FUZZ_REGION_LEN) == 0);
	rings->memory.count = 0;
	for (unsigned i = 0; i < FUZZ_REGIONS; i++) {
		int error = guest_memory_add(&rings->memory, (struct guest_addr){region_addr[i]},
					     (struct frontend_addr){region_addr[i]},
					     FUZZ_REGION_LEN, i * FUZZ_REGION_LEN, fd);

		assert(error == 0);
	}
	close(fd);
}

static void clean_memory(struct fuzz_rings *rings)
{
	for (unsigned i = 0; i < FUZZ_REGIONS; i++)
		memset(rings->memory.regions[i].host, 0, FUZZ_REGION_LEN);
	memset(rings->expected, 0, sizeof(rings->expected));
	memset(rings->owner, FUZZ_DRIVER, sizeof(rings->owner));
}

static void check_region(const u8 *now, const u8 *expected, const u8 *owner)
{
	for (size_t at = 0; at < FUZZ_REGION_LEN; at += COMPARED) {
		if (memcmp(now + at, expected + at, COMPARED) == 0)
			continue;
		for (size_t i = at; i < at + COMPARED; i++)
			assert(now[i] == expected[i] || owner[i] != FUZZ_DRIVER);
	}
}

// Nobody has written what is the driver's.
static void check_memory(const struct fuzz_rings *rings)
{
	for (unsigned i = 0; i < FUZZ_REGIONS; i++)
		check_region(rings->memory.regions[i].host, rings->expected[i], rings->owner[i]);
}

// ---- what devices take and give back. The linker leads calls through here; NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*)

static struct fuzz_rings *watched;

struct chain *__real_vring_pop(struct vring *vring);
struct chain *__wrap_vring_pop(struct vring *vring);
void __real_vring_push(struct vring *vring, struct chain *chain, u32 written);
void __wrap_vring_push(struct vring *vring, struct chain *chain, u32 written);

// Which region a buffer begins in; FUZZ_REGIONS: none.
static unsigned region_of(const struct fuzz_rings *rings, const u8 *base)
{
	unsigned i = 0;

	while (i < FUZZ_REGIONS && (base < rings->memory.regions[i].host ||
				    base >= rings->memory.regions[i].host + FUZZ_REGION_LEN))
		i++;
	return i;
}

static void own_segment(struct fuzz_rings *rings, const struct iovec *segment)
{
	unsigned region = region_of(rings, segment->iov_base);
	size_t at;

	assert(region < FUZZ_REGIONS);
	at = (size_t)((u8 *)segment->iov_base - rings->memory.regions[region].host);
	assert(segment->iov_len <= FUZZ_REGION_LEN - at);
	memset(rings->owner[region] + at, FUZZ_DEVICE, segment->iov_len);
}

struct chain *__wrap_vring_pop(struct vring *vring)
{
	struct fuzz_ring *ring = container_of(vring, struct fuzz_ring, queue.vring);
	struct chain *chain = __real_vring_pop(vring);
	const struct iovec *segments;
	unsigned count;

	if (!chain || !watched)
		return chain;
	assert(chain->head < ring->num && !ring->in_flight[chain->head]);
	ring->in_flight[chain->head] = true;
	ring->writable_len[chain->head] = chain_writable_len(chain);
	segments = chain_writable_iov(chain, &count);
	for (unsigned i = 0; i < count; i++)
		own_segment(watched, &segments[i]);
	return chain;
}

void __wrap_vring_push(struct vring *vring, struct chain *chain, u32 written)
{
	struct fuzz_ring *ring = container_of(vring, struct fuzz_ring, queue.vring);

	if (watched) {
		assert(ring->in_flight[chain->head] && written <= ring->writable_len[chain->head]);
		ring->in_flight[chain->head] = false;
	}
	__real_vring_push(vring, chain, written);
}

// NOLINTEND(bugprone-reserved-identifier,cert-dcl*)

unsigned fuzz_die_in;
jmp_buf fuzz_death;

// In place of core/crash_point.c.
void crash_point(void);
void crash_point(void)
{
	if (fuzz_die_in > 0 && --fuzz_die_in == 0)
		longjmp(fuzz_death, 1); // NOLINT(cert-err52-cpp)
}

// ---- rings ----

static void open_rings(struct fuzz_rings *rings, struct device *device)
{
	for (unsigned i = 0; i < FUZZ_RINGS; i++) {
		struct fuzz_ring *ring = &rings->ring[i];
		int error;

		*ring = (struct fuzz_ring){.rings = rings, .addr = FUZZ_GUEST + i * FUZZ_RING_LEN};
		error = queue_init(&ring->queue, device, i, FUZZ_RING_MAX, &rings->worker);
		ring->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert(error == 0 && ring->kick_fd >= 0);
	}
}

void fuzz_rings_open(struct fuzz_rings *rings, struct device *device)
{
	int error = 0;

	if (rings->memory.count == 0) {
		signal(SIGPIPE, SIG_IGN); // as the server does
		error = worker_start(&rings->worker, 0, -1);
		assert(error == 0);
		open_memory(rings);
		open_rings(rings, device);
	}
	rings->device = device;
	rings->count = device->ops->queue_count(device);
	assert(rings->count <= FUZZ_RINGS);
	if (device->ops->worker_start)
		error = device->ops->worker_start(device, &rings->worker);
	assert(error == 0);
}

void fuzz_rings_close(struct fuzz_rings *rings)
{
	if (rings->device->ops->worker_stop)
		rings->device->ops->worker_stop(rings->device, &rings->worker);
	rings->device = NULL;
}

static void start_rings(struct fuzz_rings *rings)
{
	for (unsigned i = 0; i < rings->count; i++)
		queue_start(&rings->ring[i].queue, &rings->memory, NULL, rings->features);
	fuzz_turn(&rings->worker);
}

static void stop_ring(struct fuzz_ring *ring)
{
	queue_stop(&ring->queue);
	assert(vring_idle(&ring->queue.vring));
	for (unsigned head = 0; head < ring->num; head++)
		assert(!ring->in_flight[head]);
	ring->rings->layout->check(ring);
}

static void stop_rings(struct fuzz_rings *rings)
{
	for (unsigned i = 0; i < rings->count; i++)
		stop_ring(&rings->ring[i]);
}

// What the front-end would say of the ring.
static void set_up_ring(struct fuzz_ring *ring, u16 num)
{
	ring->num = num;
	ring->next = ring->shown = ring->seen = 0;
	ring->bad = false;
	memset(ring->owed, 0, sizeof(ring->owed));
	ring->queue.device = ring->rings->device;
	ring->queue.have_base = ring->queue.have_addr = true;
	ring->queue.started = ring->queue.enabled = true;
	ring->rings->layout->place(ring);
}

// Which features the driver accepts, and how long its rings are. In the upper bits of the byte of features: the ring is polled,
// packed, in order.
static void set_up(struct fuzz_rings *rings, struct fuzz_input *input)
{
	const struct device_ops *ops = rings->device->ops;
	u64 core = BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX);
	u8 len = fuzz_u8(input), of_core = fuzz_u8(input);
	u64 of_device = fuzz_u32(input);
	bool packed = of_core & 0x40;
	u16 num = (u16)(packed ? len % FUZZ_RING_MAX + 1u : 1u << len % 6);

	rings->layout = packed ? &fuzz_packed : &fuzz_split;
	rings->features = BIT64(VIRTIO_F_VERSION_1) | rings->layout->features |
			  (of_core & 0x20 ? BIT64(VIRTIO_F_IN_ORDER) : 0) |
			  (((u64)of_core << VIRTIO_F_INDIRECT_DESC) & core) |
			  (of_device & ops->features(rings->device));
	clean_memory(rings);
	if (ops->negotiated)
		ops->negotiated(rings->device, rings->features);
	for (unsigned i = 0; i < rings->count; i++) {
		struct fuzz_ring *ring = &rings->ring[i];

		set_up_ring(ring, num);
		ring->queue.kick_fd = of_core & 0x80 ? -1 : ring->kick_fd;
	}
}

// ---- the driver ----

static void write_memory(struct fuzz_rings *rings, struct fuzz_input *input)
{
	u8 bytes[UINT8_MAX];
	u64 addr = fuzz_addr(input);
	size_t len = fuzz_u8(input);

	fuzz_bytes(input, bytes, len);
	fuzz_write_anywhere(rings, addr, bytes, len);
}

// As the front-end does it: all rings pause.
static void write_config(struct fuzz_rings *rings, struct fuzz_input *input)
{
	const struct device_ops *ops = rings->device->ops;
	u8 space[DEVICE_MAX_CONFIG], data[8];
	size_t offset = fuzz_u8(input), len = fuzz_u8(input) % (sizeof(data) + 1);

	fuzz_bytes(input, data, len);
	if (!ops->config || !ops->config_write || offset + len > ops->config(rings->device, space))
		return;
	stop_rings(rings);
	(void)ops->config_write(rings->device, offset, data, len);
	start_rings(rings);
}

enum step { STEP_RING, STEP_KICK, STEP_MEMORY, STEP_CONFIG, STEP_PAUSE, STEP_OTHER, STEPS };

static void step(struct fuzz_rings *rings, struct fuzz_input *input,
		 void (*other)(struct fuzz_input *input))
{
	u8 what = fuzz_u8(input);
	struct fuzz_ring *ring = &rings->ring[(what / STEPS) % rings->count];

	switch ((enum step)(what % STEPS)) {
	case STEP_RING:
		rings->layout->step(ring, input);
		break;
	case STEP_KICK:
		sys_event_signal(ring->kick_fd);
		fuzz_turn(&rings->worker);
		break;
	case STEP_MEMORY:
		write_memory(rings, input);
		break;
	case STEP_CONFIG:
		write_config(rings, input);
		break;
	case STEP_PAUSE:
		stop_ring(ring);
		start_rings(rings);
		break;
	case STEP_OTHER:
		if (other)
			other(input);
		break;
	case STEPS:
		break;
	}
}

void fuzz_rings_play(struct fuzz_rings *rings, struct fuzz_input *input,
		     void (*other)(struct fuzz_input *input))
{
	const struct device_ops *ops = rings->device->ops;

	fuzz_restart_clock();
	set_up(rings, input);
	watched = rings;
	start_rings(rings);
	while (input->left > 0)
		step(rings, input, other);
	for (unsigned i = 0; i < rings->count; i++)
		sys_event_signal(rings->ring[i].kick_fd);
	fuzz_turn(&rings->worker);
	stop_rings(rings);
	watched = NULL;
	check_memory(rings);
	for (unsigned i = 0; i < rings->count; i++)
		queue_take_base(&rings->ring[i].queue);
	if (ops->negotiated)
		ops->negotiated(rings->device, 0);
	if (ops->reset)
		ops->reset(rings->device);
}
