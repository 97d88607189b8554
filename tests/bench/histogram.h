// SPDX-License-Identifier: Apache-2.0
//
// A histogram of 64-bit values: powers of two, each cut into 64 buckets, so that a percentile is
// exact to 1.6 percent at any size.
#pragma once

#include <stdint.h>

enum {
	HISTOGRAM_SUB_BITS = 6,
	HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

struct histogram {
	uint64_t count;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(uint64_t value)
{
	unsigned shift;

	if (value >> HISTOGRAM_SUB_BITS == 0)
		return (unsigned)value;
	shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

/* The middle of a bucket. */
static inline double histogram_value(unsigned bucket)
{
	unsigned shift = bucket >> HISTOGRAM_SUB_BITS;
	uint64_t low = bucket & ((1u << HISTOGRAM_SUB_BITS) - 1);

	if (shift-- == 0)
		return (double)low;
	low = (low + (1u << HISTOGRAM_SUB_BITS)) << shift;
	return (double)low + (double)(UINT64_C(1) << shift) / 2;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->buckets[histogram_bucket(value)]++;
}

/* The value below which this part (0 to 1) of all values lies; 0 if there are none. */
static inline double histogram_percentile(const struct histogram *histogram, double part)
{
	uint64_t wanted = (uint64_t)((double)histogram->count * part), seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen > wanted)
			return histogram_value(i);
	}
	return 0;
}
