// SPDX-License-Identifier: Apache-2.0
// A device for tests: it answers each chain with the chain's own readable bytes, now or later, in any order, and
// has an fd of its own that the worker watches beside the kicks. And the driver's side of it.
#pragma once

#include "core/device.h"
#include "tests/frontend/ring.h"
#include "tests/unit/unit.h"

enum echo_order {
	ECHO_AT_ONCE,
	ECHO_BACKWARDS, // takes all there are, then answers the last one first
	ECHO_LATER, // when its own fd is signalled (echo_release) or the ring stops, last one first
};

enum { ECHO_CONFIG_LEN = 60, ECHO_WRITABLE = 32, ECHO_MAX_WORKERS = 8, ECHO_TYPE = 42 };
#define ECHO_FEATURE BIT64(3) // of its device type

struct echo_worker {
	struct echo *echo;
	struct watch watch;
	int fd;
	struct list held; // struct echo_request
};

// What happened is counted with atomics, for any thread to read with echo_count.
struct echo {
	struct device device;
	struct device_ops ops; // a test may change them before the device is used
	unsigned queues, max_size;
	enum echo_order order;
	int start_error;  // what worker_start answers
	int busy;	  // what activate answers; atomic
	unsigned failing; // for the worker of this index
	u64 stop_ns;	  // how long queue_stop waits before it completes what is held
	u8 config[256];	  // the byte at ECHO_WRITABLE can be written
	u8 state[60000];  // what save() answers; load() takes as many
	size_t state_len;

	u64 taken, served, starts, stops, releases;
	u64 features, negotiations, resets, config_writes, loads, refreshes;
	u64 activations, deactivations; // tried and done
	u64 worker_starts, worker_stops, wrong_thread;
	pthread_t threads[ECHO_MAX_WORKERS]; // of the workers
	struct echo_worker workers[ECHO_MAX_WORKERS];
};

void echo_init(struct echo *echo, unsigned queues, enum echo_order order);

static inline u64 echo_count(const u64 *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

// Waits until the counter is at least `least`.
void echo_wait(const u64 *counter, u64 least);

// Signals the device's own fd on this worker: what is held there is answered.
void echo_release(struct echo *echo, unsigned worker);

// One request of the driver: a number to be echoed.
struct echo_slot {
	u64 addr; // of the number sent, and of the answer behind it
	u32 *sent, *answer;
};

void echo_slot_init(struct echo_slot *slot, struct vm_memory *memory);

// Adds a request to the ring; vm_ring_kick shows it. False if the ring is full.
bool echo_add(struct vm_ring *ring, struct echo_slot *slot, u32 number);

// Takes an answer, which must be right: NULL if there is none.
struct echo_slot *echo_take(struct vm_ring *ring);

// Sends a number on a ring that runs, kicks and waits for the answer. False if there is no right one in time.
bool echo_works(struct vm_ring *ring, struct echo_slot *slot, u32 number);
