// SPDX-License-Identifier: Apache-2.0
// What drivers at random, good and bad, write into descriptors, in guest memory as tests/unit/ring.h lays it out.
#pragma once

#include "core/base.h"

// Where the numbers are; a test sets it.
extern u64 random_seed;

// 0 to limit - 1; true once in n times.
unsigned below(unsigned limit);
bool one_in(unsigned n);

// In guest memory more often than not; of a good driver always.
u64 some_addr(void);
u32 some_len(void);
u64 good_addr(void);

u64 number_of(const char *name, u64 otherwise); // in the environment
