// SPDX-License-Identifier: Apache-2.0
// Numbers, addresses and lengths at random.
#include "tests/unit/random_buffers.h"

#include "tests/unit/ring.h"

u64 random_seed;

unsigned below(unsigned limit)
{
	assert(limit > 0);
	return unit_random(&random_seed) % limit;
}

bool one_in(unsigned n)
{
	return below(n) == 0;
}

u64 good_addr(void)
{
	return UNIT_RING_GUEST + below(2 * UNIT_RING_REGION - 65536);
}

u64 some_addr(void)
{
	const u64 border = UNIT_RING_GUEST + UNIT_RING_REGION, end = border + UNIT_RING_REGION;

	switch (below(64)) {
	case 0:
		return end - below(4096); // up to the end or beyond
	case 1:
		return UINT64_MAX - below(4096);
	case 2:
		return below(4096);
	case 3:
		return UNIT_RING_GUEST - 1 - below(16);
	case 4:
	case 5:
	case 6:
	case 7:
		return border - below(4096); // across the regions
	default:
		return good_addr();
	}
}

u32 some_len(void)
{
	switch (below(32)) {
	case 0:
		return 0;
	case 1:
		return UINT32_MAX - below(2);
	case 2:
		return below(2 * UNIT_RING_REGION);
	default:
		return below(one_in(8) ? 65536 : 4096) + 1;
	}
}

u64 number_of(const char *name, u64 otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}
