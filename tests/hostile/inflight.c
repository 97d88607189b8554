// SPDX-License-Identifier: Apache-2.0
//
// I1 to I15: the region of chains in flight (vhost-user.rst, "Inflight I/O tracking").

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

static const char *const packed_options[] = {"--packed=on", NULL};

static void refuse(struct target *target, uint32_t request, const struct vu_inflight *inflight,
		   int fd)
{
	struct frontend frontend;

	meet(target, &frontend, EVERYTHING);
	expect_refused(target, &frontend,
		       MESSAGE_FDS(request, inflight, sizeof(*inflight), &fd, fd < 0 ? 0 : 1));
	frontend_close(&frontend);
}

static void i1(struct target *target)
{
	static const struct vu_inflight bad[] = {{.queue_count = 0, .queue_size = 128},
						 {.queue_count = QUEUES + 1, .queue_size = 128},
						 {.queue_count = 0xffff, .queue_size = 128},
						 {.queue_count = 1, .queue_size = 0},
						 {.queue_count = 1, .queue_size = 32769},
						 {.queue_count = 0xffff, .queue_size = 0xffff}};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refuse(target, VU_GET_INFLIGHT_FD, &bad[i], -1);
}

static void i2(struct target *target)
{
	struct frontend frontend;
	unsigned fds, maps, rss;

	meet(target, &frontend, EVERYTHING);
	fds = target_fds(target);
	maps = target_maps(target);
	rss = target_rss(target);
	for (unsigned i = 0; i < 2000; i++) {
		struct vu_inflight inflight;
		int fd;

		expect(frontend_get_inflight_fd(&frontend, (uint16_t)(1 + i % QUEUES), 128,
						&inflight, &fd) == 0,
		       "GET_INFLIGHT_FD");
		if (i % 2)
			expect(frontend_set_inflight_fd(&frontend, &inflight, fd) == 0,
			       "SET_INFLIGHT_FD");
		close(fd);
	}
	expect(target_fds(target) == fds && target_maps(target) <= maps + 1,
	       "%u fds and %u mappings, before %u and %u", target_fds(target), target_maps(target),
	       fds, maps);
	expect(target_rss(target) < rss + 256, "memory grew to %u KiB", target_rss(target));
	frontend_close(&frontend);
}

static void i3(struct target *target)
{
	const struct vu_inflight bad[] = {{.size = 0, .queue_count = 1, .queue_size = 128},
					  {.size = 2048, .queue_count = 1, .queue_size = 128},
					  {.size = 4096, .queue_count = 2, .queue_size = 128}};
	int fd = memory_file(1 << 20);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refuse(target, VU_SET_INFLIGHT_FD, &bad[i], fd);
	close(fd);
}

static void i4(struct target *target)
{
	static const struct vu_inflight bad[] = {
		{.size = 65536, .offset = 1, .queue_count = 2, .queue_size = 128},
		{.size = 65537, .queue_count = 1, .queue_size = 128},
		{.size = 65536, .offset = (1 << 20) - 65528, .queue_count = 1, .queue_size = 128},
		{.size = 65536, .offset = UINT64_MAX - 7, .queue_count = 1, .queue_size = 128},
		{.size = UINT64_MAX - 7, .offset = 8, .queue_count = 1, .queue_size = 128}};
	const struct vu_inflight good = {.size = 65536, .queue_count = 1, .queue_size = 128};
	int fd = memory_file(1 << 20), read_only;
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refuse(target, VU_SET_INFLIGHT_FD, &bad[i], fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	refuse(target, VU_SET_INFLIGHT_FD, &good, read_only);
	close(read_only);
	close(fd);
}

/* A guest whose ring 0 is stopped with nothing in flight, and its part of the region. */
static void *stop_ring(struct guest *guest, struct target *target, bool packed)
{
	const struct vm_options options = {.features = packed ? VU_BIT(VM_F_RING_PACKED) : 0};
	void *map;

	guest_start(guest, target, &options);
	expect(guest->vm.rings[0].packed == packed, "packed rings are not offered");
	for (unsigned i = 0; i < 3; i++)
		expect_io(guest, 0);
	expect(vm_do_ring(&guest->vm, STEP_GET_BASE, 0) == 0, "GET_VRING_BASE");
	map = vm_map_inflight(&guest->vm);
	expect(map, "the region cannot be mapped");
	return map;
}

/* The region comes again, as if from another process, and the ring is set up. */
static void take_up(struct guest *guest)
{
	expect(vm_do(&guest->vm, STEP_INFLIGHT) == 0, "SET_INFLIGHT_FD");
	guest_set_up_ring(guest, 0);
}

/* The chain was taken by another process: it is available, and marked. */
static void mark(struct guest *guest, struct vu_inflight_split *region, uint16_t head,
		 struct vm_desc desc)
{
	struct vm_ring *ring = &guest->vm.rings[0];

	ring->desc[head] = desc;
	region->desc[head].inflight = 1;
	ring->avail->ring[ring->avail_idx++ & (ring->size - 1)] = htole16(head);
	vm_ring_show(ring);
}

static void leave(struct guest *guest, void *map)
{
	munmap(map, guest->vm.inflight.size);
	guest_close(guest);
}

#define HARM_SPLIT(change) \
	do { \
		struct guest guest; \
		struct vu_inflight_split *region = stop_ring(&guest, target, false); \
\
		region->desc[5].inflight = 1; \
		change; \
		take_up(&guest); \
		expect_broken(&guest); \
		leave(&guest, region); \
	} while (0)

#define HARM_PACKED(change) \
	do { \
		struct guest guest; \
		struct vu_inflight_packed *region = stop_ring(&guest, target, true); \
\
		change; \
		take_up(&guest); \
		expect_broken(&guest); \
		leave(&guest, region); \
	} while (0)

/* It is compared once; later its value is not used. */
static void i5(struct target *target)
{
	struct vu_inflight_split *region;
	struct guest guest;

	region = stop_ring(&guest, target, false);
	region->desc[5].inflight = 1;
	region->desc_num = 64;
	take_up(&guest);
	expect_io(&guest, 0);
	expect(region->desc_num == RING_SIZE && region->desc[5].inflight == 0,
	       "the region does not begin anew");
	region->desc_num = 0xffff;
	expect_io(&guest, 0);
	region->version = 0xffff;
	expect_io(&guest, 0);
	leave(&guest, region);
}

static void i6(struct target *target)
{
	struct vu_inflight_split *region;
	struct guest guest;

	region = stop_ring(&guest, target, false);
	for (unsigned i = 0; i < RING_SIZE; i++)
		region->desc[i].inflight = (uint8_t)(i + 2);
	take_up(&guest);
	expect_io(&guest, 0);
	expect_not_broken(&guest, 0);
	leave(&guest, region);
}

static void i7(struct target *target)
{
	HARM_SPLIT((region->used_idx--, region->last_batch_head = RING_SIZE));
	HARM_SPLIT((region->used_idx--, region->last_batch_head = 0xffff));
}

static void leaves_the_ring(struct target *target)
{
	HARM_SPLIT((region->used_idx = (uint16_t)(region->used_idx - 2),
		    region->last_batch_head = 3, region->desc[3].next = 0xffff));
}

static void i8(struct target *target)
{
	struct vu_inflight_split *region;
	struct guest guest;

	leaves_the_ring(target);
	region = stop_ring(&guest, target, false);
	region->desc[3].inflight = 1;
	region->used_idx = (uint16_t)(region->used_idx - RING_SIZE);
	region->last_batch_head = 3;
	region->desc[3].next = 3;
	take_up(&guest);
	expect_io(&guest, 0);
	leave(&guest, region);
}

static void i9(struct target *target)
{
	static const uint64_t counters[] = {0, 7, 7, UINT64_MAX, UINT64_MAX, 1};
	struct vu_inflight_split *region;
	struct guest guest;

	region = stop_ring(&guest, target, false);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		mark(&guest, region, (uint16_t)i, raw_desc(guest.slots[0].data_addr, 16, 0, 0));
		region->desc[i].counter = counters[i];
	}
	take_up(&guest);
	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
		raw_wait(&guest.vm.rings[0]);
	expect_not_broken(&guest, 0);
	expect_io(&guest, 1);
	leave(&guest, region);
}

static void i10(struct target *target)
{
	HARM_SPLIT(region->used_idx = (uint16_t)(region->used_idx - RING_SIZE - 1));
	HARM_SPLIT(region->used_idx++);
}

static void i11(struct target *target)
{
	HARM_SPLIT(region->version = 2);
	HARM_SPLIT(region->version = 0xffff);
	HARM_SPLIT(region->features = 1);
	HARM_SPLIT(region->features = UINT64_MAX);
}

static void i12(struct target *target)
{
	HARM_PACKED(region->used_idx = RING_SIZE);
	HARM_PACKED(region->old_used_idx = 0xffff);
	HARM_PACKED(region->used_wrap = 2);
	HARM_PACKED(region->old_used_wrap = 0xff);
	HARM_PACKED(region->old_free_head = RING_SIZE + 1);
	HARM_PACKED(region->desc[region->old_free_head].next = region->old_free_head);
	HARM_PACKED((region->old_free_head = RING_SIZE, region->desc[1].inflight = 1,
		     region->desc[1].num = 0));
	HARM_PACKED((region->old_free_head = RING_SIZE, region->desc[1].inflight = 1,
		     region->desc[1].num = RING_SIZE + 1));
	HARM_PACKED((region->old_free_head = RING_SIZE, region->desc[1].inflight = 1,
		     region->desc[1].num = 2, region->desc[1].next = 1));
	HARM_PACKED((region->old_free_head = RING_SIZE, region->desc[1].inflight = 1,
		     region->desc[1].num = 1, region->desc[1].last = 0xffff));
}

/* The guest has begun anew: what was in flight is none of its chains. */
static void i13(struct target *target)
{
	struct vu_inflight_split *region;
	struct guest guest;
	struct vm_used_elem elem;

	region = stop_ring(&guest, target, false);
	mark(&guest, region, 90, raw_desc(NOWHERE, 4096, WRITE, 0));
	take_up(&guest);
	elem = raw_wait(&guest.vm.rings[0]);
	expect(elem.id == 90 && elem.len == 0, "chain %u is answered with %u bytes", elem.id,
	       elem.len);
	expect_not_broken(&guest, 0);
	leave(&guest, region);
	region = stop_ring(&guest, target, false);
	mark(&guest, region, 90, raw_desc(guest.slots[0].data_addr, 16, NEXT, 90));
	take_up(&guest);
	expect_broken(&guest);
	leave(&guest, region);
}

/* As QEMU 10.0 does: its queue-size is not the size that the driver's rings have. */
static void i14(struct target *target)
{
	const struct vm_options options = {.inflight_size = 16};
	struct vu_inflight_split *region;
	struct guest guest;

	guest_start(&guest, target, &options);
	expect_io(&guest, 0);
	region = vm_map_inflight(&guest.vm);
	expect(region && region->version == 1 && region->desc_num == RING_SIZE,
	       "the region is not used");
	leave(&guest, region);
}

static void i15(struct target *target)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	expect(vm_do_ring(&guest.vm, STEP_GET_BASE, 0) == 0, "GET_VRING_BASE");
	guest.vm.inflight.size = 4096;
	guest.vm.inflight.queue_size = 16;
	take_up(&guest);
	expect_io(&guest, 0);
	expect_not_broken(&guest, 0);
	guest_close(&guest);
}

const struct input inflight_inputs[] = {
	{.id = "I1", .description = "regions for no, and too many or too large rings", .run = i1},
	{.id = "I2", .description = "thousands of regions", .run = i2},
	{.id = "I3", .description = "a region too small for its rings", .run = i3},
	{.id = "I4",
	 .description =
		 "a region that is not aligned, wraps, ends behind its file or cannot be written",
	 .run = i4},
	{.id = "I5", .description = "a region's size that changes", .run = i5},
	{.id = "I6", .description = "marks other than 0 and 1", .run = i6},
	{.id = "I7", .description = "a last batch that begins beyond the ring", .run = i7},
	{.id = "I8", .description = "a last batch that loops or leaves the ring", .run = i8},
	{.id = "I9", .description = "counters that are equal, wrapped or random", .run = i9},
	{.id = "I10",
	 .description = "a used index further ahead than the ring is long",
	 .run = i10},
	{.id = "I11",
	 .description = "a region of an unknown version, or with features",
	 .run = i11},
	{.id = "I12",
	 .description = "packed: lists that loop, entries and wrap counters out of range",
	 .run = i12,
	 .options = packed_options},
	{.id = "I13", .description = "a chain in flight that is none any more", .run = i13},
	{.id = "I14", .description = "rings larger than the region was asked for", .run = i14},
	{.id = "I15", .description = "a region of before, for smaller rings", .run = i15},
	{0},
};
