// SPDX-License-Identifier: Apache-2.0
//
// Postcopy as a VMM does it (the kernel's userfaultfd.rst).

#include "tests/frontend/postcopy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)

/* Receives an answer with one fd and no payload. */
static int receive_fd(struct frontend *frontend, uint32_t request, int *fd)
{
	struct frontend_message reply;
	int error = frontend_receive(frontend, &reply);

	if (error)
		return error;
	if (reply.header.request != request || reply.header.size != 0 || reply.fd_count != 1) {
		frontend_close_fds(&reply);
		return -EPROTO;
	}
	*fd = reply.fds[0];
	return 0;
}

static void make_present(const struct vm_region *region)
{
	for (uint64_t at = 0; at < region->wire.size; at += PAGE)
		((volatile uint8_t *)region->host)[at] = region->host[at];
}

int vm_listen(struct vm *vm)
{
	struct frontend *frontend = &vm->frontend;
	int64_t answer;
	int error = frontend_send(frontend, VU_POSTCOPY_ADVISE, VU_VERSION, NULL, 0, NULL, 0);

	for (unsigned i = 0; i < vm->memory.count; i++)
		make_present(&vm->memory.regions[i]);
	if (!error)
		error = receive_fd(frontend, VU_POSTCOPY_ADVISE, &vm->userfault_fd);
	if (error)
		return error;
	answer = frontend_call(frontend, VU_POSTCOPY_LISTEN, NULL, 0, NULL, 0);
	return answer > 0 ? -EREMOTEIO : (int)answer;
}

/* Sends regions, which come back with their addresses there. */
static int send_regions(struct frontend *frontend, uint32_t request, void *payload, size_t size,
			const int *fds, size_t count)
{
	struct frontend_message reply;
	int error =
		frontend_send(frontend, request, VU_VERSION, payload, (uint32_t)size, fds, count);

	if (!error)
		error = frontend_receive_reply(frontend, request, &reply);
	if (!error && reply.header.size != size)
		error = -EPROTO;
	if (!error)
		memcpy(payload, &reply.payload, size);
	return error;
}

static int send_table(struct vm *vm)
{
	struct vu_mem_table table = {.count = vm->memory.count};
	size_t size = offsetof(struct vu_mem_table, regions) +
		      vm->memory.count * sizeof(table.regions[0]);
	int fds[VM_MEMORY_REGIONS], error;

	for (unsigned i = 0; i < vm->memory.count; i++) {
		table.regions[i] = vm->memory.regions[i].wire;
		fds[i] = vm->memory.regions[i].fd;
	}
	error = send_regions(&vm->frontend, VU_SET_MEM_TABLE, &table, size, fds, vm->memory.count);
	for (unsigned i = 0; i < vm->memory.count; i++)
		vm->bases_there[i] = table.regions[i].user_addr;
	return error;
}

static int send_slot(struct vm *vm, unsigned index)
{
	const struct vm_region *region = &vm->memory.regions[index];
	struct vu_single_region single = {.region = region->wire};
	int error = send_regions(&vm->frontend, VU_ADD_MEM_REG, &single, sizeof(single),
				 &region->fd, 1);

	vm->bases_there[index] = single.region.user_addr;
	return error;
}

int vm_share_later(struct vm *vm)
{
	bool slots = vm->protocol_features & VU_BIT(VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
	const uint64_t word = 0;
	int error = 0;

	if (!slots)
		error = send_table(vm);
	for (unsigned i = 0; slots && i < vm->memory.count && !error; i++)
		error = send_slot(vm, i);
	if (error)
		return error;
	return frontend_send(&vm->frontend, slots ? VU_ADD_MEM_REG : VU_SET_MEM_TABLE, VU_VERSION,
			     &word, sizeof(word), NULL, 0);
}

int vm_postcopy_end(struct vm *vm)
{
	uint64_t answer;
	int error = frontend_ask(&vm->frontend, VU_POSTCOPY_END, NULL, 0, &answer, sizeof(answer));

	return !error && answer != 0 ? -EREMOTEIO : error;
}

int vm_memory_punch(const struct vm *vm, uint64_t guest_addr, uint64_t len)
{
	const struct vm_region *region = vm->memory.regions;

	while (guest_addr - region->wire.guest_addr >= region->wire.size)
		region++;
	return fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)(guest_addr - region->wire.guest_addr + region->wire.mmap_offset),
			 (off_t)len)
		       ? -errno
		       : 0;
}

int vm_wait_for_fault(const struct vm *vm, int timeout_ms, uint64_t *guest_addr)
{
	struct pollfd readable = {.fd = vm->userfault_fd, .events = POLLIN};
	struct uffd_msg message;
	int count = poll(&readable, 1, timeout_ms);

	if (count <= 0)
		return count ? -errno : -ETIMEDOUT;
	if (read(vm->userfault_fd, &message, sizeof(message)) != sizeof(message))
		return -EIO;
	for (unsigned i = 0; i < vm->memory.count; i++) {
		const struct vu_region *region = &vm->memory.regions[i].wire;
		uint64_t offset = message.arg.pagefault.address - vm->bases_there[i];

		*guest_addr = region->guest_addr + (offset & ~(PAGE - 1));
		if (message.event == UFFD_EVENT_PAGEFAULT && offset < region->size)
			return 0;
	}
	return -EFAULT;
}

int vm_wake(const struct vm *vm, uint64_t guest_addr)
{
	for (unsigned i = 0; i < vm->memory.count; i++) {
		uint64_t offset = guest_addr - vm->memory.regions[i].wire.guest_addr;
		struct uffdio_range range = {.start = vm->bases_there[i] + offset, .len = PAGE};

		if (offset < vm->memory.regions[i].wire.size)
			return ioctl(vm->userfault_fd, UFFDIO_WAKE, &range) ? -errno : 0;
	}
	return -EFAULT;
}
