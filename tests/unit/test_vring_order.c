// SPDX-License-Identifier: Apache-2.0
// Tests of the memory order of core/vring_split.c and core/vring_packed.c by going through all orders: their sources are compiled
// here with every atomic access handed to a model. What no order may lead to is looked for in all of them.
#include "core/crash_point.h"
#include "core/memory_fault.h"
#include "core/sys.h"
#include "tests/unit/pair.h"
// behind what must not be changed by it
#include "tests/unit/memory_model.h"

static struct pair *const pair = &pairs[0];
static const struct duel *duel;

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

static void prepare(void)
{
	duel->prepare(pair);
}

static void run_device(void)
{
	struct vring *vring = &pair->vring;

	if (duel->answers)
		pair->device_saw =
			vring->packed ? vring_packed_show(vring) : vring_split_show(vring);
	else
		pair->device_saw = vring->packed ? vring_packed_want_kick(vring, true)
						 : vring_split_want_kick(vring, true);
}

static void run_driver(void)
{
	duel->driver(pair);
}

static void check(void)
{
	duel->check(pair);
}

static void go_through_all_orders(const struct duel *of)
{
	duel = of;
	assert_true(model_all_orders(prepare, run_device, run_driver, check) > 10);
}

TEST(driver_that_goes_to_sleep_is_called_or_sees_the_answer)
{
	go_through_all_orders(&pair_call_duel);
}

TEST(device_that_goes_to_sleep_is_kicked_or_sees_the_chain)
{
	go_through_all_orders(&pair_kick_duel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAIR_TESTS(driver_that_goes_to_sleep_is_called_or_sees_the_answer),
		PAIR_TESTS(device_that_goes_to_sleep_is_kicked_or_sees_the_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
