// SPDX-License-Identifier: Apache-2.0
// Tests of the memory order of core/vring_split.c and core/vring_packed.c by going through all orders: their sources are compiled
// here with every atomic access handed to a model of a processor that keeps stores back, in any order that the language allows,
// until a fence, and lets the driver do its step at any moment. What no order may lead to is looked for in all of them.
#include <string.h>

#include "core/crash_point.h"
#include "core/memory_fault.h"
#include "core/sys.h"
#include "tests/unit/pair.h"

enum { MOST_STORES = 8, MOST_CHOICES = 64 };

struct kept_store {
	void *to;
	size_t size;
	u64 value;
	bool release;
};

static struct kept_store kept[MOST_STORES]; // in the order in which they were made
static unsigned kept_count;

// A path through all choices: which one was taken, and of how many.
static struct {
	unsigned taken, of;
} path[MOST_CHOICES];
static unsigned path_len, path_at;

static struct pair pair;
static const struct duel *duel;
static bool driver_is_done;

static unsigned choose(unsigned of)
{
	assert_true(path_at < MOST_CHOICES);
	if (path_at == path_len) {
		path[path_len].taken = 0;
		path[path_len++].of = of;
	}
	assert_int_equal(path[path_at].of, of);
	return path[path_at++].taken;
}

// Moves on to the next path; false if there is none.
static bool next_path(void)
{
	path_at = 0;
	while (path_len > 0 && path[path_len - 1].taken + 1 == path[path_len - 1].of)
		path_len--;
	if (path_len == 0)
		return false;
	path[path_len - 1].taken++;
	return true;
}

static void let_go(unsigned index)
{
	memcpy(kept[index].to, &kept[index].value, kept[index].size);
	memmove(&kept[index], &kept[index + 1], (--kept_count - index) * sizeof(*kept));
}

// A release waits for all before it; stores to one place stay in their order.
static bool may_go(unsigned index)
{
	for (unsigned i = 0; i < index; i++)
		if (kept[index].release || kept[i].to == kept[index].to)
			return false;
	return true;
}

// What the rest of the machine does meanwhile: nothing (0), the driver's step (1), one of the stores arrives.
static void meanwhile(void)
{
	unsigned what;

	while ((what = choose(2 + kept_count)) > 0) {
		if (what == 1 && !driver_is_done) {
			driver_is_done = true;
			duel->driver(&pair);
		} else if (what > 1 && may_go(what - 2)) {
			let_go(what - 2);
		} else {
			return; // the same as nothing
		}
	}
}

static void model_fence(int order)
{
	meanwhile();
	while (order == __ATOMIC_SEQ_CST && kept_count > 0)
		let_go(0);
}

static void model_store(void *to, size_t size, u64 value, int order)
{
	meanwhile();
	assert_true(kept_count < MOST_STORES);
	kept[kept_count++] = (struct kept_store){to, size, value, order == __ATOMIC_RELEASE};
}

// The newest of our own stores that are kept back, or what is there.
static u64 model_load(const void *from, size_t size)
{
	u64 value = 0;

	meanwhile();
	memcpy(&value, from, size);
	for (unsigned i = 0; i < kept_count; i++)
		if (kept[i].to == from)
			value = kept[i].value;
	return value;
}

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): these are what the sources say
#define __atomic_thread_fence(order) model_fence(order)
#define __atomic_store_n(to, value, order) \
	model_store((void *)(to), sizeof(*(to)), (u64)(value), order)
#define __atomic_load_n(from, order) ((__typeof__(*(from)))model_load(from, sizeof(*(from))))
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

// core/endian.h again, and the two sources, under names of their own.
#define le16_load modelled_le16_load
#define le16_load_acquire modelled_le16_load_acquire
#define le16_store modelled_le16_store
#define le16_store_release modelled_le16_store_release
static u16 le16_load(const le16 *shared)
{
	return (u16)le_swap16(__atomic_load_n(&shared->raw, __ATOMIC_RELAXED));
}

static u16 le16_load_acquire(const le16 *shared)
{
	return le16_load(shared); // loads are not moved in this model
}

static void le16_store(le16 *shared, u16 value)
{
	__atomic_store_n(&shared->raw, (u16)le_swap16(value), __ATOMIC_RELAXED);
}

static void le16_store_release(le16 *shared, u16 value)
{
	__atomic_store_n(&shared->raw, (u16)le_swap16(value), __ATOMIC_RELEASE);
}

// The public functions of both, declared anew.
#define vring_split_take modelled_split_take
#define vring_split_answer modelled_split_answer
#define vring_split_show modelled_split_show
#define vring_split_want_kick modelled_split_want_kick
#define vring_split_place modelled_split_place
#define vring_packed_take modelled_packed_take
#define vring_packed_answer modelled_packed_answer
#define vring_packed_show modelled_packed_show
#define vring_packed_want_kick modelled_packed_want_kick
#define vring_packed_place modelled_packed_place
#define vring_base modelled_base
struct chain *vring_split_take(struct vring *vring, bool *refused);
void vring_split_answer(struct vring *vring, const struct chain *chain, u32 written);
bool vring_split_show(struct vring *vring);
bool vring_split_want_kick(struct vring *vring, bool wanted);
int vring_split_place(struct vring *vring, const struct vring_layout *layout);
struct chain *vring_packed_take(struct vring *vring, bool *refused);
void vring_packed_answer(struct vring *vring, const struct chain *chain, u32 written);
bool vring_packed_show(struct vring *vring);
bool vring_packed_want_kick(struct vring *vring, bool wanted);
int vring_packed_place(struct vring *vring, const struct vring_layout *layout);
u32 vring_base(const struct vring *vring);

#include "core/vring_split.c" // NOLINT(bugprone-suspicious-include)
// What both have a function of their own for.
#define begin packed_begin
#define take_left packed_take_left
#define add_desc packed_add_desc
#define load_desc packed_load_desc
#define driver_wants_call packed_driver_wants_call
#include "core/vring_packed.c" // NOLINT(bugprone-suspicious-include)

// ---- duels ----

static void run_device(void)
{
	struct vring *vring = &pair.vring;

	if (duel->answers)
		pair.device_saw =
			vring->packed ? vring_packed_show(vring) : vring_split_show(vring);
	else
		pair.device_saw = vring->packed ? vring_packed_want_kick(vring, true)
						: vring_split_want_kick(vring, true);
	meanwhile();
	while (kept_count > 0)
		let_go(0);
	if (!driver_is_done)
		duel->driver(&pair);
}

static void go_through_all_orders(const struct duel *of)
{
	unsigned paths = 0;

	duel = of;
	path_len = 0;
	do {
		driver_is_done = false;
		duel->prepare(&pair);
		run_device();
		duel->check(&pair);
		paths++;
	} while (next_path());
	assert_true(paths > 10);
}

TEST(driver_that_goes_to_sleep_is_called_or_sees_the_answer)
{
	go_through_all_orders(&pair_call_duel);
}

TEST(device_that_goes_to_sleep_is_kicked_or_sees_the_chain)
{
	go_through_all_orders(&pair_kick_duel);
}

static int open_pair(u64 features)
{
	pair_open(&pair, 1, features);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pair_close(&pair, 1);
	return 0;
}

static int setup_split(void **state)
{
	(void)state;
	return open_pair(0);
}

static int setup_split_event_idx(void **state)
{
	(void)state;
	return open_pair(BIT64(VIRTIO_F_EVENT_IDX));
}

static int setup_packed(void **state)
{
	(void)state;
	return open_pair(BIT64(VIRTIO_F_RING_PACKED));
}

static int setup_packed_event_idx(void **state)
{
	(void)state;
	return open_pair(BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_EVENT_IDX));
}

#define ALL(name) \
	RUN_WITH(setup_split, name, teardown), RUN_WITH(setup_split_event_idx, name, teardown), \
		RUN_WITH(setup_packed, name, teardown), \
		RUN_WITH(setup_packed_event_idx, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(driver_that_goes_to_sleep_is_called_or_sees_the_answer),
		ALL(device_that_goes_to_sleep_is_kicked_or_sees_the_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
