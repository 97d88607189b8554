// SPDX-License-Identifier: Apache-2.0
// The guest's memory as the front-end shares it: the only place where an address becomes a pointer.
// Written by the control thread while every ring is stopped; read by workers while rings run.
#pragma once

#include <sys/uio.h>

#include "core/shared_map.h"

// A guest-physical address (of buffers), and an address in the front-end's own space (of rings).
struct guest_addr {
	u64 value;
};
struct frontend_addr {
	u64 value;
};

// What GET_MAX_MEM_SLOTS answers; the kernel's vhost default.
enum { GUEST_MEMORY_SLOTS = 509 };

struct guest_region {
	struct guest_addr guest;
	struct frontend_addr frontend;
	u64 len;  // bytes, not 0; neither address + len wraps
	u8 *host; // where the region's first byte is mapped here
	struct shared_map map;
};

// Regions are sorted by guest address and overlap in neither address space.
struct guest_memory {
	unsigned count;
	struct guest_region regions[GUEST_MEMORY_SLOTS];
};

// Whether there is memory, and none of it held anything when it was shared.
bool guest_memory_is_blank(const struct guest_memory *memory);

// Maps `len` bytes of the file behind `fd`, from `offset` on, as a new region. The fd remains the caller's
// and may be closed. Nothing changes on error: -EINVAL (empty, wraps, overlaps, beyond the end of file, not
// a shareable file), -ENOSPC (no slot left), or what mmap answers. Logs the reason.
must_check int guest_memory_add(struct guest_memory *memory, struct guest_addr guest,
				struct frontend_addr frontend, u64 len, u64 offset, int fd);

// Unmaps the region with exactly these addresses and length; -ENOENT if there is none. Logs the reason.
must_check int guest_memory_remove(struct guest_memory *memory, struct guest_addr guest,
				   struct frontend_addr frontend, u64 len);

void guest_memory_clear(struct guest_memory *memory);

// The region that holds a guest address, or NULL. *hint is the caller's memory of the last answer, 0 at first.
const struct guest_region *guest_memory_find(const struct guest_memory *memory,
					     struct guest_addr addr, unsigned *hint);

// The pointer to `len` bytes of a ring at a front-end address, or NULL unless they lie in one region.
void *guest_memory_ring(const struct guest_memory *memory, struct frontend_addr addr, u64 len);

// The guest's address of a byte that the two functions above have led to. *hint as in guest_memory_find. False if there is none.
must_check bool guest_memory_address(const struct guest_memory *memory, const void *host,
				     unsigned *hint, u64 *guest_addr);

// Copies `len` bytes of guest memory, which may cross regions. 0, or -EFAULT if not all of it is mapped.
must_check int guest_memory_read(const struct guest_memory *memory, struct guest_addr addr,
				 void *buffer, size_t len);
