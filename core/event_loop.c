// SPDX-License-Identifier: Apache-2.0
// The loop that the control thread and every worker turn.
#include "core/event_loop.h"

#include "core/sys.h"

int event_loop_init(struct event_loop *loop)
{
	list_init(&loop->turn_end);
	list_init(&loop->next_turn);
	loop->batch_next = 0;
	loop->batch_count = 0;
	loop->epoll_fd = sys_int(epoll_create1(EPOLL_CLOEXEC));
	return loop->epoll_fd < 0 ? loop->epoll_fd : 0;
}

void event_loop_fini(struct event_loop *loop)
{
	close_fd(&loop->epoll_fd);
}

int event_loop_add(struct event_loop *loop, int fd, u32 events, struct watch *watch)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return sys_int(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event));
}

void event_loop_remove(struct event_loop *loop, int fd, const struct watch *watch)
{
	int removed = sys_int(epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL));

	assert(removed == 0);
	for (int i = loop->batch_next; i < loop->batch_count; i++)
		if (loop->batch[i].data.ptr == watch)
			loop->batch[i].data.ptr = NULL;
}

void deferred_init(struct deferred *deferred, void (*run)(struct deferred *deferred))
{
	deferred->run = run;
	list_init(&deferred->node);
}

void event_loop_at_turn_end(struct event_loop *loop, struct deferred *deferred)
{
	if (!deferred_is_queued(deferred))
		list_append(&loop->turn_end, &deferred->node);
}

void event_loop_at_next_turn(struct event_loop *loop, struct deferred *deferred)
{
	if (!deferred_is_queued(deferred))
		list_append(&loop->next_turn, &deferred->node);
}

void deferred_cancel(struct deferred *deferred)
{
	list_remove(&deferred->node);
}

static void run_all(struct list *list)
{
	while (!list_empty(list)) {
		struct deferred *deferred = container_of(list->next, struct deferred, node);

		list_remove(&deferred->node);
		deferred->run(deferred);
	}
}

static void dispatch_batch(struct event_loop *loop)
{
	while (loop->batch_next < loop->batch_count) {
		const struct epoll_event *event = &loop->batch[loop->batch_next++];
		struct watch *watch = event->data.ptr;

		if (watch)
			watch->ready(watch, event->events);
	}
}

int event_loop_turn(struct event_loop *loop, int timeout_ms)
{
	struct list put_off;
	bool sleep = list_empty(&loop->next_turn) && list_empty(&loop->turn_end);
	int count = epoll_pwait(loop->epoll_fd, loop->batch, (int)ARRAY_SIZE(loop->batch),
				sleep ? timeout_ms : 0, NULL);
	int result = count < 0 ? -errno : 0;

	assert(count >= 0 || result == -EINTR);
	list_init(&put_off);
	list_move(&loop->next_turn, &put_off);
	loop->batch_next = 0;
	loop->batch_count = count < 0 ? 0 : count;
	dispatch_batch(loop);
	run_all(&put_off);
	run_all(&loop->turn_end);
	return result;
}
