// SPDX-License-Identifier: Apache-2.0
// A region of chains in flight as a front-end may have it: never used, or left by some process, or forged.
#pragma once

#include "tests/fuzz/fuzz.h"

enum fuzz_region_kind { FUZZ_FORGED = 1, FUZZ_FORGED_PACKED = 2, FUZZ_CUT = 4 };

// `kind`: bits of enum fuzz_region_kind. As long as it is said to be, so that each byte behind it is an error; to be freed.
u8 *fuzz_region(struct fuzz_input *input, u8 kind, size_t *len);
