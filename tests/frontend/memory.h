// SPDX-License-Identifier: Apache-2.0
//
// Guest memory as a VMM has it: regions of memfds at chosen guest addresses, mapped here, with a
// bump allocator of guest addresses on top.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tests/frontend/wire.h"

enum {
	VM_MEMORY_REGIONS = 32,
};

/* As guest_addr: the region's guest address is the address at which it is mapped here. */
#define VM_GUEST_ADDR_IS_HOST UINT64_MAX

struct vm_region {
	struct vu_region wire; /* as SET_MEM_TABLE tells it */
	int fd;
	uint8_t *host;
	uint64_t used; /* bytes handed out by vm_memory_alloc */
};

struct vm_memory {
	struct vm_region regions[VM_MEMORY_REGIONS];
	unsigned count;
};

/* A new memfd of size bytes, or a negative errno. */
int vm_memory_file(uint64_t size);
/*
 * Maps size bytes at offset of the file as a region at guest_addr, and duplicates fd. user_addr is
 * the address told to the back-end as the front-end's own; 0 means where it is really mapped.
 * Returns the index of the region or a negative errno.
 */
int vm_memory_add_file(struct vm_memory *memory, int fd, uint64_t offset, uint64_t guest_addr,
		       uint64_t size, uint64_t user_addr);
/* The same on a memfd of its own. */
int vm_memory_add(struct vm_memory *memory, uint64_t guest_addr, uint64_t size, uint64_t user_addr);
void vm_memory_free(struct vm_memory *memory);

/* The mapping of [guest_addr, guest_addr + len), or NULL if it is not all inside one region. */
void *vm_memory_at(const struct vm_memory *memory, uint64_t guest_addr, uint64_t len);
/* The front-end address of a guest address, as SET_VRING_ADDR wants it. Aborts if not mapped. */
uint64_t vm_memory_user_addr(const struct vm_memory *memory, uint64_t guest_addr);

/* A guest address of len unused, zeroed bytes; aborts when memory is out. align: power of two. */
uint64_t vm_memory_alloc(struct vm_memory *memory, uint64_t len, uint64_t align);
uint64_t vm_memory_alloc_in(struct vm_memory *memory, unsigned region, uint64_t len,
			    uint64_t align);
