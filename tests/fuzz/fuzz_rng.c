// SPDX-License-Identifier: Apache-2.0
// The rng applet's ring, as a hostile driver has it. The device is a new one for each input, since it keeps random bytes for the next request.
#include "tests/fuzz/applet.h"
#include "tests/fuzz/rings.h"

extern const struct applet rng_applet;

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct fuzz_rings rings;
	struct fuzz_input input = {.next = data, .left = size};
	struct device *device = fuzz_applet_open(&rng_applet, "--chunk", "64", (char *)NULL);

	fuzz_rings_open(&rings, device);
	fuzz_rings_play(&rings, &input, NULL);
	fuzz_rings_close(&rings);
	fuzz_applet_close(&rng_applet, device);
	return 0;
}
