// SPDX-License-Identifier: Apache-2.0
//
// O: messages that are well-formed, but out of order, out of range, or not offered.

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

static void o1(struct target *target)
{
	struct frontend frontend;
	uint64_t offered;

	meet(target, &frontend, EVERYTHING);
	expect(frontend_get_features(&frontend, &offered) == 0, "GET_FEATURES");
	frontend_close(&frontend);
	for (unsigned bit = 0; bit < 64; bit++) {
		const uint64_t features = VU_BIT(VM_F_VERSION_1) | VU_BIT(bit);

		if (!(offered & VU_BIT(bit)))
			expect_refused_or_closed(target, MESSAGE(VU_SET_FEATURES, &features, 8));
	}
}

static void o2(struct target *target)
{
	const uint64_t features = VU_BIT(VM_F_VERSION_1);
	struct guest guest;

	guest_start(&guest, target, NULL);
	expect_refused(target, &guest.vm.frontend, MESSAGE(VU_SET_FEATURES, &features, 8));
	expect_accepted(&guest.vm.frontend, MESSAGE(VU_SET_FEATURES, &guest.vm.features, 8));
	expect_io(&guest, 0);
	guest_close(&guest);
}

static void o3(struct target *target)
{
	const uint64_t legacy[] = {0, VU_BIT(VM_BLK_F_FLUSH)};
	const uint64_t packed = VU_BIT(VM_F_RING_PACKED);

	for (size_t i = 0; i < ARRAY_SIZE(legacy); i++) {
		const struct vm_options options = {
			.without_features = ~(legacy[i] | VU_BIT(VM_F_PROTOCOL_FEATURES))};
		struct guest guest;

		guest_start(&guest, target, &options);
		expect_io(&guest, 0);
		guest_close(&guest);
	}
	expect_refused_or_closed(target, MESSAGE(VU_SET_FEATURES, &packed, 8));
}

static void o4(struct target *target)
{
	static const struct vu_config config = {.size = 8};
	const uint64_t bad =
		VU_BIT(VU_PROTOCOL_F_REPLY_ACK) | VU_BIT(VU_PROTOCOL_F_CONFIG) | VU_BIT(63);
	struct frontend frontend;
	uint64_t offered;

	meet(target, &frontend, VU_BIT(VU_PROTOCOL_F_REPLY_ACK));
	expect_refused(target, &frontend, MESSAGE(VU_SET_PROTOCOL_FEATURES, &bad, 8));
	/* a refused set opens no gate */
	expect_refused(target, &frontend, MESSAGE(VU_GET_CONFIG, &config, 20));
	expect(frontend_get_protocol_features(&frontend, &offered) == 0, "GET_PROTOCOL_FEATURES");
	frontend_close(&frontend);
	for (unsigned bit = 0; bit < 64; bit++) {
		const uint64_t one = VU_BIT(bit);

		if (!(offered & one))
			expect_refused_or_closed(target,
						 MESSAGE(VU_SET_PROTOCOL_FEATURES, &one, 8));
	}
}

/* Sends the steps in this order; nothing is processed before the last. */
static void start_in_order(struct target *target, const enum vm_step *steps, unsigned count)
{
	struct guest guest = {.target = target};
	struct vm *vm = &guest.vm;
	int error = vm_connect(vm, target->socket, &(struct vm_options){.timeout_ms = SOON_MS});

	vm->frontend.need_reply = FRONTEND_ALL_REQUESTS;
	error = error ? error : vm_do(vm, STEP_SET_FEATURES);
	expect(error == 0, "%s: %s", vm_step_name(vm->step), strerror(-error));
	vm_blk_slot_init(&guest.slots[0], &vm->memory, 4096);
	vm_blk_add(&vm->rings[0], &guest.slots[0], VM_BLK_T_IN, 0, 4096);
	vm_ring_show(&vm->rings[0]);
	vm_ring_notify(&vm->rings[0]);
	for (unsigned i = 0; i < count; i++) {
		expect(!raw_used(&vm->rings[0]), "a chain is served before %s",
		       vm_step_name(steps[i]));
		error = steps[i] == STEP_ADD_REGIONS ? vm_do(vm, steps[i])
						     : vm_do_ring(vm, steps[i], 0);
		expect(error == 0, "step %u, %s: %s", i, vm_step_name(steps[i]), strerror(-error));
	}
	guest_take(&guest, 0);
	guest_close(&guest);
}

static void permute(struct target *target, enum vm_step *steps, unsigned fixed, unsigned count)
{
	if (fixed == count)
		start_in_order(target, steps, count);
	for (unsigned i = fixed; i < count; i++) {
		enum vm_step first = steps[fixed];

		steps[fixed] = steps[i];
		steps[i] = first;
		permute(target, steps, fixed + 1, count);
		steps[i] = steps[fixed];
		steps[fixed] = first;
	}
}

static void o5(struct target *target)
{
	enum vm_step steps[] = {STEP_NUM,  STEP_BASE,	STEP_ADDR,
				STEP_KICK, STEP_ENABLE, STEP_ADD_REGIONS};

	permute(target, steps, 0, ARRAY_SIZE(steps));
}

static void o6(struct target *target)
{
	const struct vu_vring_state num = {.num = 64}, base = {.num = 0};
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (int i = 0; i < 20; i++) {
		expect_refused(target, &guest.vm.frontend, MESSAGE(VU_SET_VRING_NUM, &num, 8));
		expect_refused(target, &guest.vm.frontend, MESSAGE(VU_SET_VRING_BASE, &base, 8));
		expect_io(&guest, 0);
		/* the addresses may be told again, with a request on its way */
		vm_blk_add(&guest.vm.rings[1], &guest.slots[1], VM_BLK_T_IN, 0, 65536);
		vm_ring_kick(&guest.vm.rings[1]);
		expect(vm_do_ring(&guest.vm, STEP_ADDR, 1) == 0, "SET_VRING_ADDR is refused");
		guest_take(&guest, 1);
	}
	guest_close(&guest);
}

/* Fills the ring with reads of the whole slot; how many. */
static unsigned fill_ring(struct guest *guest, unsigned queue)
{
	unsigned count = 0;

	while (vm_blk_add(&guest->vm.rings[queue], &guest->slots[queue], VM_BLK_T_IN, 0, 65536) >=
	       0)
		count++;
	vm_ring_kick(&guest->vm.rings[queue]);
	return count;
}

static void take_all(struct guest *guest, unsigned queue, unsigned count)
{
	struct vm_ring *ring = &guest->vm.rings[queue];
	struct vm_completion completion;

	while (count) {
		expect(vm_ring_wait(ring, SOON_MS) == 0, "%u requests are lost", count);
		while (count && vm_ring_take(ring, &completion) == 1)
			count--;
	}
	expect(*guest->slots[queue].status == VM_BLK_S_OK, "a read fails");
}

static void o7(struct target *target)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (int round = 0; round < 30; round++) {
		unsigned count = fill_ring(&guest, 0);

		expect(vm_do(&guest.vm, STEP_MEM_TABLE) == 0, "SET_MEM_TABLE is refused");
		take_all(&guest, 0, count);
		expect_io(&guest, 1);
	}
	guest_close(&guest);
}

static void o8(struct target *target)
{
	const struct vm_options two_regions = {.regions = 2};
	struct guest guest;

	guest_start(&guest, target, &two_regions);
	for (int round = 0; round < 30; round++) {
		const struct vm_region *under_ring = &guest.vm.memory.regions[0];
		unsigned count = fill_ring(&guest, 0);
		uint16_t used;

		expect(frontend_rem_mem_reg(&guest.vm.frontend, &under_ring->wire) == 0,
		       "REM_MEM_REG is refused");
		/* what was in flight is done, the rest waits for the memory */
		used = guest.vm.rings[0].used->idx;
		sleep_ms(1);
		expect(guest.vm.rings[0].used->idx == used, "a ring without memory runs");
		expect(frontend_add_mem_reg(&guest.vm.frontend, &under_ring->wire,
					    under_ring->fd) == 0,
		       "ADD_MEM_REG is refused");
		take_all(&guest, 0, count);
	}
	guest_close(&guest);
}

static void o9(struct target *target)
{
	struct guest guest;
	uint16_t used;

	guest_start(&guest, target, NULL);
	for (int round = 0; round < 10; round++) {
		unsigned count = fill_ring(&guest, 0);

		expect(frontend_reset_owner(&guest.vm.frontend) == 0, "RESET_OWNER is refused");
		used = guest.vm.rings[0].used->idx;
		sleep_ms(1);
		expect(guest.vm.rings[0].used->idx == used, "a disabled ring runs");
		expect(vm_do(&guest.vm, STEP_ENABLE) == 0, "SET_VRING_ENABLE is refused");
		take_all(&guest, 0, count);
		fill_ring(&guest, 0);
		expect(frontend_reset_device(&guest.vm.frontend) == 0, "RESET_DEVICE is refused");
		for (unsigned i = 0; i < GUEST_QUEUES; i++)
			guest_restart_ring(&guest, i);
		expect_io(&guest, 0);
		expect_io(&guest, 1);
	}
	guest_close(&guest);
}

static void o10(struct target *target)
{
	struct frontend frontend;
	struct guest guest;
	uint32_t base;

	meet(target, &frontend, EVERYTHING);
	for (unsigned i = 0; i < 2 * QUEUES; i++)
		expect(frontend_get_vring_base(&frontend, i % QUEUES, &base) == 0 && base == 0,
		       "GET_VRING_BASE of a ring never started");
	frontend_close(&frontend);
	guest_start(&guest, target, NULL);
	expect_io(&guest, 0);
	for (int i = 0; i < 3; i++)
		expect(frontend_get_vring_base(&guest.vm.frontend, 0, &base) == 0 && base == 2,
		       "GET_VRING_BASE answers %u after 2 requests", base);
	guest_close(&guest);
}

static void o18(struct target *target)
{
	static const struct {
		uint32_t offset, size, flags, sent;
	} bad[] = {
		{0, 8, 0, 20},		/* the capacity cannot be written */
		{32, 2, 0, 14},		/* more than the one field that can */
		{32, 0, 0, 12},		/* nothing */
		{59, 2, 0, 14},		/* beyond the end */
		{0xffffffff, 1, 0, 13}, /* offset + size wraps */
		{32, 0xffffffff, 0, 13}, {32, 257, 0, 268}, {32, 1, 0, 12}, {32, 1, 2, 13},
	};
	static const struct vu_config writeback = {32, 1, 0, {0}};
	struct frontend frontend;
	uint8_t data[4];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct vu_config config = {bad[i].offset, bad[i].size, bad[i].flags, {0}};

		expect_refused_or_closed(target, MESSAGE(VU_SET_CONFIG, &config, bad[i].sent));
	}
	meet(target, &frontend, EVERYTHING);
	/* more payload than the size says is padding */
	expect_accepted(&frontend, MESSAGE(VU_SET_CONFIG, &writeback, sizeof(writeback)));
	expect(frontend_get_config(&frontend, 0xfffffffe, 4, 0, data) == -EREMOTEIO &&
		       frontend_get_config(&frontend, 300, 4, 0, data) == -EREMOTEIO &&
		       frontend_get_config(&frontend, 0, 0, 0, data) == -EREMOTEIO,
	       "GET_CONFIG of nothing is not answered by an empty payload");
	expect_answers(&frontend);
	frontend_close(&frontend);
}

static void o20(struct target *target)
{
	uint64_t queues = 0, slots = 0;
	struct frontend frontend;

	meet(target, &frontend, EVERYTHING);
	for (int i = 0; i < 2; i++)
		expect(frontend_get_queue_num(&frontend, &queues) == 0 && queues == QUEUES &&
			       frontend_get_max_mem_slots(&frontend, &slots) == 0 && slots == 509,
		       "%ju queues, %ju memory slots", (uintmax_t)queues, (uintmax_t)slots);
	expect(frontend_set_vring_num(&frontend, (uint32_t)queues - 1, 64) == 0,
	       "the last queue is refused");
	expect(frontend_set_vring_num(&frontend, (uint32_t)queues, 64) == 1,
	       "one queue too many is accepted");
	frontend_close(&frontend);
}

/* Requests that are not supported, whatever comes with them. */
static void refuse_all(const struct target *target, const uint32_t *requests, size_t count)
{
	static const uint64_t payload[8];
	int fd = vm_memory_file(4096);

	for (size_t i = 0; i < count; i++) {
		expect_refused_or_closed(target, EMPTY(requests[i]));
		expect_refused_or_closed(target, MESSAGE(requests[i], payload, 8));
		expect_refused_or_closed(
			target, MESSAGE_FDS(requests[i], payload, sizeof(payload), &fd, 1));
	}
	close(fd);
}

/* Waits until nobody has the other end of the socket any more. */
static void expect_hung_up(int fd)
{
	struct pollfd hung_up = {.fd = fd};

	expect(poll(&hung_up, 1, SOON_MS) == 1, "a replaced socket is not closed");
}

static void refuse_channel(const struct target *target, int fd)
{
	const int fds[] = {fd, fd};

	for (size_t count = 0; count <= 2; count++)
		expect_refused_or_closed(target,
					 MESSAGE_FDS(VU_SET_BACKEND_REQ_FD, NULL, 0, fds, count));
}

static void o19(struct target *target)
{
	const struct vu_header odd = {VU_GET_CONFIG, VU_VERSION | VU_REPLY, 0xffffffff};
	int fd = vm_memory_file(4096), pairs[3][2];
	struct frontend channel;
	struct guest guest;

	refuse_channel(target, fd);
	guest_start(&guest, target, NULL);
	for (int i = 0; i < 3; i++) {
		expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]) == 0,
		       "socketpair");
		expect_accepted(&guest.vm.frontend,
				MESSAGE_FDS(VU_SET_BACKEND_REQ_FD, NULL, 0, &pairs[i][1], 1));
		close(pairs[i][1]);
		if (i > 0)
			expect_hung_up(pairs[i - 1][0]);
	}
	/* what nobody has asked for, with fds */
	frontend_attach(&channel, pairs[2][0]);
	frontend_send_bytes(&channel, &odd, sizeof(odd), &fd, 1);
	expect_io(&guest, 0);
	guest_close(&guest);
	expect_hung_up(pairs[2][0]);
	for (int i = 0; i < 3; i++)
		close(pairs[i][0]);
	close(fd);
}

/* The log that the guest has shared knows of a read's data, or does not. */
static void expect_logged(struct guest *guest, bool logged)
{
	uint64_t page = guest->slots[0].data_addr / 4096;
	uint8_t byte;

	expect_io(guest, 0);
	expect(pread(guest->vm.log_fd, &byte, 1, (off_t)page / 8) == 1, "the log is gone");
	expect((byte >> page % 8 & 1) == logged, "what is read is%s logged", logged ? " not" : "");
}

static void o21(struct target *target)
{
	static const struct vu_log bad[] = {{.size = 0},
					    {.size = 65537},
					    {.size = 65536, .offset = 8},
					    {.size = 65536, .offset = UINT64_MAX - 7},
					    {.size = UINT64_MAX, .offset = 1}};
	const struct vm_options options = {.features = VU_BIT(VM_F_LOG_ALL)};
	int fd = memory_file(65536), no_event = memory_file(8);
	struct guest guest;

	refuse_all(target, (const uint32_t[]){VU_SET_LOG_BASE, VU_SET_LOG_FD}, 2);
	guest_start(&guest, target, &options);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		expect_refused(target, &guest.vm.frontend,
			       MESSAGE_FDS(VU_SET_LOG_BASE, &bad[i], sizeof(bad[i]), &fd, 1));
		expect_io(&guest, 0);
	}
	expect_refused(target, &guest.vm.frontend,
		       MESSAGE_FDS(VU_SET_LOG_FD, NULL, 0, &no_event, 1));
	expect_logged(&guest, true);
	guest_close(&guest);
	close(fd);
	close(no_event);
}

/* The log ends before the memory, or is of one byte: what is beyond is not logged, and nothing else is written. */
static void o22(struct target *target)
{
	const struct vm_options options = {.features = VU_BIT(VM_F_LOG_ALL)};
	const uint64_t sizes[] = {1, 8, 64};
	struct guest guest;

	guest_start(&guest, target, &options);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int fd = memory_file(4096);
		uint8_t bytes[4096];

		expect(frontend_set_log_base(&guest.vm.frontend, sizes[i], 0, fd) == 0,
		       "SET_LOG_BASE");
		expect_io(&guest, 0);
		expect(pread(fd, bytes, sizeof(bytes), 0) == sizeof(bytes), "the log is gone");
		for (size_t at = sizes[i]; at < sizeof(bytes); at++)
			expect(bytes[at] == 0, "byte %zu behind the log is written", at);
		close(fd);
	}
	guest_close(&guest);
}

static void o25(struct target *target)
{
	static const uint32_t requests[] = {19,
					    20,
					    22,
					    23,
					    26,
					    27,
					    28,
					    29,
					    30,
					    33,
					    35,
					    41,
					    VU_GET_INFLIGHT_FD,
					    VU_SET_INFLIGHT_FD};

	refuse_all(target, requests, ARRAY_SIZE(requests));
}

const struct input state_inputs[] = {
	{.id = "O1", .description = "feature bits that were not offered", .run = o1},
	{.id = "O2", .description = "other features while rings run", .run = o2},
	{.id = "O3",
	 .description = "features of a legacy driver, and with RING_PACKED among them",
	 .run = o3},
	{.id = "O4",
	 .description = "protocol features that were not offered, then what they gate",
	 .run = o4},
	{.id = "O5", .description = "ring setup in every order of messages", .run = o5},
	{.id = "O6",
	 .description = "size, base and addresses of a ring that is started",
	 .run = o6},
	{.id = "O7", .description = "a new memory table with requests in flight", .run = o7},
	{.id = "O8",
	 .description = "a memory region removed under a ring with requests in flight",
	 .run = o8},
	{.id = "O9",
	 .description = "RESET_OWNER and RESET_DEVICE with requests in flight",
	 .run = o9},
	{.id = "O10",
	 .description = "GET_VRING_BASE twice, and of a ring never started",
	 .run = o10},
	{.id = "O18",
	 .description = "configuration space out of range, read-only, overflowing",
	 .run = o18},
	{.id = "O19",
	 .description = "a channel for the back-end's requests set again; one that is no socket",
	 .run = o19},
	{.id = "O20", .description = "queues and memory slots beyond the numbers told", .run = o20},
	{.id = "O21",
	 .description = "logs that are empty, wrap or end behind their file; no eventfd",
	 .run = o21},
	{.id = "O22", .description = "memory beyond the log", .run = o22},
	{.id = "O25",
	 .description = "postcopy, IOTLB, RARP and other requests that are not supported",
	 .run = o25},
	{0},
};
