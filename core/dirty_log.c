// SPDX-License-Identifier: Apache-2.0
// Marks pages. The front-end takes bits away at any time, so each is set by an atomic operation.
#include "core/dirty_log.h"

enum { LOG_PAGE_SHIFT = 12 }; // vhost-user.rst, "Migration": VHOST_LOG_PAGE 0x1000

int dirty_log_open(struct dirty_log *log, u64 len, u64 offset, int fd)
{
	struct shared_map map;
	int error = shared_map_open(&map, "dirty log", len, offset, fd);

	if (error)
		return error;
	shared_map_close(&log->map);
	log->map = map;
	return 0;
}

void dirty_log_close(struct dirty_log *log)
{
	shared_map_close(&log->map);
	close_fd(&log->event_fd);
}

static void mark_page(const struct dirty_log *log, u64 page)
{
	u8 *byte = &log->map.bytes[page / 8];
	u8 bit = (u8)(1u << page % 8);

	if (!(__atomic_load_n(byte, __ATOMIC_RELAXED) & bit))
		__atomic_fetch_or(byte, bit, __ATOMIC_RELAXED);
}

void dirty_log_mark(const struct dirty_log *log, u64 guest_addr, u64 len)
{
	u64 end, last;

	if (len == 0 || add_overflows(guest_addr, len - 1, &end))
		return;
	last = min_u64(end >> LOG_PAGE_SHIFT, log->map.len * 8 - 1);
	// what was written is visible before the front-end takes the bit and copies the page
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (u64 page = guest_addr >> LOG_PAGE_SHIFT; page <= last; page++)
		mark_page(log, page);
}

void dirty_log_mark_host(const struct dirty_log *log, const struct guest_memory *memory,
			 const void *host, u64 len, unsigned *hint)
{
	u64 guest_addr;

	if (guest_memory_address(memory, host, hint, &guest_addr))
		dirty_log_mark(log, guest_addr, len);
}
