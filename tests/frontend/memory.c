// SPDX-License-Identifier: Apache-2.0
//
// Guest memory made of memfds.

#include "tests/frontend/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int vm_memory_file(uint64_t size)
{
	int fd = memfd_create("guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

int vm_memory_add_file(struct vm_memory *memory, int fd, uint64_t offset, uint64_t guest_addr,
		       uint64_t size, uint64_t user_addr)
{
	struct vm_region *region = &memory->regions[memory->count];
	void *host;

	if (memory->count == VM_MEMORY_REGIONS)
		return -ENOSPC;
	host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (host == MAP_FAILED)
		return -errno;
	region->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (region->fd < 0) {
		int error = -errno;

		munmap(host, size);
		return error;
	}
	region->host = host;
	region->used = 0;
	region->wire = (struct vu_region){
		.guest_addr = guest_addr == VM_GUEST_ADDR_IS_HOST ? (uintptr_t)host : guest_addr,
		.size = size,
		.user_addr = user_addr ? user_addr : (uintptr_t)host,
		.mmap_offset = offset,
	};
	return (int)memory->count++;
}

int vm_memory_add(struct vm_memory *memory, uint64_t guest_addr, uint64_t size, uint64_t user_addr)
{
	int fd = vm_memory_file(size);
	int index;

	if (fd < 0)
		return fd;
	index = vm_memory_add_file(memory, fd, 0, guest_addr, size, user_addr);
	close(fd);
	return index;
}

void vm_memory_free(struct vm_memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		munmap(memory->regions[i].host, memory->regions[i].wire.size);
		close(memory->regions[i].fd);
	}
	memory->count = 0;
}

static const struct vm_region *find(const struct vm_memory *memory, uint64_t guest_addr,
				    uint64_t len)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct vm_region *region = &memory->regions[i];
		uint64_t delta = guest_addr - region->wire.guest_addr;

		if (guest_addr >= region->wire.guest_addr && delta < region->wire.size &&
		    len <= region->wire.size - delta)
			return region;
	}
	return NULL;
}

void *vm_memory_at(const struct vm_memory *memory, uint64_t guest_addr, uint64_t len)
{
	const struct vm_region *region = find(memory, guest_addr, len);

	return region ? region->host + (guest_addr - region->wire.guest_addr) : NULL;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "tests/frontend: %s\n", what);
	abort();
}

uint64_t vm_memory_user_addr(const struct vm_memory *memory, uint64_t guest_addr)
{
	const struct vm_region *region = find(memory, guest_addr, 1);

	if (!region)
		die("no region holds this guest address");
	return region->wire.user_addr + (guest_addr - region->wire.guest_addr);
}

/* Hands out room in one region; false if it has not enough. */
static bool take(struct vm_region *region, uint64_t len, uint64_t align, uint64_t *guest_addr)
{
	uint64_t next = region->wire.guest_addr + region->used;
	uint64_t start = (next + align - 1) & ~(align - 1);
	uint64_t used = start - region->wire.guest_addr + len;

	if (used > region->wire.size)
		return false;
	region->used = used;
	*guest_addr = start;
	return true;
}

uint64_t vm_memory_alloc_in(struct vm_memory *memory, unsigned region, uint64_t len, uint64_t align)
{
	uint64_t guest_addr;

	if (region >= memory->count || !take(&memory->regions[region], len, align, &guest_addr))
		die("the guest memory region is full");
	return guest_addr;
}

uint64_t vm_memory_alloc(struct vm_memory *memory, uint64_t len, uint64_t align)
{
	uint64_t guest_addr;

	for (unsigned i = 0; i < memory->count; i++) {
		if (take(&memory->regions[i], len, align, &guest_addr))
			return guest_addr;
	}
	die("the guest memory is full");
}
