// SPDX-License-Identifier: Apache-2.0
//
// What a packed ring does in its own way, for ring.c.
#pragma once

#include "tests/frontend/ring.h"

/* As vm_ring_add_mixed, which has checked that there is room. */
int packed_add(struct vm_ring *ring, const struct vm_buffer *buffers, unsigned count,
	       unsigned direct, void *cookie);
bool packed_show(struct vm_ring *ring);
bool packed_has_completion(const struct vm_ring *ring);
/* There is one. */
int packed_take(struct vm_ring *ring, struct vm_completion *completion);
void packed_arm(struct vm_ring *ring);
void packed_disarm(struct vm_ring *ring);
uint32_t packed_base(const struct vm_ring *ring);
