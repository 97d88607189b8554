// SPDX-License-Identifier: Apache-2.0
// Chains in flight of a split ring. Between any two stores the process may die; the steps and their order are those of
// vhost-user.rst, "Inflight I/O tracking".
#include "core/crash_point.h"
#include "core/inflight_region.h"
#include "core/log.h"

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
static int clear_last_batch(const struct inflight *inflight, u16 count)
{
	struct inflight_split *region = region_of(inflight);
	u16 at = region_get(region->last_batch_head);

	for (; count > 0; count--) {
		if (at >= inflight->num)
			return log_errno(
				-EPROTO,
				"inflight region: entry %u of the last batch is none of %u", at,
				inflight->num);
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
		return log_errno(-EPROTO,
				 "inflight region: used index %u is %u ahead, the ring has %u",
				 used_idx, batch, inflight->num);
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

// After a pause of the ring nothing is in flight, and only the driver may have begun anew.
int inflight_split_start(struct inflight *inflight, u16 num, u16 used_idx, bool *recovered)
{
	struct inflight_split *region = region_of(inflight);
	bool fresh = inflight->fresh;
	int known = 0;

	*recovered = false;
	if (inflight->len < inflight_min_len(num))
		return -EINVAL; // said by who cannot start the ring for it
	if (!fresh && inflight->num == num && !inflight->packed) {
		region_set(region->used_idx, used_idx);
		return 0;
	}
	if (fresh)
		known = inflight_check_version(region_get(region->features),
					       region_get(region->version),
					       region_get(region->desc_num), num);
	if (known < 0)
		return known;
	inflight_restart(inflight, num, false);
	*recovered = known > 0;
	if (known)
		return recover(inflight, used_idx);
	forget_all(inflight, used_idx);
	return 0;
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
