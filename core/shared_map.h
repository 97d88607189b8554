// SPDX-License-Identifier: Apache-2.0
// A part of a file that a front-end shares with us, mapped.
#pragma once

#include "core/base.h"

// The largest page of a file that can be shared: 1 GiB, in hugetlbfs.
#define SHARED_MAP_MAX_BLOCK (INT64_C(1) << 30)

struct shared_map {
	u8 *bytes; // the part's first byte; NULL: nothing is mapped
	u64 len;   // bytes of the part
	void *map; // the whole mapping, which may begin and end outside the part
	size_t map_len;
	u64 block_len; // bytes of a page of the file; a power of two
	bool blank;    // the file held nothing when it was mapped
};

// Maps `len` bytes of the file behind `fd`, from `offset` on. The fd remains the caller's and may be closed. `what` is for
// messages. 0; -EINVAL (empty, wraps, beyond the end of the file, no file to be read and written), or what mmap
// answers; the reason logged and nothing mapped.
must_check int shared_map_open(struct shared_map *map, const char *what, u64 len, u64 offset,
			       int fd);
void shared_map_close(struct shared_map *map);
