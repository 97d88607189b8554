// SPDX-License-Identifier: Apache-2.0
//
// O11 to O16: which ring a message is about, and the eventfds that come for it.

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

/* Every message that carries the index of a ring, with this one. */
static void refuse_index(const struct target *target, uint32_t index)
{
	static const uint32_t requests[] = {VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_GET_VRING_BASE,
					    VU_SET_VRING_ENABLE};
	static const uint32_t fd_requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL,
					       VU_SET_VRING_ERR};
	const struct vu_vring_state state = {.index = index, .num = 1};
	const struct vu_vring_addr addr = {.index = index};
	const uint64_t u64 = index;
	int fd = eventfd(0, EFD_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		expect_refused_or_closed(target, MESSAGE(requests[i], &state, 8));
	for (size_t i = 0; i < ARRAY_SIZE(fd_requests); i++)
		expect_refused_or_closed(target, MESSAGE_FDS(fd_requests[i], &u64, 8, &fd, 1));
	expect_refused_or_closed(target, MESSAGE(VU_SET_VRING_ADDR, &addr, sizeof(addr)));
	close(fd);
}

static void o11(struct target *target)
{
	static const uint32_t indices[] = {QUEUES, 64, 255, 0x10000, 0x7fffffff, 0xffffffff};

	for (size_t i = 0; i < ARRAY_SIZE(indices); i++)
		refuse_index(target, indices[i]);
}

static void o12(struct target *target)
{
	static const uint32_t requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
	static const uint64_t payloads[] = {VU_BIT(9), VU_BIT(16), VU_BIT(32), VU_BIT(63)};
	int fd = eventfd(0, EFD_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		for (size_t p = 0; p < ARRAY_SIZE(payloads); p++)
			expect_refused_or_closed(target,
						 MESSAGE_FDS(requests[i], &payloads[p], 8, &fd, 1));
	}
	close(fd);
}

static void o13(struct target *target)
{
	static const uint32_t requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
	static const uint64_t none = VU_VRING_NOFD, some;
	int fd = eventfd(0, EFD_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		expect_refused_or_closed(target, MESSAGE_FDS(requests[i], &none, 8, &fd, 1));
		expect_refused_or_closed(target, MESSAGE(requests[i], &some, 8));
	}
	close(fd);
}

static void share_eventfds(struct target *target)
{
	struct guest guest;
	struct vm_ring *rings;

	guest_start(&guest, target, NULL);
	rings = guest.vm.rings;
	expect(frontend_set_vring_kick(&guest.vm.frontend, 1, rings[0].kick_fd) == 0 &&
		       frontend_set_vring_call(&guest.vm.frontend, 1, rings[0].call_fd) == 0 &&
		       frontend_set_vring_err(&guest.vm.frontend, 1, rings[0].kick_fd) == 0,
	       "an eventfd that another ring has is refused");
	expect_io(&guest, 0);
	vm_blk_add(&rings[1], &guest.slots[1], VM_BLK_T_IN, 0, 4096);
	vm_ring_show(&rings[1]);
	vm_ring_notify(&rings[0]);
	guest_take(&guest, 1);
	guest_close(&guest);
}

/* A pipe with flags that the lockdown would end us for setting. */
static void call_by_odd_pipe(struct target *target)
{
	static const uint64_t ring;
	struct frontend frontend;
	int fds[2];

	expect(pipe2(fds, O_CLOEXEC | O_DIRECT) == 0, "pipe");
	expect(fcntl(fds[1], F_SETFL, O_DIRECT | O_ASYNC) == 0, "O_ASYNC");
	meet(target, &frontend, EVERYTHING);
	expect_accepted(&frontend, MESSAGE_FDS(VU_SET_VRING_CALL, &ring, 8, &fds[1], 1));
	expect_answers(&frontend);
	frontend_close(&frontend);
	close(fds[0]);
	close(fds[1]);
}

static void o14(struct target *target)
{
	static const uint32_t requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
	static const uint64_t ring;
	int pair[2], memory = vm_memory_file(4096);

	expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
	const int fds[] = {memory,
			   epoll_create1(EPOLL_CLOEXEC),
			   timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
			   open("/dev/null", O_RDWR | O_CLOEXEC),
			   open("/", O_RDONLY | O_CLOEXEC),
			   target_image(target, O_RDWR)};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		for (size_t f = 0; f < ARRAY_SIZE(fds); f++)
			expect_refused_or_closed(target,
						 MESSAGE_FDS(requests[i], &ring, 8, &fds[f], 1));
	}
	for (size_t f = 0; f < ARRAY_SIZE(fds); f++)
		close(fds[f]);
	/* there are front-ends that are called by a socket, but none that kicks by one */
	expect_refused_or_closed(target, MESSAGE_FDS(VU_SET_VRING_KICK, &ring, 8, pair, 1));
	close(pair[0]);
	close(pair[1]);
	expect_untouched(target, 0, 1);
	call_by_odd_pipe(target);
	share_eventfds(target);
}

/* An eventfd that is one above what write() can bring it to: even a write of 0 waits then. */
static int overflown_eventfd(const struct target *target)
{
	int fd = eventfd(0, EFD_CLOEXEC), image = target_image(target, O_RDONLY);
	char byte;
	struct iocb read_byte = {.aio_lio_opcode = IOCB_CMD_PREAD,
				 .aio_fildes = (uint32_t)image,
				 .aio_buf = (uintptr_t)&byte,
				 .aio_nbytes = 1,
				 .aio_flags = IOCB_FLAG_RESFD,
				 .aio_resfd = (uint32_t)fd};
	struct iocb *list = &read_byte;
	aio_context_t context = 0;

	eventfd_write(fd, UINT64_MAX - 1);
	expect(syscall(SYS_io_setup, 1, &context) == 0 &&
		       syscall(SYS_io_submit, context, 1, &list) == 1,
	       "asynchronous read: %s", strerror(errno));
	syscall(SYS_io_destroy, context); /* waits for it */
	close(image);
	return fd;
}

static void refuse_overflown(const struct target *target)
{
	static const uint32_t requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
	static const uint64_t ring;

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		int fd = overflown_eventfd(target);

		expect_refused_or_closed(target, MESSAGE_FDS(requests[i], &ring, 8, &fd, 1));
		close(fd);
	}
}

/* A front-end that makes the call fd a blocking one again keeps the worker waiting, but not SIGTERM away. */
static void block_worker(struct target *target, int fd)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	expect(frontend_set_vring_call(&guest.vm.frontend, 0, fd) == 0, "SET_VRING_CALL");
	expect_answers(&guest.vm.frontend);
	fcntl(fd, F_SETFL, 0);
	vm_blk_add(&guest.vm.rings[0], &guest.slots[0], VM_BLK_T_IN, 0, 4096);
	vm_ring_arm(&guest.vm.rings[0]);
	vm_ring_kick(&guest.vm.rings[0]);
	guest_take(&guest, 0);
	sleep_ms(MOMENT_MS);
	target_end(target);
	guest_close(&guest);
	target_run(target);
}

static void o15(struct target *target)
{
	int full = eventfd(0, EFD_CLOEXEC), pipe_fds[2];
	char byte = 0;
	struct guest guest;

	expect(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0, "pipe");
	while (write(pipe_fds[1], &byte, 1) == 1)
		;
	fcntl(pipe_fds[1], F_SETFL, 0);
	eventfd_write(full, UINT64_MAX - 1);
	guest_start(&guest, target, NULL);
	for (int i = 0; i < 2; i++) {
		int fd = i ? full : pipe_fds[1];

		expect(frontend_set_vring_call(&guest.vm.frontend, 0, fd) == 0,
		       "a full call fd is refused");
		vm_blk_add(&guest.vm.rings[0], &guest.slots[0], VM_BLK_T_IN, 0, 4096);
		vm_ring_arm(&guest.vm.rings[0]);
		vm_ring_kick(&guest.vm.rings[0]);
		guest_take(&guest, 0);
		expect_not_broken(&guest, 0);
	}
	expect(vm_do_ring(&guest.vm, STEP_CALL, 0) == 0, "SET_VRING_CALL is refused");
	expect_io(&guest, 1);
	guest_close(&guest);
	refuse_overflown(target);
	block_worker(target, pipe_fds[1]);
	block_worker(target, full);
	close(full);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void o16(struct target *target)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (int round = 0; round < 300; round++) {
		struct vm_ring *ring = &guest.vm.rings[0];

		vm_blk_add(ring, &guest.slots[0], VM_BLK_T_IN, 0, 4096);
		vm_ring_arm(ring);
		vm_ring_kick(ring);
		close(ring->call_fd);
		ring->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		expect(vm_do_ring(&guest.vm, STEP_CALL, 0) == 0, "SET_VRING_CALL is refused");
		expect(vm_ring_wait(ring, SOON_MS) == 0, "a call is lost");
		guest_take(&guest, 0);
	}
	guest_close(&guest);
}

const struct input notify_inputs[] = {
	{.id = "O11",
	 .description = "a ring index beyond the queues in every message that has one",
	 .run = o11},
	{.id = "O12", .description = "a u64 with a good ring index and bits above it", .run = o12},
	{.id = "O13", .description = "an fd with the no-fd bit, and neither", .run = o13},
	{.id = "O14",
	 .description = "an fd that is no eventfd; one eventfd for two rings",
	 .run = o14},
	{.id = "O15", .description = "a call fd that is full", .run = o15},
	{.id = "O16", .description = "the call fd replaced during completions", .run = o16},
	{0},
};
