// SPDX-License-Identifier: Apache-2.0
// A thread that turns an event loop, and the one way by which the control thread reaches into it.
#pragma once

#include <pthread.h>

#include "core/event_loop.h"
#include "seccomp/rule.h"

struct worker {
	struct event_loop loop; // the worker's own once it runs
	unsigned index;		// 0 .. workers - 1
	void *device_data;	// the device's per-worker state; the device owns it

	pthread_t thread;
	pid_t process_id, thread_id; // 0: not yet known
	int call_fd, done_fd, done_epoll_fd;
	struct watch call_watch;
	void (*call)(void *context); // set by control, cleared by the worker when it has run
	void *call_context;
	bool exiting;
};

// The system calls that a worker makes by itself, whatever it serves.
extern const struct syscall_rule worker_rules[];
extern const size_t worker_rule_count;

// Starts a thread that serves `worker`, on processor `cpu` alone if that is not negative.
// Control thread. 0 or -errno; after an error there is nothing to stop.
must_check int worker_start(struct worker *worker, unsigned index, int cpu);

// Runs function(context) on the worker's thread, after it has handled its whole batch of events, and
// returns when it has run: the only way in which data changes hands between threads. Control thread.
void worker_call(struct worker *worker, void (*function)(void *context), void *context);

// What the control thread does whenever a worker has kept a worker_call waiting for a while; NULL: nothing.
void worker_when_late(void (*function)(void *context), void *context);

// Ends the thread and waits until it has ended. Control thread.
void worker_stop(struct worker *worker);

// For devices, on the worker's thread: as event_loop_add and event_loop_remove.
must_check static inline int worker_watch(struct worker *worker, int fd, u32 events,
					  struct watch *watch)
{
	return event_loop_add(&worker->loop, fd, events, watch);
}

static inline void worker_unwatch(struct worker *worker, int fd, const struct watch *watch)
{
	event_loop_remove(&worker->loop, fd, watch);
}
