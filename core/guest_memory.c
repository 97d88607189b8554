// SPDX-License-Identifier: Apache-2.0
// Maps, unmaps and looks up the regions of guest memory.
#include "core/guest_memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"

static bool ranges_overlap(u64 a, u64 a_len, u64 b, u64 b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int check_range(const struct guest_memory *memory, struct guest_addr guest,
		       struct frontend_addr frontend, u64 len)
{
	u64 end;

	if (len == 0)
		return log_errno(-EINVAL, "memory region at %#" PRIx64 " is empty", guest.value);
	if (add_overflows(guest.value, len, &end) || add_overflows(frontend.value, len, &end))
		return log_errno(-EINVAL,
				 "memory region at %#" PRIx64 " of %#" PRIx64 " bytes wraps",
				 guest.value, len);
	for (unsigned i = 0; i < memory->count; i++) {
		const struct guest_region *other = &memory->regions[i];

		if (ranges_overlap(guest.value, len, other->guest.value, other->len) ||
		    ranges_overlap(frontend.value, len, other->frontend.value, other->len))
			return log_errno(-EINVAL,
					 "memory region at %#" PRIx64
					 " overlaps the one at %#" PRIx64,
					 guest.value, other->guest.value);
	}
	return 0;
}

static void insert_sorted(struct guest_memory *memory, const struct guest_region *region)
{
	unsigned at = memory->count;

	while (at > 0 && memory->regions[at - 1].guest.value > region->guest.value) {
		memory->regions[at] = memory->regions[at - 1];
		at--;
	}
	memory->regions[at] = *region;
	memory->count++;
}

int guest_memory_add(struct guest_memory *memory, struct guest_addr guest,
		     struct frontend_addr frontend, u64 len, u64 offset, int fd)
{
	struct guest_region region = {.guest = guest, .frontend = frontend, .len = len};
	char name[48];
	int error;

	if (memory->count == GUEST_MEMORY_SLOTS)
		return log_errno(-ENOSPC, "memory region at %#" PRIx64 ": all %d slots are taken",
				 guest.value, GUEST_MEMORY_SLOTS);
	error = check_range(memory, guest, frontend, len);
	if (error)
		return error;
	snprintf(name, sizeof(name), "memory region at %#" PRIx64, guest.value);
	error = shared_map_open(&region.map, name, len, offset, fd);
	if (error)
		return error;
	region.host = region.map.bytes;
	insert_sorted(memory, &region);
	return 0;
}

int guest_memory_remove(struct guest_memory *memory, struct guest_addr guest,
			struct frontend_addr frontend, u64 len)
{
	for (unsigned i = 0; i < memory->count; i++) {
		struct guest_region *region = &memory->regions[i];

		if (region->guest.value != guest.value ||
		    region->frontend.value != frontend.value || region->len != len)
			continue;
		shared_map_close(&region->map);
		memory->count--;
		memmove(region, region + 1, (memory->count - i) * sizeof(*region));
		return 0;
	}
	return log_errno(-ENOENT,
			 "no memory region at %#" PRIx64 " of %#" PRIx64 " bytes to remove",
			 guest.value, len);
}

void guest_memory_clear(struct guest_memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++)
		shared_map_close(&memory->regions[i].map);
	memory->count = 0;
}

bool guest_memory_is_blank(const struct guest_memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++)
		if (!memory->regions[i].map.blank)
			return false;
	return memory->count > 0;
}

static bool region_holds(const struct guest_region *region, struct guest_addr addr)
{
	return addr.value >= region->guest.value && addr.value - region->guest.value < region->len;
}

const struct guest_region *guest_memory_find(const struct guest_memory *memory,
					     struct guest_addr addr, unsigned *hint)
{
	unsigned low = 0, high = memory->count;

	if (likely(*hint < memory->count && region_holds(&memory->regions[*hint], addr)))
		return &memory->regions[*hint];
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct guest_region *region = &memory->regions[middle];

		if (region_holds(region, addr)) {
			*hint = middle;
			return region;
		}
		if (addr.value < region->guest.value)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

void *guest_memory_ring(const struct guest_memory *memory, struct frontend_addr addr, u64 len)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];
		u64 offset = addr.value - region->frontend.value;

		if (addr.value >= region->frontend.value && offset < region->len &&
		    len <= region->len - offset)
			return region->host + offset;
	}
	return NULL;
}

static bool region_maps(const struct guest_region *region, const u8 *host)
{
	return host >= region->host && (u64)(host - region->host) < region->len;
}

bool guest_memory_address(const struct guest_memory *memory, const void *host, unsigned *hint,
			  u64 *guest_addr)
{
	for (unsigned i = 0; i < memory->count; i++) {
		unsigned at = (*hint + i) % memory->count;
		const struct guest_region *region = &memory->regions[at];

		if (!region_maps(region, host))
			continue;
		*hint = at;
		*guest_addr = region->guest.value + (u64)((const u8 *)host - region->host);
		return true;
	}
	return false;
}

int guest_memory_read(const struct guest_memory *memory, struct guest_addr addr, void *buffer,
		      size_t len)
{
	unsigned hint = 0;
	u8 *to = buffer;

	while (len > 0) {
		const struct guest_region *region = guest_memory_find(memory, addr, &hint);

		if (!region)
			return -EFAULT;
		u64 offset = addr.value - region->guest.value;
		size_t part = min_size(len, region->len - offset);

		memcpy(to, region->host + offset, part);
		to += part;
		len -= part;
		addr.value += part; // cannot wrap: no region reaches past 2^64
	}
	return 0;
}
