// SPDX-License-Identifier: Apache-2.0
// Workers without threads, in place of core/worker.c: one input always does the same, and fast.
#include "tests/fuzz/fuzz.h"

enum { MOST_TURNS = 4 };

int worker_start(struct worker *worker, unsigned index, int cpu)
{
	(void)cpu;
	*worker =
		(struct worker){.index = index, .call_fd = -1, .done_fd = -1, .done_epoll_fd = -1};
	return event_loop_init(&worker->loop);
}

void worker_call(struct worker *worker, void (*function)(void *context), void *context)
{
	(void)worker;
	function(context);
}

void worker_stop(struct worker *worker)
{
	event_loop_fini(&worker->loop);
}

void fuzz_turn(struct worker *worker)
{
	unsigned turns = 0;

	do
		event_loop_turn(&worker->loop, 0);
	while (++turns < MOST_TURNS &&
	       !(list_empty(&worker->loop.next_turn) && list_empty(&worker->loop.turn_end)));
}
