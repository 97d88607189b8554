// SPDX-License-Identifier: Apache-2.0
// A thread's loop over epoll: fds that call back when ready, and work put off to the end of a turn
// or to the next one. One turn = wait, call each ready watch once, run what was put off. A loop
// and all that is in it belong to one thread; nothing here may be called from another.
#pragma once

#include <sys/epoll.h>

#include "core/base.h"
#include "core/list.h"

// Embedded in whatever owns the fd. `events` are EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR.
struct watch {
	void (*ready)(struct watch *watch, u32 events);
};

// Embedded in whatever has work to put off.
struct deferred {
	void (*run)(struct deferred *deferred);
	struct list node;
};

struct event_loop {
	int epoll_fd;
	struct list turn_end;  // runs when this turn's events are handled
	struct list next_turn; // runs in the next turn, which then does not sleep
	struct epoll_event batch[32];
	int batch_next, batch_count;
};

must_check int event_loop_init(struct event_loop *loop);
void event_loop_fini(struct event_loop *loop);

// Calls watch->ready whenever one of `events` (EPOLLIN …, optionally EPOLLET) holds for the fd.
// The caller keeps fd and watch alive until event_loop_remove. 0 or -errno (-EPERM: the fd cannot be polled).
must_check int event_loop_add(struct event_loop *loop, int fd, u32 events, struct watch *watch);

// After this returns, `watch` is not called again, not even for an event that is already waiting.
void event_loop_remove(struct event_loop *loop, int fd, const struct watch *watch);

void deferred_init(struct deferred *deferred, void (*run)(struct deferred *deferred));
static inline bool deferred_is_queued(const struct deferred *deferred)
{
	return !list_empty(&deferred->node);
}
// Each of these does nothing if the work is queued already.
void event_loop_at_turn_end(struct event_loop *loop, struct deferred *deferred);
void event_loop_at_next_turn(struct event_loop *loop, struct deferred *deferred);
void deferred_cancel(struct deferred *deferred);

// One turn. Sleeps at most timeout_ms (-1: without limit) if nothing is put off. 0, or -EINTR if a signal
// ended the sleep.
int event_loop_turn(struct event_loop *loop, int timeout_ms);
