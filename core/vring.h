// SPDX-License-Identifier: Apache-2.0
// What a device sees of a ring: take a chain, answer it, in any order. All on the ring's worker.
#pragma once

#include "core/chain.h"
#include "core/worker.h"

struct vring;

// The next chain that the driver has made available, or NULL: none left, the turn's budget is used up (the
// core comes back by itself), or the ring is broken. A device that stops taking chains before NULL must
// call vring_wake() when it can go on.
struct chain *vring_pop(struct vring *vring);

// Answers a chain: `written` bytes of its writable part were filled from the front on. The chain is gone.
// Answers are published together, with at most one call signal, at the end of the worker's turn.
void vring_push(struct vring *vring, struct chain *chain, u32 written);

// Counts `len` bytes of work that the chains do not show towards the turn's budget.
void vring_spend(struct vring *vring, u64 len);

// Has the core call process_queue again in the worker's next turn.
void vring_wake(struct vring *vring);

// The ring is unusable because of what the driver wrote there (VIRTIO 1.3, 2.1.2 DEVICE_NEEDS_RESET, which
// GET_STATUS tells): vring_pop answers NULL from now on and the front-end's err eventfd is signalled.
// Logged once, with the reason.
printf_like(2, 3) void vring_break(struct vring *vring, const char *format, ...);

// The device's own memory for this chain, of the size it asked for; whatever the head's last chain left.
void *vring_request(const struct vring *vring, const struct chain *chain);

unsigned vring_index(const struct vring *vring);
struct worker *vring_worker(const struct vring *vring);

// True if no chain is between pop and push.
bool vring_idle(const struct vring *vring);
