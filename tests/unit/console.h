// SPDX-License-Identifier: Apache-2.0
// A console whose rings are here, with the driver's side of them, and whose ports end at sockets of this process: all on
// one thread, turned by hand.
#pragma once

#include "core/device.h"
#include "tests/unit/ring.h"

enum { UNIT_CONSOLE_RINGS = 6 };

struct unit_console {
	void *values;
	struct device *device;
	struct unit_ring rings[UNIT_CONSOLE_RINGS];
	unsigned ring_count;
	int host[2]; // the other ends of its ports
};

// Opens one port or two, with these further keys (",name=x"), and an option; the latter two may be NULL.
void unit_console_open(struct unit_console *guest, const char *first, const char *second,
		       const char *option);
// Negotiates these features and starts all rings.
void unit_console_start(struct unit_console *guest, u64 features);
// Stops the rings, which must leave nothing in flight, and gives everything back.
void unit_console_close(struct unit_console *guest);

// A turn of the worker, in which this ring is processed.
void unit_console_serve(struct unit_console *guest, unsigned ring);

// Makes a chain available: readable bytes, or a writable buffer of len bytes.
void unit_console_offer(struct unit_console *guest, unsigned ring, const void *bytes, u32 len);
void unit_console_offer_writable(struct unit_console *guest, unsigned ring, u32 len);
// The next chain that was used, which must be there: how many bytes were written, which are copied.
u32 unit_console_take(struct unit_console *guest, unsigned ring, void *bytes, size_t len);
// The same, if there is one.
bool unit_console_has_answer(struct unit_console *guest, unsigned ring);

// What a host reads next must be this. All that it can read now: how many bytes.
void unit_console_expect_host(int host, const char *wanted);
size_t unit_console_drain(int host);
