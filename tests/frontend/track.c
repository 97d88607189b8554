// SPDX-License-Identifier: Apache-2.0
//
// What a VMM shares for crash recovery and for migration.

#include "tests/frontend/track.h"

#include <errno.h>
#include <sys/mman.h>

enum { LOG_PAGE = 4096 };

int vm_share_inflight(struct vm *vm)
{
	uint16_t size =
		vm->options.inflight_size ? vm->options.inflight_size : vm->options.queue_size;
	int64_t answer;
	int error = 0;

	if (!(vm->protocol_features & VU_BIT(VU_PROTOCOL_F_INFLIGHT_SHMFD)))
		return 0;
	if (vm->inflight_fd < 0)
		error = frontend_get_inflight_fd(&vm->frontend, (uint16_t)vm->queues, size,
						 &vm->inflight, &vm->inflight_fd);
	if (error)
		return error;
	answer = frontend_set_inflight_fd(&vm->frontend, &vm->inflight, vm->inflight_fd);
	return answer > 0 ? -EREMOTEIO : (int)answer;
}

static uint64_t memory_end(const struct vm_memory *memory)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < memory->count; i++) {
		const struct vu_region *region = &memory->regions[i].wire;

		if (region->guest_addr + region->size > end)
			end = region->guest_addr + region->size;
	}
	return end;
}

int vm_share_log(struct vm *vm)
{
	if (!(vm->protocol_features & VU_BIT(VU_PROTOCOL_F_LOG_SHMFD)) ||
	    !(vm->features & VU_BIT(VM_F_LOG_ALL)))
		return 0;
	if (vm->log_fd < 0) {
		vm->log_len = (memory_end(&vm->memory) / LOG_PAGE + 63) / 64 * 8;
		vm->log_fd = vm_memory_file(vm->log_len);
	}
	return vm->log_fd < 0 ? vm->log_fd
			      : frontend_set_log_base(&vm->frontend, vm->log_len, 0, vm->log_fd);
}

void *vm_map_inflight(const struct vm *vm)
{
	void *map = mmap(NULL, vm->inflight.size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vm->inflight_fd, (off_t)vm->inflight.offset);

	return map == MAP_FAILED ? NULL : map;
}
