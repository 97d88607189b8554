// SPDX-License-Identifier: Apache-2.0
// A ring bound to a device and a worker: what the front-end has said of it, and the notification loop.
// Control thread throughout; the worker is reached by worker_call.
#pragma once

#include "core/device.h"
#include "core/vring_setup.h"

struct queue {
	struct vring vring;
	struct device *device;
	struct worker *worker;
	unsigned max_size;

	// what the front-end has said so far, in whatever order
	struct vring_layout layout; // num 0: not yet said
	bool have_addr, have_base;
	int kick_fd; // -1: none
	bool started, enabled;

	struct vring_layout before; // where it stopped last, and where it was in its memory
	bool has_before;	    // of a driver that may be the same when it starts again

	bool running; // its worker owns the ring
	struct watch kick;
	bool kick_watched;
	struct deferred again;
};

// Reserves the memory of a ring of up to max_size entries, served by `worker`. 0 or -ENOMEM.
must_check int queue_init(struct queue *queue, struct device *device, unsigned index,
			  unsigned max_size, struct worker *worker);
// The queue must not run.
void queue_fini(struct queue *queue);

// Gives the ring to its worker if all it needs is known and it is started and enabled; else, and if it runs
// already, does nothing. A ring that cannot be placed stays stopped, which is logged.
// log NULL: what is written need not be logged.
void queue_start(struct queue *queue, const struct guest_memory *memory,
		 const struct dirty_log *log, u64 features);

// True if the ring has all it needs to start and yet does not run, since it cannot be placed.
bool queue_is_stuck(const struct queue *queue);

// Takes the ring back from its worker, with nothing in flight and all answers published.
void queue_stop(struct queue *queue);

// Forgets all that a front-end has said, and closes its fds. The queue must not run.
void queue_reset(struct queue *queue);

// Stops the ring for good, as the front-end asks: its base. It must be set up anew, in any order.
u32 queue_take_base(struct queue *queue);

// What a ring that is to start tells of its driver.
enum queue_driver {
	QUEUE_DRIVER_UNKNOWN, // it is not to start, or nothing was ever taken off it
	QUEUE_DRIVER_SAME,    // it goes on where it was stopped
	QUEUE_DRIVER_NEW,     // it begins somewhere else (docs/adr/0009-when-a-driver-is-new.md)
};
enum queue_driver queue_driver(const struct queue *queue);

// Whatever the ring is set up with next tells nothing of the driver: it is known to be a new one, or to have come from elsewhere.
void queue_forget_driver(struct queue *queue);

// True if the ring cannot be used any more until it is set up anew.
bool queue_is_broken(const struct queue *queue);

// Each owns the fd from here on; -1: none. The queue must not run when the kick fd changes. A new call fd is
// signalled, at once or when the ring starts, so that no completion is missed.
void queue_set_kick_fd(struct queue *queue, int fd);
void queue_set_call_fd(struct queue *queue, int fd);
void queue_set_err_fd(struct queue *queue, int fd);
