// SPDX-License-Identifier: Apache-2.0
// Tests of core/worker.c.
#include "tests/unit/unit.h"

#include <sched.h>
#include <sys/eventfd.h>

#include "core/sys.h"
#include "core/worker.h"

static struct worker worker;
static unsigned fds_before;

static int setup(void **state)
{
	(void)state;
	fds_before = unit_open_fds();
	return worker_start(&worker, 3, -1);
}

static int teardown(void **state)
{
	(void)state;
	worker_stop(&worker);
	return unit_open_fds() == fds_before ? 0 : -1;
}

struct seen {
	pthread_t thread;
	unsigned count;
};

static void look(void *context)
{
	struct seen *seen = context;

	seen->thread = pthread_self();
	seen->count++;
}

TEST(call_runs_on_the_thread_of_the_worker_and_has_run_when_it_returns)
{
	struct seen seen = {.count = 0};

	worker_call(&worker, look, &seen);
	assert_int_equal(seen.count, 1);
	assert_true(pthread_equal(seen.thread, worker.thread));
	assert_false(pthread_equal(seen.thread, pthread_self()));
}

static void take_a_while(void *context)
{
	const struct timespec moment = {.tv_nsec = 20000000};

	nanosleep(&moment, NULL);
	look(context);
}

TEST(call_has_run_when_it_returns_although_signals_come)
{
	struct seen seen = {.count = 0};

	unit_interrupt(true);
	for (unsigned i = 1; i <= 3; i++) {
		worker_call(&worker, take_a_while, &seen);
		assert_int_equal(seen.count, i);
	}
	unit_interrupt(false);
}

TEST(thousands_of_calls_each_run_once)
{
	struct seen seen = {.count = 0};

	for (unsigned i = 1; i <= 5000; i++) {
		worker_call(&worker, look, &seen);
		assert_int_equal(seen.count, i);
	}
}

TEST(worker_knows_its_index)
{
	assert_int_equal(worker.index, 3);
}

// A device's own fd.
struct foreign {
	struct watch watch;
	int fd;
	unsigned count; // written on the worker, read there or after a call
	pthread_t thread;
	void (*then)(struct foreign *foreign);
};

static void foreign_ready(struct watch *watch, u32 events)
{
	struct foreign *foreign = container_of(watch, struct foreign, watch);

	(void)events;
	foreign->thread = pthread_self();
	__atomic_add_fetch(&foreign->count, 1, __ATOMIC_RELEASE);
	if (foreign->then)
		foreign->then(foreign);
}

static void watch_foreign(void *context)
{
	struct foreign *foreign = context;

	foreign->watch.ready = foreign_ready;
	foreign->fd = worker_watch(&worker, foreign->fd, EPOLLIN | EPOLLET, &foreign->watch)
			      ? -1
			      : foreign->fd;
}

static void unwatch_foreign(void *context)
{
	struct foreign *foreign = context;

	worker_unwatch(&worker, foreign->fd, &foreign->watch);
}

static bool foreign_was_called(const void *context)
{
	const struct foreign *foreign = context;

	return __atomic_load_n(&foreign->count, __ATOMIC_ACQUIRE) > 0;
}

TEST(device_can_watch_its_own_fd_on_the_worker)
{
	struct foreign foreign = {.fd = eventfd(0, EFD_CLOEXEC)};

	worker_call(&worker, watch_foreign, &foreign);
	assert_true(foreign.fd >= 0);
	sys_event_signal(foreign.fd);
	unit_wait(foreign_was_called, &foreign);
	worker_call(&worker, unwatch_foreign, &foreign);
	assert_true(pthread_equal(foreign.thread, worker.thread));
	assert_int_equal(foreign.count, 1);
	close(foreign.fd);
}

TEST(unwatched_fd_is_silent)
{
	struct foreign foreign = {.fd = eventfd(0, EFD_CLOEXEC)};
	struct seen seen = {.count = 0};

	worker_call(&worker, watch_foreign, &foreign);
	worker_call(&worker, unwatch_foreign, &foreign);
	sys_event_signal(foreign.fd);
	worker_call(&worker, look, &seen); // a whole turn lies between
	assert_int_equal(foreign.count, 0);
	close(foreign.fd);
}

static struct seen in_batch;
static bool ran_in_batch;

// While a call waits, its wake-up comes in the middle of the batch that this event is part of.
static void wake_up_in_batch(struct foreign *foreign)
{
	(void)foreign;
	while (!__atomic_load_n(&worker.call, __ATOMIC_ACQUIRE))
		sched_yield();
	worker.call_watch.ready(&worker.call_watch, EPOLLIN);
	ran_in_batch = in_batch.count > 0;
}

TEST(call_does_not_run_before_the_batch_of_events_is_handled)
{
	struct foreign foreign = {.fd = eventfd(0, EFD_CLOEXEC), .then = wake_up_in_batch};

	in_batch.count = 0;
	worker_call(&worker, watch_foreign, &foreign);
	sys_event_signal(foreign.fd);
	unit_wait(foreign_was_called, &foreign);
	worker_call(&worker, look, &in_batch);
	worker_call(&worker, unwatch_foreign, &foreign);
	assert_int_equal(in_batch.count, 1);
	assert_false(ran_in_batch);
	close(foreign.fd);
}

static int full_fd;

// As when a front-end makes a notification fd a blocking one behind our back.
static void wait_for_room(struct foreign *foreign)
{
	(void)foreign;
	sys_event_signal(full_fd);
}

TEST(worker_that_waits_for_room_in_an_eventfd_is_freed_by_a_call)
{
	struct foreign foreign = {.fd = eventfd(0, EFD_CLOEXEC), .then = wait_for_room};
	struct seen seen = {.count = 0};

	full_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(eventfd_write(full_fd, UINT64_MAX - 1), 0);
	worker_call(&worker, watch_foreign, &foreign);
	sys_event_signal(foreign.fd);
	unit_wait(foreign_was_called, &foreign);
	worker_call(&worker, look, &seen);
	assert_int_equal(seen.count, 1);
	worker_call(&worker, unwatch_foreign, &foreign);
	close(foreign.fd);
	close(full_fd);
}

static void read_cpus(void *context)
{
	pthread_getaffinity_np(pthread_self(), sizeof(cpu_set_t), context);
}

TEST(worker_runs_on_the_processor_it_is_given)
{
	struct worker pinned;
	cpu_set_t allowed, cpus;
	int cpu = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	while (!CPU_ISSET((unsigned)cpu, &allowed))
		cpu++;
	assert_int_equal(worker_start(&pinned, 0, cpu), 0);
	worker_call(&pinned, read_cpus, &cpus);
	worker_stop(&pinned);
	assert_int_equal(CPU_COUNT(&cpus), 1);
	assert_true(CPU_ISSET((unsigned)cpu, &cpus));
}

TEST(worker_on_a_processor_that_is_not_there_is_refused_and_leaves_nothing)
{
	unsigned fds = unit_open_fds();
	struct worker nowhere;

	assert_int_equal(worker_start(&nowhere, 0, CPU_SETSIZE - 1), -EINVAL);
	assert_int_equal(unit_open_fds(), fds);
}

#define WORKER_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORKER_TEST(call_runs_on_the_thread_of_the_worker_and_has_run_when_it_returns),
		WORKER_TEST(call_has_run_when_it_returns_although_signals_come),
		WORKER_TEST(thousands_of_calls_each_run_once),
		WORKER_TEST(worker_knows_its_index),
		WORKER_TEST(device_can_watch_its_own_fd_on_the_worker),
		WORKER_TEST(unwatched_fd_is_silent),
		WORKER_TEST(call_does_not_run_before_the_batch_of_events_is_handled),
		WORKER_TEST(worker_that_waits_for_room_in_an_eventfd_is_freed_by_a_call),
		WORKER_TEST(worker_runs_on_the_processor_it_is_given),
		RUN(worker_on_a_processor_that_is_not_there_is_refused_and_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
