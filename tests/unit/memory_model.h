// SPDX-License-Identifier: Apache-2.0
// A processor that keeps stores back, in any order that the language allows, until a fence, while the other side does its step at
// any moment: all orders are gone through, one after the other. For the one source file that is compiled behind this.
#pragma once

#include <string.h>

#include "core/base.h"
#include "tests/unit/unit.h"

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

static void (*other_step)(void); // what the other side does, once, at some moment
static bool other_is_done;

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
		if (what == 1 && !other_is_done) {
			other_is_done = true;
			other_step();
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

// At once and for all to see, but it overtakes stores to other places.
static inline u64 model_fetch_or(void *to, size_t size, u64 bits)
{
	u64 before = 0, after;

	meanwhile();
	for (unsigned i = 0; i < kept_count;)
		if (kept[i].to == to)
			let_go(i);
		else
			i++;
	memcpy(&before, to, size);
	after = before | bits;
	memcpy(to, &after, size);
	return before;
}

// Goes through all orders of the accesses of `own` and the step of the other side; their number.
static unsigned model_all_orders(void (*prepare)(void), void (*own)(void), void (*other)(void),
				 void (*check)(void))
{
	unsigned paths = 0;

	other_step = other;
	path_len = 0;
	do {
		other_is_done = false;
		prepare();
		own();
		meanwhile();
		while (kept_count > 0)
			let_go(0);
		if (!other_is_done)
			other();
		check();
		paths++;
	} while (next_path());
	return paths;
}

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): these are what the sources say
#define __atomic_thread_fence(order) model_fence(order)
#define __atomic_store_n(to, value, order) \
	model_store((void *)(to), sizeof(*(to)), (u64)(value), order)
#define __atomic_load_n(from, order) ((__typeof__(*(from)))model_load(from, sizeof(*(from))))
#define __atomic_fetch_or(to, bits, order) model_fetch_or((void *)(to), sizeof(*(to)), (bits))
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
