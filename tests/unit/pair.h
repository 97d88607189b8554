// SPDX-License-Identifier: Apache-2.0
// A driver and a device at one ring who do, at the same moment, what must not pass the other unseen: the one goes to sleep, the
// other has something for it (VIRTIO 1.3, 2.7.7 to 2.7.10 and 2.8.9 to 2.8.12, notification suppression).
#pragma once

#include "core/vring_layout.h"
#include "tests/unit/ring.h"

enum { PAIR_SIZE = 2, PAIRS = 128 };

struct pair {
	struct vm_ring driver;
	struct vring vring;
	struct deferred wake;
	bool driver_saw, device_saw;
};

// The driver's and the device's step, what comes before them, and what must be true behind them.
struct duel {
	void (*prepare)(struct pair *pair);
	void (*driver)(struct pair *pair);
	void (*check)(struct pair *pair);
	bool answers; // the device shows an answer; else it goes to sleep
};
extern const struct duel pair_call_duel, pair_kick_duel;

extern struct pair pairs[PAIRS];

// A test of these rings, once with each layout, with the event index and without.
#define PAIR_TESTS(name) \
	RUN_WITH(pair_setup_split, name, pair_teardown), \
		RUN_WITH(pair_setup_split_event_idx, name, pair_teardown), \
		RUN_WITH(pair_setup_packed, name, pair_teardown), \
		RUN_WITH(pair_setup_packed_event_idx, name, pair_teardown)
int pair_setup_split(void **state);
int pair_setup_split_event_idx(void **state);
int pair_setup_packed(void **state);
int pair_setup_packed_event_idx(void **state);
int pair_teardown(void **state);

// What a duel is made of.
void pair_add(struct pair *pair);
void pair_answer_next(struct pair *pair);
void pair_take(struct pair *pair);
bool pair_show(struct vring *vring);
bool pair_want_kick(struct vring *vring, bool wanted);
