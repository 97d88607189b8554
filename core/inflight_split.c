// SPDX-License-Identifier: Apache-2.0
// Chains in flight of a split ring. Between any two stores the process may die; the steps and their order are those of
// vhost-user.rst, "Inflight I/O tracking".
#include "core/crash_point.h"
#include "core/inflight_region.h"

static struct inflight_split *region_of(const struct inflight *inflight)
{
	return inflight->region;
}

static void forget_all(struct inflight *inflight, u16 used_idx)
{
	struct inflight_split *region = region_of(inflight);

	for (u16 i = 0; i < inflight->num; i++)
		region_set(region->desc[i].inflight, 0);
	region_set(region->used_idx, used_idx);
	region_set(region->features, 0);
	region_set(region->desc_num, inflight->num);
	region_set(region->version, INFLIGHT_VERSION);
}

// The driver has been told of `count` chains that are still marked: they are the first of the list of batches.
static int clear_last_batch(struct inflight *inflight, u16 count)
{
	struct inflight_split *region = region_of(inflight);
	u16 at = region_get(region->last_batch_head);

	for (; count > 0; count--) {
		if (at >= inflight->num)
			return inflight_distrust(inflight, "entry of the last batch", at);
		region_set(region->desc[at].inflight, 0);
		at = region_get(region->desc[at].next);
	}
	return 0;
}

static bool any_in_flight(const struct inflight *inflight)
{
	for (u16 i = 0; i < inflight->num; i++)
		if (region_get(region_of(inflight)->desc[i].inflight) == 1)
			return true;
	return false;
}

static int recover(struct inflight *inflight, u16 used_idx)
{
	struct inflight_split *region = region_of(inflight);
	u16 batch = (u16)(used_idx - region_get(region->used_idx));
	int error = 0;

	if (!any_in_flight(inflight))
		batch = 0; // the driver may have begun anew
	if (batch > inflight->num)
		return inflight_distrust(inflight, "distance to the used index", batch);
	error = clear_last_batch(inflight, batch);
	if (error)
		return error;
	region_set(region->used_idx, used_idx);
	for (u16 i = 0; i < inflight->num; i++)
		if (region_get(region->desc[i].inflight) == 1)
			inflight_add_left(inflight, region_get(region->desc[i].counter), i, i);
	inflight_sort_left(inflight);
	return 0;
}

int inflight_split_start(struct inflight *inflight, u16 num, u16 used_idx, bool *recovered)
{
	int use = inflight_begin(inflight, num, false);

	*recovered = use == INFLIGHT_LEFT;
	if (use == INFLIGHT_LEFT)
		return recover(inflight, used_idx);
	if (use == INFLIGHT_OURS)
		region_set(region_of(inflight)->used_idx, used_idx);
	else if (use == INFLIGHT_UNUSED)
		forget_all(inflight, used_idx);
	return use < 0 ? use : 0;
}

void inflight_split_take(struct inflight *inflight, u16 head)
{
	struct inflight_split_desc *desc = &region_of(inflight)->desc[head];

	crash_point();
	region_set(desc->counter, inflight->counter++);
	crash_point();
	region_set(desc->inflight, 1);
	crash_point();
}

void inflight_split_done(struct inflight *inflight, u16 head)
{
	struct inflight_split *region = region_of(inflight);

	crash_point();
	region_set(region->desc[head].next, inflight->batch_head);
	crash_point();
	region_set(region->last_batch_head, head);
	crash_point();
	inflight->batch_head = head;
	inflight->batch[inflight->batch_count++] = head;
}

void inflight_split_commit(struct inflight *inflight, u16 used_idx)
{
	struct inflight_split *region = region_of(inflight);

	crash_point();
	for (u16 i = 0; i < inflight->batch_count; i++) {
		region_set(region->desc[inflight->batch[i]].inflight, 0);
		crash_point();
	}
	region_set(region->used_idx, used_idx);
	crash_point();
	inflight->batch_count = 0;
}
