// SPDX-License-Identifier: Apache-2.0
//
// The driver of an entropy device (VIRTIO 1.3, 5.4 "Entropy Device") on a ring of a started vm: one request at a time.
#pragma once

#include <stdint.h>
#include "tests/frontend/vm.h"

enum { VM_RNG_BUFFER = 1024 * 1024 };

struct vm_rng {
	struct vm *vm;
	struct vm_ring *ring;
	uint64_t addr; /* guest address of the buffer */
	uint8_t *data;
};

void vm_rng_init(struct vm_rng *rng, struct vm *vm);
/* Makes a request for len bytes, at most VM_RNG_BUFFER, available to the device. 0 or a negative errno. */
int vm_rng_ask(struct vm_rng *rng, uint32_t len);
/* Waits for the answer: how many bytes it wrote to rng->data, or -ETIMEDOUT: the request stays in the ring. */
int vm_rng_wait(struct vm_rng *rng, int timeout_ms);
