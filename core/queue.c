// SPDX-License-Identifier: Apache-2.0
// The notification loop, written once for all devices, and the hand-over of a ring to its worker and back.
#include "core/queue.h"

#include "core/log.h"
#include "core/sys.h"

// vhost-user.rst, VHOST_USER_SET_VRING_KICK: without an fd the ring is polled.
static bool must_poll(const struct queue *queue)
{
	return queue->kick_fd < 0 && !queue->vring.broken;
}

static void process(struct queue *queue)
{
	vring_begin_turn(&queue->vring);
	queue->device->ops->process_queue(queue->device, &queue->vring);
	if (vring_end_turn(&queue->vring) || must_poll(queue))
		vring_wake(&queue->vring);
}

static void kicked(struct watch *watch, u32 events)
{
	struct queue *queue = container_of(watch, struct queue, kick);

	(void)events; // edge-triggered and never read: the event is the news
	if (!deferred_is_queued(&queue->again))
		process(queue);
}

static void process_again(struct deferred *deferred)
{
	process(container_of(deferred, struct queue, again));
}

int queue_init(struct queue *queue, struct device *device, unsigned index, unsigned max_size,
	       struct worker *worker)
{
	int error;

	*queue = (struct queue){.device = device,
				.worker = worker,
				.max_size = max_size,
				.kick_fd = -1,
				.kick.ready = kicked};
	deferred_init(&queue->again, process_again);
	error = vring_init(&queue->vring, index, max_size, device->ops->request_size, worker,
			   &queue->again);
	queue->vring.broken_fd = device->broken_event_fd;
	return error;
}

void queue_fini(struct queue *queue)
{
	assert(!queue->running);
	close_fd(&queue->kick_fd);
	vring_fini(&queue->vring);
}

static void watch_kick(struct queue *queue)
{
	int error;

	if (queue->kick_fd < 0)
		return;
	error = event_loop_add(&queue->worker->loop, queue->kick_fd, EPOLLIN | EPOLLET,
			       &queue->kick);
	queue->kick_watched = error == 0;
	if (error)
		vring_break(&queue->vring, "its kick eventfd cannot be watched: errno %d", -error);
}

static void unwatch_kick(struct queue *queue)
{
	if (queue->kick_watched)
		event_loop_remove(&queue->worker->loop, queue->kick_fd, &queue->kick);
	queue->kick_watched = false;
}

// What a worker needs to start a ring.
struct ring_start {
	struct queue *queue;
	const struct guest_memory *memory;
	const struct dirty_log *log;
	u64 features;
	int error; // of vring_place
};

// Placing reads guest memory, for which only a worker may have to wait.
static void start_on_worker(void *context)
{
	struct ring_start *start = context;
	struct queue *queue = start->queue;

	start->error = vring_place(&queue->vring, start->memory, start->log, &queue->layout,
				   start->features);
	if (start->error)
		return;
	vring_signal_owed(&queue->vring);
	if (queue->device->ops->queue_start)
		queue->device->ops->queue_start(queue->device, &queue->vring);
	watch_kick(queue);
	vring_wake(&queue->vring); // serve what was made available before the kick fd was watched
}

static void take_up_left(struct queue *queue)
{
	const struct inflight *inflight = &queue->vring.inflight;
	unsigned before;

	do {
		before = inflight->left_next;
		if (inflight_next_left(inflight))
			process(queue);
	} while (inflight->left_next > before);
}

static void drain(struct queue *queue)
{
	if (queue->device->ops->queue_stop)
		queue->device->ops->queue_stop(queue->device, &queue->vring);
	assert(vring_idle(&queue->vring));
	vring_publish(&queue->vring);
}

// What was left in flight was taken off the ring before us, so its base does not tell of it any more: as much is taken up as the
// core has room for, and again. A device that takes no chains now leaves them in the region.
static void stop_on_worker(void *context)
{
	struct queue *queue = context;
	const struct inflight *inflight = &queue->vring.inflight;
	unsigned before;

	unwatch_kick(queue);
	do {
		before = inflight->left_next;
		take_up_left(queue);
		drain(queue);
	} while (inflight->left_next > before && inflight_next_left(inflight));
	deferred_cancel(&queue->vring.publish);
	deferred_cancel(&queue->again);
}

static bool is_set_up(const struct queue *queue)
{
	return queue->started && queue->enabled && queue->have_addr && queue->have_base &&
	       queue->layout.num > 0;
}

void queue_start(struct queue *queue, const struct guest_memory *memory,
		 const struct dirty_log *log, u64 features)
{
	struct ring_start start = {
		.queue = queue, .memory = memory, .log = log, .features = features};

	if (queue->running || !is_set_up(queue) || memory->count == 0)
		return;
	worker_call(queue->worker, start_on_worker, &start);
	queue->running = start.error == 0;
	queue->vring.misplaced = !queue->running;
}

bool queue_is_stuck(const struct queue *queue)
{
	return !queue->running && queue->vring.misplaced && is_set_up(queue);
}

void queue_stop(struct queue *queue)
{
	if (!queue->running)
		return;
	worker_call(queue->worker, stop_on_worker, queue);
	queue->running = false;
	queue->layout.base = vring_base(&queue->vring);
	queue->before = queue->layout;
	queue->has_before = true;
}

// The index alone: of a packed ring each half has a wrap counter too, and some front-ends keep no more than the first half.
static unsigned base_index(const struct vring_layout *layout)
{
	return layout->base & 0x7fff;
}

static bool same_place(const struct vring_layout *one, const struct vring_layout *other)
{
	return one->num == other->num && one->desc.value == other->desc.value &&
	       one->avail.value == other->avail.value && one->used.value == other->used.value;
}

enum queue_driver queue_driver(const struct queue *queue)
{
	if (queue->running || !queue->has_before || !is_set_up(queue))
		return QUEUE_DRIVER_UNKNOWN;
	if ((queue->layout.base ^ queue->before.base) & UINT16_MAX)
		return QUEUE_DRIVER_NEW;
	if (base_index(&queue->layout) != 0)
		return QUEUE_DRIVER_SAME;
	return same_place(&queue->layout, &queue->before) ? QUEUE_DRIVER_UNKNOWN : QUEUE_DRIVER_NEW;
}

void queue_forget_driver(struct queue *queue)
{
	queue->has_before = false;
}

// So that no message of the next setup finds the ring running with what is left of this one.
static void forget_setup(struct queue *queue)
{
	queue->layout = (struct vring_layout){.base = queue->layout.base};
	queue->have_addr = false;
	queue->have_base = false;
	queue->started = false;
	queue->vring.misplaced = false;
	if (queue->vring.broken) // the driver has to begin anew
		inflight_forget(&queue->vring.inflight);
	queue->vring.broken = false;
}

void queue_reset(struct queue *queue)
{
	assert(!queue->running);
	close_fd(&queue->kick_fd);
	vring_set_call_fd(&queue->vring, -1);
	vring_set_err_fd(&queue->vring, -1);
	forget_setup(queue);
	queue_forget_driver(queue);
	queue->layout.base = 0;
	queue->enabled = false;
}

u32 queue_take_base(struct queue *queue)
{
	queue_stop(queue);
	forget_setup(queue);
	return queue->layout.base;
}

void queue_set_kick_fd(struct queue *queue, int fd)
{
	assert(!queue->running);
	close_fd(&queue->kick_fd);
	queue->kick_fd = fd;
}

// An fd on its way to the ring, wherever the ring is.
struct fd_change {
	struct vring *vring;
	int fd;
};

static void change_call(void *context)
{
	const struct fd_change *change = context;

	vring_publish(change->vring);
	vring_set_call_fd(change->vring, change->fd);
	vring_signal_owed(change->vring);
}

static void change_err(void *context)
{
	const struct fd_change *change = context;

	vring_set_err_fd(change->vring, change->fd);
}

void queue_set_call_fd(struct queue *queue, int fd)
{
	struct fd_change change = {.vring = &queue->vring, .fd = fd};

	if (queue->running)
		worker_call(queue->worker, change_call, &change);
	else
		vring_set_call_fd(&queue->vring, fd);
}

void queue_set_err_fd(struct queue *queue, int fd)
{
	struct fd_change change = {.vring = &queue->vring, .fd = fd};

	if (queue->running)
		worker_call(queue->worker, change_err, &change);
	else
		vring_set_err_fd(&queue->vring, fd);
}

struct broken_question {
	const struct vring *vring;
	bool broken;
};

static void ask_broken(void *context)
{
	struct broken_question *question = context;

	question->broken = question->vring->broken;
}

bool queue_is_broken(const struct queue *queue)
{
	struct broken_question question = {.vring = &queue->vring};

	if (queue->running)
		worker_call(queue->worker, ask_broken, &question);
	else
		ask_broken(&question);
	return question.broken;
}
