// SPDX-License-Identifier: Apache-2.0
// Tests of core/event_loop.c: all on one thread, turn by turn.
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <time.h>

#include "core/event_loop.h"
#include "core/sys.h"

// An eventfd that is watched; it notes its letter in `order` when it is called.
struct source {
	struct watch watch;
	struct deferred deferred;
	char letter;
	int fd;
	u32 events;
};

static struct event_loop loop;
static struct source a, b;
static char order[128];
static void (*when_ready)(struct source *source), (*when_run)(struct source *source);

static void note(char letter)
{
	size_t len = strlen(order);

	assert_true(len + 1 < sizeof(order));
	order[len] = letter;
}

static void ready(struct watch *watch, u32 events)
{
	struct source *source = container_of(watch, struct source, watch);

	note(source->letter);
	source->events = events;
	if (when_ready)
		when_ready(source);
}

// Deferred work is noted in capitals.
static void run(struct deferred *deferred)
{
	struct source *source = container_of(deferred, struct source, deferred);

	note((char)(source->letter - 'a' + 'A'));
	if (when_run)
		when_run(source);
}

static void source_init(struct source *source, char letter)
{
	*source = (struct source){.watch.ready = ready, .letter = letter};
	deferred_init(&source->deferred, run);
	source->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(event_loop_add(&loop, source->fd, EPOLLIN | EPOLLET, &source->watch), 0);
}

static int setup(void **state)
{
	(void)state;
	memset(order, 0, sizeof(order));
	when_ready = when_run = NULL;
	assert_int_equal(event_loop_init(&loop), 0);
	source_init(&a, 'a');
	source_init(&b, 'b');
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_fd(&a.fd);
	close_fd(&b.fd);
	event_loop_fini(&loop);
	return loop.epoll_fd == -1 ? 0 : -1;
}

static void turn(void)
{
	assert_int_equal(event_loop_turn(&loop, 0), 0);
}

TEST(ready_watch_is_called_once_for_each_signal)
{
	turn();
	assert_string_equal(order, "");
	sys_event_signal(a.fd);
	turn();
	turn();
	assert_string_equal(order, "a");
	assert_true(a.events & EPOLLIN);
	sys_event_signal(a.fd);
	turn();
	assert_string_equal(order, "aa");
}

TEST(all_ready_watches_are_called_in_one_turn)
{
	sys_event_signal(a.fd);
	sys_event_signal(b.fd);
	turn();
	assert_int_equal(strlen(order), 2);
	assert_non_null(strchr(order, 'a'));
	assert_non_null(strchr(order, 'b'));
}

TEST(removed_watch_is_not_called)
{
	sys_event_signal(a.fd);
	event_loop_remove(&loop, a.fd, &a.watch);
	turn();
	assert_string_equal(order, "");
}

static void remove_the_other(struct source *source)
{
	struct source *other = source == &a ? &b : &a;

	event_loop_remove(&loop, other->fd, &other->watch);
}

TEST(removing_in_a_batch_drops_the_event_that_waits_there)
{
	when_ready = remove_the_other;
	sys_event_signal(a.fd);
	sys_event_signal(b.fd);
	turn();
	assert_int_equal(strlen(order), 1); // whichever came first
	when_ready = NULL;
	turn();
	assert_int_equal(strlen(order), 1);
}

static void remove_itself(struct source *source)
{
	event_loop_remove(&loop, source->fd, &source->watch);
}

TEST(watch_may_remove_itself)
{
	when_ready = remove_itself;
	sys_event_signal(a.fd);
	turn();
	sys_event_signal(a.fd);
	turn();
	assert_string_equal(order, "a");
}

TEST(fd_that_cannot_be_polled_is_refused)
{
	FILE *file = tmpfile();

	assert_non_null(file);
	assert_int_equal(event_loop_add(&loop, fileno(file), EPOLLIN, &a.watch), -EPERM);
	fclose(file);
}

static void defer_to_turn_end(struct source *source)
{
	event_loop_at_turn_end(&loop, &source->deferred);
}

TEST(turn_end_runs_after_the_whole_batch)
{
	when_ready = defer_to_turn_end;
	sys_event_signal(a.fd);
	sys_event_signal(b.fd);
	turn();
	assert_int_equal(strlen(order), 4);
	assert_non_null(memchr(order, 'a', 2));
	assert_non_null(memchr(order, 'b', 2));
	assert_non_null(strchr(order + 2, 'A'));
	assert_non_null(strchr(order + 2, 'B'));
}

TEST(next_turn_runs_after_events_and_before_turn_end)
{
	event_loop_at_next_turn(&loop, &a.deferred);
	event_loop_at_turn_end(&loop, &b.deferred);
	sys_event_signal(b.fd);
	turn();
	assert_string_equal(order, "bAB");
}

static void defer_again(struct source *source)
{
	event_loop_at_next_turn(&loop, &source->deferred);
}

TEST(work_put_off_by_put_off_work_waits_for_one_more_turn)
{
	when_run = defer_again;
	event_loop_at_next_turn(&loop, &a.deferred);
	turn();
	assert_string_equal(order, "A");
	turn();
	assert_string_equal(order, "AA");
	assert_true(deferred_is_queued(&a.deferred));
	deferred_cancel(&a.deferred);
}

static void put_off_other_to_turn_end(struct source *source)
{
	if (source == &a)
		event_loop_at_turn_end(&loop, &b.deferred);
}

TEST(work_put_off_to_the_turn_end_there_still_runs_in_this_turn)
{
	when_run = put_off_other_to_turn_end;
	event_loop_at_turn_end(&loop, &a.deferred);
	turn();
	assert_string_equal(order, "AB");
}

TEST(queued_work_is_not_queued_twice)
{
	event_loop_at_turn_end(&loop, &a.deferred);
	event_loop_at_turn_end(&loop, &a.deferred);
	event_loop_at_next_turn(&loop, &a.deferred);
	turn();
	turn();
	assert_string_equal(order, "A");
}

TEST(cancelled_work_does_not_run)
{
	event_loop_at_next_turn(&loop, &a.deferred);
	event_loop_at_turn_end(&loop, &b.deferred);
	deferred_cancel(&a.deferred);
	deferred_cancel(&b.deferred);
	assert_false(deferred_is_queued(&a.deferred));
	turn();
	assert_string_equal(order, "");
	deferred_cancel(&a.deferred); // harmless
	assert_false(deferred_is_queued(&a.deferred));
}

TEST(loop_does_not_sleep_while_work_is_put_off)
{
	struct timespec before, after;

	clock_gettime(CLOCK_MONOTONIC, &before);
	event_loop_at_next_turn(&loop, &a.deferred);
	assert_int_equal(event_loop_turn(&loop, 10000), 0);
	event_loop_at_turn_end(&loop, &b.deferred);
	assert_int_equal(event_loop_turn(&loop, 10000), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_in_range(after.tv_sec - before.tv_sec, 0, 5);
	assert_string_equal(order, "AB");
}

static void on_alarm(int number)
{
	(void)number;
}

TEST(signal_ends_the_sleep_and_the_loop_goes_on)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	const struct itimerval soon = {.it_value.tv_usec = 20000};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(event_loop_turn(&loop, 10000), -EINTR);
	sys_event_signal(a.fd);
	turn();
	assert_string_equal(order, "a");
}

TEST(more_events_than_one_batch_holds_are_all_served)
{
	enum { SOURCES = 100 };
	static struct source many[SOURCES];
	unsigned called = 0;

	for (unsigned i = 0; i < SOURCES; i++) {
		source_init(&many[i], 'm');
		sys_event_signal(many[i].fd);
	}
	while (called < SOURCES) {
		memset(order, 0, sizeof(order));
		turn();
		assert_in_range(strlen(order), 1, SOURCES);
		called += (unsigned)strlen(order);
	}
	assert_int_equal(called, SOURCES);
	for (unsigned i = 0; i < SOURCES; i++)
		close_fd(&many[i].fd);
}

#define LOOP_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(ready_watch_is_called_once_for_each_signal),
		LOOP_TEST(all_ready_watches_are_called_in_one_turn),
		LOOP_TEST(removed_watch_is_not_called),
		LOOP_TEST(removing_in_a_batch_drops_the_event_that_waits_there),
		LOOP_TEST(watch_may_remove_itself),
		LOOP_TEST(fd_that_cannot_be_polled_is_refused),
		LOOP_TEST(turn_end_runs_after_the_whole_batch),
		LOOP_TEST(next_turn_runs_after_events_and_before_turn_end),
		LOOP_TEST(work_put_off_by_put_off_work_waits_for_one_more_turn),
		LOOP_TEST(work_put_off_to_the_turn_end_there_still_runs_in_this_turn),
		LOOP_TEST(queued_work_is_not_queued_twice),
		LOOP_TEST(cancelled_work_does_not_run),
		LOOP_TEST(loop_does_not_sleep_while_work_is_put_off),
		LOOP_TEST(signal_ends_the_sleep_and_the_loop_goes_on),
		LOOP_TEST(more_events_than_one_batch_holds_are_all_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
