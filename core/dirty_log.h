// SPDX-License-Identifier: Apache-2.0
// The bitmap in which a front-end that migrates its guest learns what we have written (vhost-user.rst, "Migration"): a bit for
// each 4 KiB of guest memory. Set by control while no ring runs; marked by all workers.
#pragma once

#include "core/guest_memory.h"

struct dirty_log {
	struct shared_map map; // nothing is mapped: there is no log
	int event_fd;	       // signalled when something was marked; -1: none; owned
};

static inline bool dirty_log_is_open(const struct dirty_log *log)
{
	return log->map.bytes != NULL;
}

// Takes the place of the log before. 0, or -errno, logged and nothing changed.
must_check int dirty_log_open(struct dirty_log *log, u64 len, u64 offset, int fd);
void dirty_log_close(struct dirty_log *log);

// Marks `len` bytes at a guest address. What lies beyond the log is skipped: the front-end has not asked for it.
void dirty_log_mark(const struct dirty_log *log, u64 guest_addr, u64 len);

// Marks bytes by their place in this process, within one region. *hint as in guest_memory_find.
void dirty_log_mark_host(const struct dirty_log *log, const struct guest_memory *memory,
			 const void *host, u64 len, unsigned *hint);
