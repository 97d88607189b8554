// SPDX-License-Identifier: Apache-2.0
// Numbers, addresses and lengths at random, and the comparison of what came of them.
#include "tests/unit/model_play.h"

#include <inttypes.h>

#include "core/sys.h"

struct unit_ring ring;
u64 features;
struct model_chain expected;
struct chain *in_flight[MOST_IN_FLIGHT];
unsigned in_flight_count;
u64 verdicts[MODEL_BROKEN + 1];
static u64 random_seed;

// ---- what drivers write ----

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

// ---- the comparison ----

// Where the core has a guest address.
static const u8 *core_host(u64 addr)
{
	for (unsigned i = 0; i < ring.memory.count; i++) {
		const struct guest_region *region = &ring.memory.regions[i];

		if (addr >= region->guest.value && addr - region->guest.value < region->len)
			return region->host + (addr - region->guest.value);
	}
	return NULL;
}

static void expect_segments(const struct iovec *found, unsigned count,
			    const struct model_segment *wanted, unsigned wanted_count)
{
	assert_int_equal(count, wanted_count);
	for (unsigned i = 0; i < count; i++) {
		assert_ptr_equal(found[i].iov_base, core_host(wanted[i].addr));
		assert_int_equal(found[i].iov_len, wanted[i].len);
	}
}

void expect_chain(struct chain *chain)
{
	const struct iovec *segments;
	unsigned count;

	assert_non_null(chain);
	assert(chain);
	assert_int_equal(chain->head, expected.head);
	assert_true(chain_readable_len(chain) + chain_writable_len(chain) == expected.len);
	segments = chain_readable_iov(chain, &count);
	expect_segments(segments, count, expected.readable, expected.readable_count);
	segments = chain_writable_iov(chain, &count);
	expect_segments(segments, count, expected.writable, expected.writable_count);
	in_flight[in_flight_count++] = chain;
}

static u64 number_of(const char *name, u64 otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

// cmocka leaves a test that fails by longjmp, so the seed is said before.
void play_all(const u16 *sizes, size_t count, u64 chains, void (*open)(u16 size, bool indirect),
	      void (*play)(u64 chains))
{
	u64 each = number_of("VRING_MODEL_CHAINS", chains) / (2 * count);

	random_seed = number_of("VRING_MODEL_SEED", sys_clock_ns());
	print_message("# VRING_MODEL_SEED=%" PRIu64 "\n", random_seed);
	for (size_t i = 0; i < 2 * count; i++) {
		open(sizes[i / 2], i % 2 == 0);
		play(each);
		unit_ring_close(&ring);
	}
	print_message("# %" PRIu64 " taken, %" PRIu64 " refused, %" PRIu64 " broke the ring\n",
		      verdicts[MODEL_TAKEN], verdicts[MODEL_REFUSED], verdicts[MODEL_BROKEN]);
}
