// SPDX-License-Identifier: Apache-2.0
// Tests of the memory order of core/vring_split.c and core/vring_packed.c by two threads, each on a processor of its own if there
// are two. Many rings are raced through side by side, so that some pair of steps falls within the few cycles that count.
// tests/unit/test_vring_order.c goes through all orders one by one.
#include <pthread.h>
#include <sched.h>

#include "tests/unit/pair.h"

#ifdef __SANITIZE_THREAD__
enum { ROUNDS = 20 }; // it looks at each access, not at what two processors make of them
#else
enum { ROUNDS = 3000 };
#endif
enum { STREAM = 5000, SIDE_BY_SIDE = 200 };

static unsigned arrived; // how often a thread has come to a meeting
static struct {
	_Alignas(128) unsigned next; // its next ring
} lanes[2];

// ---- duels ----

// Returns when the other thread has come to its `count`th meeting, too.
static void meet(unsigned count)
{
	unsigned tries = 0;

	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < 2 * count)
		if (++tries % 4096 == 0)
			sched_yield(); // there may be one processor only
}

// Goes side by side with the other thread, as far as that runs now.
static void run_lane(unsigned own, void (*step)(struct pair *))
{
	for (unsigned i = 0; i < PAIRS; i++) {
		__atomic_store_n(&lanes[own].next, i, __ATOMIC_RELAXED);
		for (unsigned tries = 0; tries < SIDE_BY_SIDE; tries++)
			if (__atomic_load_n(&lanes[!own].next, __ATOMIC_RELAXED) >= i)
				break;
		step(&pairs[i]);
	}
}

static void device_shows(struct pair *pair)
{
	pair->device_saw = pair_show(&pair->vring);
}

static void device_sleeps(struct pair *pair)
{
	pair->device_saw = pair_want_kick(&pair->vring, true);
}

static void *be_device(void *context)
{
	const struct duel *duel = context;

	for (unsigned round = 1; round <= ROUNDS; round++) {
		meet(2 * round - 1);
		run_lane(1, duel->answers ? device_shows : device_sleeps);
		meet(2 * round);
	}
	return NULL;
}

static void race(const struct duel *duel)
{
	pthread_t thread;

	arrived = 0;
	assert_int_equal(pthread_create(&thread, NULL, be_device, (void *)(uintptr_t)duel), 0);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		for (unsigned i = 0; i < PAIRS; i++)
			duel->prepare(&pairs[i]);
		lanes[0].next = lanes[1].next = 0;
		meet(2 * round - 1);
		run_lane(0, duel->driver);
		meet(2 * round);
		for (unsigned i = 0; i < PAIRS; i++)
			duel->check(&pairs[i]);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

TEST(driver_that_goes_to_sleep_is_called_or_sees_the_answer)
{
	race(&pair_call_duel);
}

TEST(device_that_goes_to_sleep_is_kicked_or_sees_the_chain)
{
	race(&pair_kick_duel);
}

// ---- what a used index, or a used flag, promises is there: ThreadSanitizer sees if it need not be ----

static unsigned data[STREAM]; // stand for what chains' buffers hold: an answer must come after it

static void *answer_stream(void *context)
{
	struct pair *pair = context;

	for (unsigned i = 0; i < STREAM;) {
		struct chain *chain;

		vring_begin_turn(&pair->vring);
		chain = vring_pop(&pair->vring);
		if (!chain) {
			sched_yield();
			continue;
		}
		data[i] = i;
		vring_push(&pair->vring, chain, i++);
		deferred_cancel(&pair->vring.publish);
		pair_show(&pair->vring);
	}
	return NULL;
}

TEST(answer_is_whole_when_the_driver_sees_it)
{
	struct pair *pair = &pairs[0];
	struct vm_completion completion;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, answer_stream, pair), 0);
	for (unsigned i = 0; i < STREAM; i++) {
		pair_add(pair);
		vm_ring_show(&pair->driver);
		while (vm_ring_take(&pair->driver, &completion) == 0)
			sched_yield();
		assert_int_equal(completion.len, i);
		assert_int_equal(data[i], i);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAIR_TESTS(driver_that_goes_to_sleep_is_called_or_sees_the_answer),
		PAIR_TESTS(device_that_goes_to_sleep_is_kicked_or_sees_the_chain),
		PAIR_TESTS(answer_is_whole_when_the_driver_sees_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
