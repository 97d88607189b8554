// SPDX-License-Identifier: Apache-2.0
//
// Entropy requests.

#include <errno.h>
#include "tests/frontend/rng.h"

void vm_rng_init(struct vm_rng *rng, struct vm *vm)
{
	*rng = (struct vm_rng){.vm = vm, .ring = &vm->rings[0]};
	rng->addr = vm_memory_alloc(&vm->memory, VM_RNG_BUFFER, 1);
	rng->data = vm_memory_at(&vm->memory, rng->addr, VM_RNG_BUFFER);
}

int vm_rng_ask(struct vm_rng *rng, uint32_t len)
{
	const struct vm_buffer buffer = {.addr = rng->addr, .len = len, .write = true};
	int head = len <= VM_RNG_BUFFER ? vm_ring_add(rng->ring, &buffer, 1, rng) : -E2BIG;

	if (head >= 0)
		vm_ring_kick(rng->ring);
	return head < 0 ? head : 0;
}

int vm_rng_wait(struct vm_rng *rng, int timeout_ms)
{
	struct vm_completion completion;
	int result = vm_ring_wait(rng->ring, timeout_ms);

	if (result)
		return result;
	result = vm_ring_take(rng->ring, &completion);
	if (result != 1 || completion.cookie != rng || completion.len > VM_RNG_BUFFER)
		return -EPROTO;
	return (int)completion.len;
}
