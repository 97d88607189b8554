// SPDX-License-Identifier: Apache-2.0
// What the two layouts of the region have in common: memory, and the order of what was left.
#include "core/inflight_region.h"

#include "core/sys.h"

enum { PART_ALIGN = 64 }; // so that no two rings share a cache line

u64 inflight_least_len(unsigned num, bool packed)
{
	if (packed)
		return sizeof(struct inflight_packed) +
		       (u64)num * sizeof(struct inflight_packed_desc);
	return sizeof(struct inflight_split) + (u64)num * sizeof(struct inflight_split_desc);
}

u64 inflight_len(unsigned num)
{
	return (inflight_least_len(num, true) + PART_ALIGN - 1) & ~(u64)(PART_ALIGN - 1);
}

int inflight_init(struct inflight *inflight, unsigned max_size)
{
	*inflight = (struct inflight){.max_size = max_size};
	inflight->batch = sys_reserve(max_size * sizeof(*inflight->batch));
	inflight->left = sys_reserve(max_size * sizeof(*inflight->left));
	inflight->next = sys_reserve(max_size * sizeof(*inflight->next));
	inflight->last = sys_reserve(max_size * sizeof(*inflight->last));
	if (inflight->batch && inflight->left && inflight->next && inflight->last)
		return 0;
	inflight_fini(inflight);
	return -ENOMEM;
}

void inflight_fini(struct inflight *inflight)
{
	sys_release(inflight->batch, inflight->max_size * sizeof(*inflight->batch));
	sys_release(inflight->left, inflight->max_size * sizeof(*inflight->left));
	sys_release(inflight->next, inflight->max_size * sizeof(*inflight->next));
	sys_release(inflight->last, inflight->max_size * sizeof(*inflight->last));
	*inflight = (struct inflight){0};
}

void inflight_forget(struct inflight *inflight)
{
	inflight->fresh = false;
	inflight->num = 0;
	inflight->left_count = 0;
	inflight->left_next = 0;
}

void inflight_attach(struct inflight *inflight, void *region, u64 len)
{
	inflight_forget(inflight);
	inflight->region = region;
	inflight->len = len;
	inflight->fresh = true;
}

int inflight_distrust(struct inflight *inflight, const char *what, u64 value)
{
	inflight->doubt = what;
	inflight->doubtful = value;
	return -EPROTO;
}

// What a region holds that has come anew.
static int check_head(struct inflight *inflight, u16 num)
{
	const struct inflight_head *head = inflight->region;
	u16 version = region_get(head->version), desc_num = region_get(head->desc_num);
	u64 features = region_get(head->features);

	if (version == 0)
		return INFLIGHT_UNUSED;
	if (version != INFLIGHT_VERSION)
		return inflight_distrust(inflight, "version", version);
	if (features != 0)
		return inflight_distrust(inflight, "features", features);
	if (desc_num == num)
		return INFLIGHT_LEFT;
	inflight->other_num = desc_num; // no driver changes that without beginning anew
	return INFLIGHT_UNUSED;
}

int inflight_begin(struct inflight *inflight, u16 num, bool packed)
{
	int use = INFLIGHT_UNUSED;

	if (!inflight->fresh && inflight->num == num && inflight->packed == packed)
		return INFLIGHT_OURS;
	if (inflight->fresh)
		use = check_head(inflight, num);
	inflight_forget(inflight);
	inflight->num = num;
	inflight->packed = packed;
	inflight->counter = 0;
	inflight->batch_count = 0;
	inflight->batch_head = 0;
	return use;
}

// Whatever the region says, this is a total order.
static int compare_left(const void *a, const void *b)
{
	const struct inflight_chain *left = a, *right = b;

	if (left->counter != right->counter)
		return left->counter < right->counter ? -1 : 1;
	return (int)left->entry - (int)right->entry;
}

void inflight_sort_left(struct inflight *inflight)
{
	if (inflight->left_count == 0)
		return;
	qsort(inflight->left, inflight->left_count, sizeof(*inflight->left), compare_left);
	inflight->counter = inflight->left[inflight->left_count - 1].counter + 1;
}
