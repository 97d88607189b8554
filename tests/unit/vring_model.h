// SPDX-License-Identifier: Apache-2.0
// What a device must make of what is in a ring, written from VIRTIO 1.3 alone (2.7 "Split Virtqueues", 2.8 "Packed Virtqueues") and
// the rows V and P of docs/conformance.md, without regard to core/: tests hold the core's walkers against it. It sees memory as the
// front-end does (tests/frontend/).
#pragma once

#include <stdint.h>

#include "tests/frontend/ring.h"

enum model_verdict {
	MODEL_EMPTY,   // nothing is available
	MODEL_TAKEN,   // a chain that the device gets
	MODEL_REFUSED, // used with length 0
	MODEL_BROKEN,  // the ring breaks
};

enum { MODEL_MAX_SEGMENTS = 1280, MODEL_MIN_TABLE = 1024 };

struct model_segment {
	uint64_t addr, len; // guest address, bytes
};

// Buffers of either direction, in order, one segment for each region that one is in.
struct model_chain {
	uint16_t head;
	unsigned readable_count, writable_count;
	uint64_t len;
	struct model_segment readable[MODEL_MAX_SEGMENTS], writable[MODEL_MAX_SEGMENTS];
};

// What the model knows of a ring beside its memory.
struct vring_model {
	const struct vm_memory *memory;
	const struct vm_ring *ring;
	bool indirect; // VIRTIO_F_INDIRECT_DESC
	uint16_t next; // available entry
	bool in_flight[VM_RING_MAX];
};

// Looks at the next available entry of a split ring. A chain that is taken is in flight until the test ends that.
enum model_verdict vring_model_split(struct vring_model *model, struct model_chain *chain);

// What the model knows of a packed ring: its descriptors as they are in memory, and where the device goes on.
struct vring_packed_model {
	const struct vm_memory *memory;
	struct vm_packed_desc desc[VM_RING_MAX];
	uint16_t size;
	bool indirect;
	uint16_t next;
	bool wrap;			 // 2.8.1 "Driver and Device Ring Wrap Counters"
	uint16_t in_flight[VM_RING_MAX]; // descriptors of the chain of each buffer id
	unsigned untold; // descriptors that are used, and the driver has not been told
	bool tell;	 // it has to be now
};

// The same of a packed ring. What is refused is in flight, too.
enum model_verdict vring_model_packed(struct vring_packed_model *model, struct model_chain *chain);

// ---- for models of other layouts ----

// Adds a descriptor's buffer to the chain: MODEL_TAKEN if that can be.
enum model_verdict model_add_buffer(const struct vm_memory *memory, struct model_chain *chain,
				    uint64_t addr, uint32_t len, bool writable);
// Copies guest memory, which may cross regions; false if not all of it is there.
bool model_read(const struct vm_memory *memory, uint64_t addr, void *bytes, uint64_t len);
