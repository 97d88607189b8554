// SPDX-License-Identifier: Apache-2.0
// The rng applet's ring, as a hostile driver has it.
#include "tests/fuzz/applet.h"
#include "tests/fuzz/rings.h"

extern const struct applet rng_applet;

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct fuzz_rings rings;
	struct fuzz_input input = {.next = data, .left = size};

	if (!rings.device) // a short chunk: the kernel's random bytes take most of the time
		fuzz_rings_open(&rings,
				fuzz_applet_open(&rng_applet, "--chunk", "64", (char *)NULL));
	fuzz_rings_play(&rings, &input, NULL);
	return 0;
}
