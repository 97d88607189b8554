// SPDX-License-Identifier: Apache-2.0
// Tests of core/queue.c: the hand-over of a ring between the control thread, which is this one, and its worker.
#include "tests/unit/echo.h"

#include <string.h>
#include <sys/eventfd.h>

#include "core/device_setup.h"
#include "core/queue.h"

enum { SIZE = 64, SLOTS = 32 };

static struct echo echo;
static struct worker worker;
static struct vm_memory vm;
static struct vm_ring driver;
static struct guest_memory memory;
static struct queue queue;
static struct echo_slot slots[SLOTS];

static void open_queue(enum echo_order order, u64 features)
{
	vm.count = memory.count = 0;
	assert_true(vm_memory_add(&vm, BIT64(32), 8 << 20, 0) >= 0);
	unit_share(&memory, &vm);
	assert_int_equal(vm_ring_init(&driver, &vm, SIZE, features & BIT64(VIRTIO_F_EVENT_IDX), 0),
			 0);
	for (unsigned i = 0; i < SLOTS; i++)
		echo_slot_init(&slots[i], &vm);
	echo_init(&echo, 1, order);
	assert_int_equal(worker_start(&worker, 0, -1), 0);
	assert_int_equal(device_worker_start(&echo.device, &worker), 0);
	assert_int_equal(queue_init(&queue, &echo.device, 0, SIZE, &worker), 0);
}

static int setup(void **state)
{
	(void)state;
	open_queue(ECHO_AT_ONCE, 0);
	return 0;
}

static int setup_later(void **state)
{
	(void)state;
	open_queue(ECHO_LATER, 0);
	return 0;
}

static int setup_event_idx(void **state)
{
	(void)state;
	open_queue(ECHO_AT_ONCE, BIT64(VIRTIO_F_EVENT_IDX));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	queue_stop(&queue);
	queue_fini(&queue);
	device_worker_stop(&echo.device, &worker);
	worker_stop(&worker);
	vm_ring_free(&driver);
	guest_memory_clear(&memory);
	vm_memory_free(&vm);
	return echo.wrong_thread ? -1 : 0;
}

static u64 features_of_driver(void)
{
	return BIT64(VIRTIO_F_VERSION_1) | (driver.event_idx ? BIT64(VIRTIO_F_EVENT_IDX) : 0);
}

static void start(void)
{
	queue_start(&queue, &memory, NULL, features_of_driver());
}

// Says all that a front-end has to say.
static void say_all(void)
{
	queue.layout = (struct vring_layout){
		.num = SIZE,
		.desc.value = vm_memory_user_addr(&vm, driver.desc_addr),
		.avail.value = vm_memory_user_addr(&vm, driver.avail_addr),
		.used.value = vm_memory_user_addr(&vm, driver.used_addr),
	};
	queue.have_addr = queue.have_base = true;
	queue_set_kick_fd(&queue, dup(driver.kick_fd));
	queue_set_call_fd(&queue, dup(driver.call_fd));
	queue_set_err_fd(&queue, dup(driver.err_fd));
	queue.started = queue.enabled = true;
}

static void say_all_and_start(void)
{
	say_all();
	start();
	assert_true(queue.running);
}

TEST(ring_runs_once_all_is_said)
{
	start();
	assert_false(queue.running);
	say_all_and_start();
	assert_true(echo_works(&driver, &slots[0], 1));
	assert_int_equal(echo.starts, 1);
}

static void expect_not_startable(void)
{
	start();
	assert_false(queue.running);
	assert_int_equal(echo_count(&echo.starts), 0);
}

TEST(ring_does_not_run_while_something_is_missing)
{
	say_all();
	queue.layout.num = 0;
	expect_not_startable();
	say_all();
	queue.have_addr = false;
	expect_not_startable();
	say_all();
	queue.have_base = false;
	expect_not_startable();
	say_all();
	queue.started = false;
	expect_not_startable();
	say_all();
	queue.enabled = false;
	expect_not_startable();
	say_all();
	memory.count = 0;
	expect_not_startable();
	memory.count = 1;
	start();
	assert_true(queue.running);
}

TEST(ring_outside_guest_memory_stays_stopped)
{
	say_all();
	queue.layout.used.value = 0;
	expect_not_startable();
}

TEST(starting_twice_starts_once)
{
	say_all_and_start();
	start();
	queue_stop(&queue);
	assert_int_equal(echo.starts, 1);
	assert_int_equal(echo.stops, 1);
	queue_stop(&queue);
	assert_int_equal(echo.stops, 1);
}

TEST(chain_made_available_before_the_start_is_served)
{
	say_all();
	assert_true(echo_add(&driver, &slots[0], 7));
	vm_ring_show(&driver);
	start();
	assert_int_equal(vm_ring_wait(&driver, 5000), 0);
	assert_ptr_equal(echo_take(&driver), &slots[0]);
}

TEST(ring_goes_on_where_it_stopped)
{
	say_all_and_start();
	for (u32 i = 0; i < 3 * SIZE; i++) {
		assert_true(echo_works(&driver, &slots[i % SLOTS], i));
		queue_stop(&queue);
		assert_int_equal(queue.layout.base, i + 1);
		start();
	}
	assert_int_equal(echo.starts, 3 * SIZE + 1);
}

static void do_nothing(void *context)
{
	(void)context;
}

TEST(stopped_ring_serves_nothing)
{
	say_all_and_start();
	queue_stop(&queue);
	assert_true(echo_add(&driver, &slots[0], 7));
	vm_ring_kick(&driver);
	worker_call(&worker, do_nothing, NULL); // a whole turn lies between
	assert_null(echo_take(&driver));
	assert_int_equal(echo_count(&echo.served), 0);
}

// Keeps the device busy; it holds at least one chain then.
static void add_all(void)
{
	for (u32 i = 0; i < SLOTS; i++)
		assert_true(echo_add(&driver, &slots[i], i));
	vm_ring_kick(&driver);
	echo_wait(&echo.taken, 1);
}

TEST(stop_returns_when_all_that_was_taken_is_answered)
{
	unsigned answers = 0;

	echo.stop_ns = 20000000;
	say_all_and_start();
	add_all();
	queue_stop(&queue);
	assert_true(vring_idle(&queue.vring));
	while (echo_take(&driver))
		answers++;
	assert_int_equal(answers, queue.layout.base); // neither more nor fewer than were taken
	assert_int_equal(answers, echo.taken);
}

TEST(answers_at_the_stop_call_the_driver)
{
	say_all_and_start();
	add_all();
	vm_ring_eventfd_read(driver.call_fd);
	queue_stop(&queue);
	assert_true(queue.layout.base > 0);
	assert_true(unit_is_readable(driver.call_fd));
}

TEST(device_answers_later_by_its_own_fd)
{
	say_all_and_start();
	assert_true(echo_add(&driver, &slots[0], 1));
	vm_ring_kick(&driver);
	echo_wait(&echo.taken, 1);
	assert_int_equal(echo_count(&echo.served), 0);
	echo_release(&echo, 0);
	assert_int_equal(vm_ring_wait(&driver, 5000), 0);
	assert_ptr_equal(echo_take(&driver), &slots[0]);
}

TEST(ring_without_a_kick_fd_is_polled)
{
	say_all();
	queue_set_kick_fd(&queue, -1);
	start();
	assert_true(queue.running);
	for (u32 i = 0; i < 100; i++) {
		assert_true(echo_add(&driver, &slots[0], i));
		vm_ring_show(&driver); // and no kick
		assert_int_equal(vm_ring_wait(&driver, 5000), 0);
		assert_ptr_equal(echo_take(&driver), &slots[0]);
	}
}

TEST(kick_fd_that_cannot_be_watched_breaks_the_ring)
{
	say_all();
	queue_set_kick_fd(&queue, dup(vm.regions[0].fd)); // a file
	start();
	queue_stop(&queue);
	assert_int_equal(vm_ring_eventfd_read(driver.err_fd), 1);
}

TEST(new_call_fd_of_a_running_ring_is_signalled_at_once)
{
	int call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	say_all_and_start();
	queue_set_call_fd(&queue, dup(call_fd));
	assert_int_equal(vm_ring_eventfd_read(call_fd), 1);
	assert_true(echo_add(&driver, &slots[0], 1));
	vm_ring_kick(&driver);
	close_fd(&driver.call_fd);
	driver.call_fd = call_fd;
	assert_int_equal(vm_ring_wait(&driver, 5000), 0);
	assert_ptr_equal(echo_take(&driver), &slots[0]);
}

TEST(call_and_err_fds_can_be_taken_away_from_a_running_ring)
{
	unsigned before;

	say_all_and_start();
	before = unit_open_fds();
	queue_set_call_fd(&queue, -1);
	queue_set_err_fd(&queue, -1);
	assert_int_equal(unit_open_fds(), before - 2);
	assert_true(echo_add(&driver, &slots[0], 1));
	vm_ring_kick(&driver);
	queue_stop(&queue);
}

TEST(err_fd_given_to_a_running_ring_is_told_of_a_break)
{
	int err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	say_all_and_start();
	queue_set_err_fd(&queue, dup(err_fd));
	driver.avail->idx = SIZE + 1;
	vm_ring_notify(&driver);
	queue_stop(
		&queue); // after the kick, or before: then it is found when the ring starts again
	start();
	queue_stop(&queue);
	assert_int_equal(vm_ring_eventfd_read(err_fd), 1);
	assert_int_equal(vm_ring_eventfd_read(driver.err_fd), 0);
	close(err_fd);
}

TEST(broken_ring_stays_so_until_its_base_is_taken)
{
	say_all_and_start();
	driver.avail->idx = SIZE + 1;
	vm_ring_notify(&driver);
	queue_stop(&queue);
	start();
	queue_stop(&queue);
	assert_true(queue.vring.broken);
	start();
	queue_stop(&queue);
	assert_true(queue.vring.broken);
	assert_int_equal(queue_take_base(&queue), 0);
	vm_ring_reset(&driver);
	say_all_and_start();
	assert_true(echo_works(&driver, &slots[0], 1));
}

TEST(taken_base_is_the_next_available_entry_and_the_ring_is_not_started)
{
	say_all_and_start();
	for (u32 i = 0; i < 5; i++)
		assert_true(echo_works(&driver, &slots[0], i));
	assert_int_equal(queue_take_base(&queue), 5);
	assert_int_equal(queue_take_base(&queue), 5);
	start();
	assert_false(queue.running);
}

TEST(reset_forgets_all_and_closes_the_fds)
{
	unsigned before = unit_open_fds();

	say_all_and_start();
	assert_true(echo_works(&driver, &slots[0], 1));
	queue_stop(&queue);
	queue_reset(&queue);
	assert_int_equal(unit_open_fds(), before);
	assert_int_equal(queue.layout.base, 0);
	start();
	assert_false(queue.running);
}

// ---- the hand-over under load

enum { HAND_OVERS = 4000, WAIT_MS = 5000 };

static u64 answered;
static bool ending, lost;

// A driver that keeps the ring busy and notices when nothing comes back.
static void *drive(void *context)
{
	u32 number = 0;
	unsigned in_flight = 0;

	(void)context;
	for (;;) {
		bool enough = __atomic_load_n(&ending, __ATOMIC_ACQUIRE);
		unsigned wanted = enough ? 0 : 1 + number % SLOTS;

		if (enough && in_flight == 0)
			return NULL;
		for (; in_flight < wanted; in_flight++, number++)
			if (!echo_add(&driver, &slots[number % SLOTS], number))
				break;
		vm_ring_kick(&driver);
		if (vm_ring_wait(&driver, WAIT_MS) != 0) {
			__atomic_store_n(&lost, true, __ATOMIC_RELEASE);
			return NULL;
		}
		for (; echo_take(&driver); in_flight--)
			__atomic_add_fetch(&answered, 1, __ATOMIC_RELEASE);
	}
}

static bool has_moved(const void *context)
{
	return __atomic_load_n(&answered, __ATOMIC_ACQUIRE) != *(const u64 *)context ||
	       __atomic_load_n(&lost, __ATOMIC_ACQUIRE);
}

// After each hand-over the ring must move without a further one: else a kick was lost.
static void hand_over_thousands_of_times(void)
{
	pthread_t thread;

	answered = 0;
	ending = lost = false;
	say_all_and_start();
	assert_int_equal(pthread_create(&thread, NULL, drive, NULL), 0);
	for (unsigned i = 0; i < HAND_OVERS && !__atomic_load_n(&lost, __ATOMIC_ACQUIRE); i++) {
		u64 before;

		queue_stop(&queue);
		assert_true(vring_idle(&queue.vring));
		before = __atomic_load_n(&answered, __ATOMIC_ACQUIRE);
		start();
		if (i % 8 == 0)
			unit_wait(has_moved, &before);
	}
	__atomic_store_n(&ending, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_false(lost);
	assert_int_equal(echo_count(&echo.served), answered);
	assert_int_equal(echo_count(&echo.stops), HAND_OVERS);
}

TEST(no_kick_is_lost_while_the_ring_changes_hands)
{
	hand_over_thousands_of_times();
}

#define QUEUE_TEST(name) RUN_WITH(setup, name, teardown)
#define LATER_TEST(name) RUN_WITH(setup_later, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		QUEUE_TEST(ring_runs_once_all_is_said),
		QUEUE_TEST(ring_does_not_run_while_something_is_missing),
		QUEUE_TEST(ring_outside_guest_memory_stays_stopped),
		QUEUE_TEST(starting_twice_starts_once),
		QUEUE_TEST(chain_made_available_before_the_start_is_served),
		QUEUE_TEST(ring_goes_on_where_it_stopped),
		QUEUE_TEST(stopped_ring_serves_nothing),
		LATER_TEST(stop_returns_when_all_that_was_taken_is_answered),
		LATER_TEST(answers_at_the_stop_call_the_driver),
		LATER_TEST(device_answers_later_by_its_own_fd),
		QUEUE_TEST(ring_without_a_kick_fd_is_polled),
		QUEUE_TEST(kick_fd_that_cannot_be_watched_breaks_the_ring),
		QUEUE_TEST(new_call_fd_of_a_running_ring_is_signalled_at_once),
		QUEUE_TEST(call_and_err_fds_can_be_taken_away_from_a_running_ring),
		QUEUE_TEST(err_fd_given_to_a_running_ring_is_told_of_a_break),
		QUEUE_TEST(broken_ring_stays_so_until_its_base_is_taken),
		QUEUE_TEST(taken_base_is_the_next_available_entry_and_the_ring_is_not_started),
		QUEUE_TEST(reset_forgets_all_and_closes_the_fds),
		QUEUE_TEST(no_kick_is_lost_while_the_ring_changes_hands),
		RUN_WITH(setup_event_idx, no_kick_is_lost_while_the_ring_changes_hands, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
