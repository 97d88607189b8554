// SPDX-License-Identifier: Apache-2.0
// A ring that a driver plays with at random, good and bad, and whose chains must be as tests/unit/vring_model.h has them: what split
// and packed rings have in common.
#pragma once

#include "tests/unit/ring.h"
#include "tests/unit/vring_model.h"

enum { MOST_IN_FLIGHT = 32, MOST_BUFFERS = 24 };

extern struct unit_ring ring;
extern u64 features;
extern struct model_chain expected;
extern struct chain *in_flight[MOST_IN_FLIGHT];
extern unsigned in_flight_count;
extern u64 verdicts[MODEL_BROKEN + 1]; // how many of each

// The core's chain must be the one that is expected, and is in flight from here on.
void expect_chain(struct chain *chain);

// Opens a ring of each of these sizes, with indirect tables and without, and plays `chains` chains on all of them together, or
// VRING_MODEL_CHAINS. What failed is found again with VRING_MODEL_SEED=number.
void play_all(const u16 *sizes, size_t count, u64 chains, void (*open)(u16 size, bool indirect),
	      void (*play)(u64 chains));

// 0 to limit - 1; true once in n times.
unsigned below(unsigned limit);
bool one_in(unsigned n);

// In guest memory more often than not; of a good driver always.
u64 some_addr(void);
u32 some_len(void);
u64 good_addr(void);
