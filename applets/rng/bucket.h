// SPDX-License-Identifier: Apache-2.0
// A token bucket: so many bytes in each period, counted from when it was opened; what a period leaves is not saved.
#pragma once

#include "core/base.h"

struct bucket {
	u64 max_bytes; // of each period
	u64 period_ns;
	u64 began_ns; // when the present period began
	u64 tokens;   // bytes left of it
};

static inline void bucket_open(struct bucket *bucket, u64 max_bytes, u64 period_ns, u64 now_ns)
{
	*bucket = (struct bucket){.max_bytes = max_bytes,
				  .period_ns = period_ns,
				  .began_ns = now_ns,
				  .tokens = max_bytes};
}

// The bytes that may still be taken now. Times must not run backwards.
static inline u64 bucket_tokens(struct bucket *bucket, u64 now_ns)
{
	u64 periods = (now_ns - bucket->began_ns) / bucket->period_ns;

	if (periods > 0) {
		bucket->began_ns += periods * bucket->period_ns;
		bucket->tokens = bucket->max_bytes;
	}
	return bucket->tokens;
}

// Takes `bytes` of what bucket_tokens has just answered.
static inline void bucket_take(struct bucket *bucket, u64 bytes)
{
	bucket->tokens -= bytes;
}

// When the bucket is full again.
static inline u64 bucket_refill_ns(const struct bucket *bucket)
{
	return bucket->began_ns + bucket->period_ns;
}
