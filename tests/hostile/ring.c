// SPDX-License-Identifier: Apache-2.0
//
// V1 to V9: where rings are and how long. V33 to V38: notifications, floods, rings over themselves.

#include <endian.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include "tests/hostile/hostile.h"

enum {
	FLOOD_MS = 300,
	ANSWER_MS = 200, /* how long a flood may delay an answer */
};

static void refuse_sizes(const struct target *target, const uint32_t *sizes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct vu_vring_state state = {.num = sizes[i]};

		expect_refused_or_closed(target, MESSAGE(VU_SET_VRING_NUM, &state, 8));
	}
}

static void v1(struct target *target)
{
	static struct {
		struct vu_header header;
		struct vu_vring_state state;
	} flood[1000];
	struct frontend frontend;
	unsigned rss;

	refuse_sizes(target, (const uint32_t[]){0}, 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(flood); i++) {
		flood[i].header = (struct vu_header){VU_SET_VRING_NUM, VU_VERSION, 8};
		flood[i].state =
			(struct vu_vring_state){.index = i % QUEUES, .num = 1024u >> i % 8};
	}
	meet(target, &frontend, EVERYTHING);
	rss = target_rss(target);
	for (int i = 0; i < 1000; i++)
		frontend_send_bytes(&frontend, flood, sizeof(flood), NULL, 0);
	expect_answers(&frontend);
	expect(target_rss(target) < rss + 256, "memory grew from %u to %u KiB", rss,
	       target_rss(target));
	frontend_close(&frontend);
}

static void v2(struct target *target)
{
	refuse_sizes(target, (const uint32_t[]){3, 5, 6, 96, 127, 129, 1000, 1023}, 8);
}

static void v3(struct target *target)
{
	refuse_sizes(target,
		     (const uint32_t[]){1025, 2048, 32768, 32769, 65535, 65536, 65536 + 256,
					0x80000000, 0xffffffff},
		     9);
}

/* Refused with these addresses while the ring is set up otherwise; the other ring runs. */
static void refuse_addr(struct guest *guest, uint64_t desc, uint64_t avail, uint64_t used)
{
	const struct vu_vring_addr addr = {.index = 0, .desc = desc, .avail = avail, .used = used};

	expect_refused(guest->target, &guest->vm.frontend,
		       MESSAGE(VU_SET_VRING_ADDR, &addr, sizeof(addr)));
}

static void v4(struct target *target)
{
	struct guest guest;
	uint64_t base;

	guest_start(&guest, target, NULL);
	base = guest.vm.memory.regions[0].wire.user_addr + (32 << 20);
	for (uint64_t off = 1; off < 16; off++)
		refuse_addr(&guest, base + off, base + 8192, base + 16384);
	refuse_addr(&guest, base, base + 8193, base + 16384);
	for (uint64_t off = 1; off < 4; off++)
		refuse_addr(&guest, base, base + 8192, base + 16384 + off);
	expect_io(&guest, 0);
	guest_close(&guest);
}

/* Bytes of the three parts of a ring of RING_SIZE. */
static const uint64_t part_len[] = {RING_SIZE * UINT64_C(16), 6 + RING_SIZE *UINT64_C(2),
				    6 + RING_SIZE *UINT64_C(8)};

/* Each part of the ring ends one step behind `end`; ending right at it is legal. */
static void end_at(struct guest *guest, uint64_t end)
{
	static const uint64_t step[] = {16, 2, 4};
	const uint64_t base = guest->vm.memory.regions[0].wire.user_addr + (32 << 20);

	for (unsigned part = 0; part < 3; part++) {
		uint64_t at[3] = {base, base + 8192, base + 16384};

		at[part] = (end - part_len[part] + step[part]) & ~(step[part] - 1);
		refuse_addr(guest, at[0], at[1], at[2]);
		at[part] -= step[part] * 2;
		const struct vu_vring_addr addr = {
			.index = 0, .desc = at[0], .avail = at[1], .used = at[2]};

		expect_accepted(&guest->vm.frontend,
				MESSAGE(VU_SET_VRING_ADDR, &addr, sizeof(addr)));
	}
	expect(vm_do_ring(&guest->vm, STEP_ADDR, 0) == 0, "SET_VRING_ADDR is refused");
}

static void v5(struct target *target)
{
	const struct vu_region *region;
	struct guest guest;

	guest_start(&guest, target, NULL);
	region = &guest.vm.memory.regions[0].wire;
	end_at(&guest, region->user_addr + region->size);
	expect_io(&guest, 0);
	guest_close(&guest);
}

static void v6(struct target *target)
{
	const uint64_t gpa = UINT64_C(1) << 40, user = UINT64_C(1) << 46, len = 1 << 20;
	struct guest guest;

	guest_start(&guest, target, NULL);
	/* neighbours for the front-end, which says so, and mapped apart here */
	for (uint64_t i = 0; i < 2; i++)
		expect(vm_memory_add(&guest.vm.memory, gpa + i * len, len, user + i * len) > 0 &&
			       vm_do(&guest.vm, STEP_ADD_REGIONS) == 0,
		       "ADD_MEM_REG is refused");
	end_at(&guest, user + len);
	expect_io(&guest, 0);
	guest_close(&guest);
}

static void v7(struct target *target)
{
	struct guest guest;
	uint64_t base, on;

	guest_start(&guest, target, NULL);
	base = guest.vm.memory.regions[0].wire.user_addr + (32 << 20);
	on = guest.vm.memory.regions[0].wire.user_addr + guest.vm.rings[1].desc_addr;
	const uint64_t overlaps[][3] = {{base, base, base},
					{base, base + 64, base + 128},
					{base, base + 8192, base + 8192},
					{on, on, on},
					{base, base + 8192, on}};

	for (size_t i = 0; i < ARRAY_SIZE(overlaps); i++) {
		const struct vu_vring_addr addr = {.index = 0,
						   .desc = overlaps[i][0],
						   .avail = overlaps[i][1],
						   .used = overlaps[i][2]};
		uint32_t index;

		expect_accepted(&guest.vm.frontend,
				MESSAGE(VU_SET_VRING_ADDR, &addr, sizeof(addr)));
		memset(vm_memory_at(&guest.vm.memory, 32 << 20, 32768), (int)i * 3, 32768);
		for (int kick = 0; kick < 10; kick++)
			vm_ring_notify(&guest.vm.rings[0]);
		sleep_ms(2);
		expect_answers(&guest.vm.frontend);
		expect(frontend_get_vring_base(&guest.vm.frontend, 0, &index) == 0,
		       "GET_VRING_BASE has no answer");
		vm_ring_eventfd_read(guest.vm.rings[0].err_fd);
		guest_restart_ring(&guest, 0);
		expect(frontend_get_vring_base(&guest.vm.frontend, 1, &index) == 0,
		       "GET_VRING_BASE has no answer");
		guest_restart_ring(&guest, 1);
		vm_ring_eventfd_read(guest.vm.rings[1].err_fd);
		expect_io(&guest, 0);
		expect_io(&guest, 1);
	}
	guest_close(&guest);
}

static void v8(struct target *target)
{
	const struct vm_options options = {.features = VU_BIT(VM_F_LOG_ALL)};
	struct vu_vring_addr addr = {.index = 0, .flags = VU_VRING_F_LOG, .log = UINT64_MAX};
	const struct vm_ring *ring;
	struct guest guest;

	guest_start(&guest, target, &options);
	ring = &guest.vm.rings[0];
	addr.desc = vm_memory_user_addr(&guest.vm.memory, ring->desc_addr);
	addr.avail = vm_memory_user_addr(&guest.vm.memory, ring->avail_addr);
	addr.used = vm_memory_user_addr(&guest.vm.memory, ring->used_addr);
	expect_accepted(&guest.vm.frontend, MESSAGE(VU_SET_VRING_ADDR, &addr, sizeof(addr)));
	expect_io(&guest, 0);
	guest_close(&guest);
}

static void v9(struct target *target)
{
	static const uint32_t beyond[] = {0x10000, 0x80000000, 0xffffffff};
	struct guest guest;
	uint32_t base;

	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++) {
		const struct vu_vring_state state = {.num = beyond[i]};

		expect_refused_or_closed(target, MESSAGE(VU_SET_VRING_BASE, &state, 8));
	}
	/* a base that is not where the used ring is: available entries from there on are served */
	guest_start(&guest, target, NULL);
	expect(frontend_get_vring_base(&guest.vm.frontend, 0, &base) == 0, "GET_VRING_BASE");
	vm_ring_reset(&guest.vm.rings[0]);
	guest.vm.rings[0].avail_idx = guest.vm.rings[0].shown_idx = 65534;
	guest.vm.rings[0].avail->idx = htole16(65534);
	guest.vm.bases[0] = 65534;
	guest_set_up_ring(&guest, 0);
	for (int i = 0; i < 4; i++)
		expect_io(&guest, 0);
	expect(frontend_get_vring_base(&guest.vm.frontend, 0, &base) == 0 && base == 6,
	       "GET_VRING_BASE answers %u after 65534 and 8 requests", base);
	guest_close(&guest);
}

static void v33(struct target *target)
{
	const struct vm_options without = {.without_features = VU_BIT(VM_F_EVENT_IDX)};
	struct guest guest;

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		struct vm_ring *ring;

		guest_start(&guest, target, event_idx ? NULL : &without);
		ring = &guest.vm.rings[0];
		for (unsigned i = 0; i < 200; i++) {
			*vm_ring_used_event(ring) = (uint16_t)(i * 40503);
			*vm_ring_avail_event(ring) = (uint16_t)(i * 30011);
			vm_blk_add(ring, &guest.slots[0], VM_BLK_T_IN, 0, 4096);
			vm_ring_show(ring);
			vm_ring_notify(ring);
			guest_take(&guest, 0);
		}
		expect_io(&guest, 0);
		guest_close(&guest);
	}
}

static void v34(struct target *target)
{
	const struct vm_options without = {.without_features = VU_BIT(VM_F_EVENT_IDX)};
	struct guest guest;
	struct vm_ring *ring;

	guest_start(&guest, target, &without);
	ring = &guest.vm.rings[0];
	for (uint16_t i = 0; i < 200; i++) {
		/* all bits at times: only the first has a meaning */
		ring->avail->flags = htole16(i % 3 == 2 ? 0xffff : i % 3);
		vm_blk_add(ring, &guest.slots[0], VM_BLK_T_IN, 0, 4096);
		vm_ring_show(ring);
		vm_ring_notify(ring);
		guest_take(&guest, 0);
	}
	/* with the bit set throughout there is no call */
	ring->avail->flags = htole16(VM_AVAIL_F_NO_INTERRUPT);
	sleep_ms(1);
	vm_ring_eventfd_read(ring->call_fd);
	vm_blk_add(ring, &guest.slots[0], VM_BLK_T_IN, 0, 4096);
	vm_ring_show(ring);
	vm_ring_notify(ring);
	guest_take(&guest, 0);
	sleep_ms(1);
	expect(vm_ring_eventfd_read(ring->call_fd) == 0, "a call although there should be none");
	expect_io(&guest, 0);
	guest_close(&guest);
}

/* A thread that does one thing to ring 0 until it is stopped. */
struct flood {
	struct guest *guest;
	void (*step)(struct guest *guest);
	pthread_t thread;
	bool stop;
};

static void *run_flood(void *context)
{
	struct flood *flood = context;

	while (!__atomic_load_n(&flood->stop, __ATOMIC_RELAXED))
		flood->step(flood->guest);
	return NULL;
}

static void start_flood(struct flood *flood)
{
	expect(pthread_create(&flood->thread, NULL, run_flood, flood) == 0, "pthread_create");
}

static void stop_flood(struct flood *flood)
{
	__atomic_store_n(&flood->stop, true, __ATOMIC_RELAXED);
	pthread_join(flood->thread, NULL);
}

/* The other ring, which the same worker serves, and the socket answer as if nothing was. */
static void expect_live(struct guest *guest)
{
	int64_t end = clock_ms() + FLOOD_MS;

	while (clock_ms() < end) {
		int64_t start = clock_ms();

		expect_io(guest, 1);
		expect_answers(&guest->vm.frontend);
		expect(clock_ms() - start < ANSWER_MS, "the other ring waited for %jd ms",
		       (intmax_t)(clock_ms() - start));
	}
}

static void kick(struct guest *guest)
{
	vm_ring_notify(&guest->vm.rings[0]);
}

static void v35(struct target *target)
{
	struct guest guest;
	struct flood flood = {.guest = &guest, .step = kick};

	guest_start(&guest, target, NULL);
	start_flood(&flood);
	expect_live(&guest);
	stop_flood(&flood);
	expect_io(&guest, 0);
	guest_close(&guest);
}

/* Every entry of the ring is available again as soon as it is used, and before the driver could see that. */
static void refill(struct guest *guest)
{
	struct vm_ring *ring = &guest->vm.rings[0];
	uint16_t used = le16toh(__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE));

	__atomic_store_n(&ring->avail->idx, htole16((uint16_t)(used + RING_SIZE)),
			 __ATOMIC_RELEASE);
	vm_ring_notify(ring);
}

static void v36(struct target *target)
{
	struct guest guest;
	struct vm_ring *ring;
	struct flood flood = {.guest = &guest, .step = refill};
	uint32_t base;

	guest_start(&guest, target, NULL);
	ring = &guest.vm.rings[0];
	/* each entry a chain of its own: GET_ID, from one header to one status */
	guest_header(&guest, 0, 8, 0);
	for (unsigned i = 0; i < RING_SIZE; i += 2) {
		ring->desc[i] = raw_desc(guest.slots[0].header_addr, 16, VM_DESC_F_NEXT, i + 1);
		ring->desc[i + 1] = raw_desc(guest.slots[0].data_addr, 21, VM_DESC_F_WRITE, 0);
		ring->avail->ring[i] = htole16((uint16_t)i);
		ring->avail->ring[i + 1] = htole16((uint16_t)i);
	}
	start_flood(&flood);
	expect_live(&guest);
	expect(frontend_get_vring_base(&guest.vm.frontend, 0, &base) == 0,
	       "a full ring does not stop");
	stop_flood(&flood);
	vm_ring_eventfd_read(ring->err_fd);
	guest_restart_ring(&guest, 0);
	expect_io(&guest, 0);
	guest_close(&guest);
}

/* The chain is answered, or breaks its ring, and harms the guest alone. */
static void harm_guest(struct guest *guest, const struct vm_desc *descs)
{
	struct vm_ring *ring = &guest->vm.rings[0];

	raw_write(ring, descs, 3);
	raw_offer(ring, 0);
	sleep_ms(MOMENT_MS);
	expect_io(guest, 1);
	expect_answers(&guest->vm.frontend);
	expect(frontend_get_vring_base(&guest->vm.frontend, 0, &guest->vm.bases[0]) == 0,
	       "GET_VRING_BASE has no answer");
	vm_ring_eventfd_read(ring->err_fd);
	guest_restart_ring(guest, 0);
	expect_io(guest, 0);
}

/* The addresses of the three parts of ring 0, and some within. */
static void ring_places(const struct vm_ring *ring, uint64_t *places)
{
	places[0] = ring->desc_addr;
	places[1] = ring->desc_addr + 32;
	places[2] = ring->avail_addr;
	places[3] = ring->avail_addr + 2;
	places[4] = ring->used_addr;
	places[5] = ring->used_addr + 2;
}

static void v37(struct target *target)
{
	struct vm_desc descs[3];
	struct guest guest;
	uint64_t places[6];

	guest_start(&guest, target, NULL);
	ring_places(&guest.vm.rings[0], places);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), guest.block, true);
		descs[2].addr = htole64(places[i]);
		harm_guest(&guest, descs);
	}
	guest_close(&guest);
}

static void v38(struct target *target)
{
	struct vm_desc descs[3];
	struct guest guest;
	uint64_t places[6];

	guest_start(&guest, target, NULL);
	ring_places(&guest.vm.rings[0], places);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), 4096, true);
		descs[1].addr = htole64(places[i]);
		harm_guest(&guest, descs);
		raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_OUT, 64), 4096, false);
		descs[1].addr = htole64(places[i]);
		harm_guest(&guest, descs);
	}
	expect_untouched(target, 0, 64);
	guest_close(&guest);
}

const struct input setup_inputs[] = {
	{.id = "V1", .description = "a ring of no entries; a million ring sizes", .run = v1},
	{.id = "V2", .description = "ring sizes that are no power of two", .run = v2},
	{.id = "V3",
	 .description = "ring sizes beyond the device's, also after truncation to 16 bits",
	 .run = v3},
	{.id = "V4", .description = "rings that are not aligned", .run = v4},
	{.id = "V5", .description = "rings that end behind their region", .run = v5},
	{.id = "V6", .description = "rings across two regions", .run = v6},
	{.id = "V7", .description = "rings over themselves and over other rings", .run = v7},
	{.id = "V8", .description = "a log address that leads nowhere", .run = v8},
	{.id = "V9",
	 .description = "a base beyond 16 bits, and one that is not the used index",
	 .run = v9},
	{0},
};

const struct input ring_inputs[] = {
	{.id = "V33", .description = "notification indices at random", .run = v33},
	{.id = "V34", .description = "the no-interrupt flag set and cleared", .run = v34},
	{.id = "V35", .description = "kicks without end on an empty ring", .run = v35},
	{.id = "V36", .description = "a ring that is always full", .run = v36},
	{.id = "V37", .description = "a status byte over the ring", .run = v37},
	{.id = "V38", .description = "data over the ring", .run = v38},
	{0},
};
