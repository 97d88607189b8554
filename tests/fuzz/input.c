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

u8 fuzz_u8(struct fuzz_input *input)
{
	u8 value;

	fuzz_bytes(input, &value, sizeof(value));
	return value;
}

u16 fuzz_u16(struct fuzz_input *input)
{
	u16 value;

	fuzz_bytes(input, &value, sizeof(value));
	return value;
}

u32 fuzz_u32(struct fuzz_input *input)
{
	u32 value;

	fuzz_bytes(input, &value, sizeof(value));
	return value;
}

u64 fuzz_u64(struct fuzz_input *input)
{
	u64 value;

	fuzz_bytes(input, &value, sizeof(value));
	return value;
}
