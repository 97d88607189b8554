// SPDX-License-Identifier: Apache-2.0
// Takes the input apart.
#include <string.h>

#include "tests/fuzz/fuzz.h"

void fuzz_bytes(struct fuzz_input *input, void *bytes, size_t len)
{
	size_t part = min_size(len, input->left);

	memset(bytes, 0, len);
	if (part > 0)
		memcpy(bytes, input->next, part);
	input->next += part;
	input->left -= part;
}

#define NUMBER(type) \
	type fuzz_##type(struct fuzz_input *input) \
	{ \
		type value; \
\
		fuzz_bytes(input, &value, sizeof(value)); \
		return value; \
	}
NUMBER(u8)
NUMBER(u16)
NUMBER(u32)
