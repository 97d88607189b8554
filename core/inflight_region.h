// SPDX-License-Identifier: Apache-2.0
// How the region of chains in flight is laid out (vhost-user.rst, "Inflight I/O tracking"), and access to it. Native byte order.
#pragma once

#include "core/inflight.h"

enum { INFLIGHT_VERSION = 1 };

// Both layouts begin so.
struct inflight_head {
	u64 features;
	u16 version, desc_num;
} __attribute__((may_alias));

struct inflight_split_desc {
	u8 inflight;
	u8 padding[5];
	u16 next;
	u64 counter;
};

struct inflight_split {
	u64 features;
	u16 version, desc_num;
	u16 last_batch_head, used_idx;
	struct inflight_split_desc desc[];
};

struct inflight_packed_desc {
	u8 inflight, padding;
	u16 next, last, num;
	u64 counter;
	u16 id, flags;
	u32 len;
	u64 addr;
};

// Where the list of free entries begins. Each of these two structs is stored at once, so that no death tears it.
struct inflight_free {
	u16 head, old_head;
};

// Where used descriptors go next.
struct inflight_used {
	u16 idx, old_idx;
	u8 wrap, old_wrap;
	u8 padding[2];
};

struct inflight_packed {
	u64 features;
	u16 version, desc_num;
	union {
		struct inflight_free free;
		u32 free_bits;
	};
	union {
		struct inflight_used used;
		u64 used_bits;
	};
	u8 padding[8];
	struct inflight_packed_desc desc[];
};

static_assert(sizeof(struct inflight_split) == 16, "vhost-user.rst: QueueRegionSplit");
static_assert(sizeof(struct inflight_split_desc) == 16, "vhost-user.rst: DescStateSplit");
static_assert(sizeof(struct inflight_packed) == 32, "vhost-user.rst: QueueRegionPacked");
static_assert(offsetof(struct inflight_packed, used) == 16, "vhost-user.rst: QueueRegionPacked");
static_assert(sizeof(struct inflight_packed_desc) == 32, "vhost-user.rst: DescStatePacked");

// One load or store of the region: what the next process finds is what was stored up to a moment, in this order.
#define region_get(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define region_set(field, value) \
	__atomic_store_n(&(field), (__typeof__(field))(value), __ATOMIC_RELEASE)

// Adds a chain to those that were left.
static inline void inflight_add_left(struct inflight *inflight, u64 counter, u16 entry, u16 last)
{
	inflight->left[inflight->left_count++] =
		(struct inflight_chain){.counter = counter, .entry = entry, .last = last};
}

// Sorts them by their counters, and goes on counting behind.
void inflight_sort_left(struct inflight *inflight);

// Notes what cannot be believed: -EPROTO.
must_check int inflight_distrust(struct inflight *inflight, const char *what, u64 value);

enum inflight_use {
	INFLIGHT_UNUSED, // by this layout and size
	INFLIGHT_OURS, // after a pause of the ring: nothing is in flight but what is left, and only the driver may have begun anew
	INFLIGHT_LEFT, // by another process
};

// A ring of num entries starts, for which the region is long enough: who has used the region before. Unless that is ours, all
// that is private is forgotten. -EPROTO as inflight_split_start.
must_check int inflight_begin(struct inflight *inflight, u16 num, bool packed);
