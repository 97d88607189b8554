// SPDX-License-Identifier: Apache-2.0
// --on-enospc=stop: what the host has no room for waits, and is tried again by the clock.
#include <sys/timerfd.h>
#include <unistd.h>

#include "applets/blk/blk.h"
#include "core/log.h"
#include "core/sys.h"

// The timer runs for good, but the kernel sets it anew only when it is read, and no one looks at it while nothing waits.
enum { RETRY_NS = 250000000 };

static void read_timer(const struct blk_worker *worker)
{
	u64 ticks;
	long got = sys(read(worker->full_timer_fd, &ticks, sizeof(ticks)));

	(void)got; // how often does not matter
}

// True if the timer is looked at.
static bool watch_timer(struct blk_worker *worker)
{
	if (worker->full_watched)
		return true;
	read_timer(worker);
	worker->full_watched =
		!worker_watch(worker->worker, worker->full_timer_fd, EPOLLIN, &worker->full_timer);
	return worker->full_watched;
}

bool blk_full_wait(struct blk_request *request, int error)
{
	struct blk_worker *worker = request->worker;
	struct blk *blk = worker->blk;

	if ((error != -ENOSPC && error != -EDQUOT) || worker->full_timer_fd < 0 ||
	    worker->stopping == request->vring || !watch_timer(worker))
		return false;
	if (!request->has_waited &&
	    __atomic_fetch_add(&blk->waiting_count, 1, __ATOMIC_RELAXED) == 0)
		log_warning("the host has no room for the disk: requests wait until it has");
	request->has_waited = true;
	list_init(&request->waiting);
	list_append(&worker->full, &request->waiting);
	deferred_cancel(&worker->full_next); // the others would fare the same
	return true;
}

void blk_full_answered(struct blk_request *request, bool good)
{
	struct blk *blk = request->worker->blk;

	if (__atomic_sub_fetch(&blk->waiting_count, 1, __ATOMIC_RELAXED) > 0)
		return;
	log_info("%s", good ? "the host has room for the disk again"
			    : "no request waits for room any more: the last has failed");
}

static void try_first(struct blk_worker *worker)
{
	struct blk_request *request = container_of(worker->full.next, struct blk_request, waiting);

	list_remove(&request->waiting);
	blk_request_again(request);
	worker->engine->submit(worker);
}

// One in each turn. What then has to wait again ends that.
static void full_next(struct deferred *deferred)
{
	struct blk_worker *worker = container_of(deferred, struct blk_worker, full_next);

	if (list_empty(&worker->full))
		return;
	event_loop_at_next_turn(&worker->worker->loop, deferred);
	try_first(worker);
}

static void timer_ready(struct watch *watch, u32 events)
{
	struct blk_worker *worker = container_of(watch, struct blk_worker, full_timer);

	(void)events;
	read_timer(worker);
	if (!list_empty(&worker->full)) {
		event_loop_at_next_turn(&worker->worker->loop, &worker->full_next);
		return;
	}
	worker_unwatch(worker->worker, worker->full_timer_fd, &worker->full_timer);
	worker->full_watched = false;
}

void blk_full_stop(struct blk_worker *worker, struct vring *vring)
{
	struct list all;

	list_init(&all);
	list_move(&worker->full, &all);
	while (!list_empty(&all)) {
		struct blk_request *request = container_of(all.next, struct blk_request, waiting);

		list_remove(&request->waiting);
		if (request->vring == vring)
			blk_request_again(request);
		else
			list_append(&worker->full, &request->waiting);
	}
}

int blk_full_init(struct blk_worker *worker)
{
	const struct itimerspec period = {.it_value.tv_nsec = RETRY_NS,
					  .it_interval.tv_nsec = RETRY_NS};
	int error;

	list_init(&worker->full);
	deferred_init(&worker->full_next, full_next);
	worker->full_timer.ready = timer_ready;
	if (!worker->blk->stop_when_full || worker->blk->medium.fd < 0)
		return 0;
	worker->full_timer_fd =
		sys_int(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	if (worker->full_timer_fd < 0)
		return log_errno(worker->full_timer_fd, "cannot make a timer");
	error = sys_int(timerfd_settime(worker->full_timer_fd, 0, &period, NULL));
	return error ? log_errno(error, "cannot start a timer") : 0;
}

void blk_full_fini(struct blk_worker *worker)
{
	deferred_cancel(&worker->full_next);
	if (worker->full_watched)
		worker_unwatch(worker->worker, worker->full_timer_fd, &worker->full_timer);
	close_fd(&worker->full_timer_fd);
}
