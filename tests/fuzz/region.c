// SPDX-License-Identifier: Apache-2.0
// Forges regions of chains in flight.
#include "tests/fuzz/region.h"

#include <stdlib.h>
#include <string.h>

#include "core/inflight_region.h"
#include "tests/fuzz/rings.h"

static void forge_split(struct inflight_split *split, struct fuzz_input *input, u8 count)
{
	split->last_batch_head = fuzz_u8(input);
	split->used_idx = (u16)(fuzz_u8(input) - 1);
	for (u8 i = 0; i < count; i++) {
		u8 mark = fuzz_u8(input);

		split->desc[i].inflight = mark & 3;
		split->desc[i].next = mark >> 2;
		split->desc[i].counter = fuzz_u8(input);
	}
}

static void forge_packed(struct inflight_packed *packed, struct fuzz_input *input, u8 count)
{
	packed->free.head = fuzz_u8(input);
	packed->free.old_head = fuzz_u8(input);
	packed->used.idx = fuzz_u8(input);
	packed->used.old_idx = fuzz_u8(input);
	packed->used.wrap = fuzz_u8(input);
	packed->used.old_wrap = fuzz_u8(input);
	for (u8 i = 0; i < count; i++) {
		u8 mark = fuzz_u8(input), addr = fuzz_u8(input);

		packed->desc[i] =
			(struct inflight_packed_desc){.inflight = mark & 3,
						      .next = mark >> 2,
						      .last = fuzz_u8(input),
						      .num = fuzz_u8(input),
						      .counter = fuzz_u8(input),
						      .id = fuzz_u8(input),
						      .flags = fuzz_u8(input),
						      .len = fuzz_u8(input),
						      .addr = FUZZ_GUEST + (u64)addr * 256};
	}
}

// As another process, or a forger, would have left it.
static void forge(void *region, struct fuzz_input *input, bool packed)
{
	struct inflight_split *head = region;
	u8 count = fuzz_u8(input) % (FUZZ_RING_MAX + 1), odd;

	head->desc_num = fuzz_u8(input);
	odd = fuzz_u8(input);
	head->version = odd & 1 ? odd >> 2 : INFLIGHT_VERSION;
	head->features = odd & 2;
	if (packed)
		forge_packed(region, input, count);
	else
		forge_split(region, input, count);
}

u8 *fuzz_region(struct fuzz_input *input, u8 kind, size_t *len)
{
	static _Alignas(u64) u8 whole[UINT8_MAX * sizeof(u64) + INFLIGHT_HEAD_LEN];
	u8 *region;

	*len = inflight_len(FUZZ_RING_MAX);
	memset(whole, 0, sizeof(whole));
	if (kind & FUZZ_FORGED)
		forge(whole, input, kind & FUZZ_FORGED_PACKED);
	if (kind & FUZZ_CUT)
		*len = fuzz_u8(input) * sizeof(u64) + INFLIGHT_HEAD_LEN;
	region = malloc(*len);
	assert(region);
	memcpy(region, whole, *len);
	return region;
}
