// SPDX-License-Identifier: Apache-2.0
// Chains in flight of a packed ring, whose descriptors are kept too, since used ones take their place in the ring. The steps
// and their order are those of vhost-user.rst, "Inflight I/O tracking"; answered chains are linked into the list of free
// entries only when their batch is told to the driver, so that chains can be taken meanwhile.
#include <string.h>

#include "core/crash_point.h"
#include "core/inflight_region.h"

static struct inflight_packed *region_of(const struct inflight *inflight)
{
	return inflight->region;
}

static void store_free(const struct inflight *inflight, struct inflight_free free)
{
	u32 bits;

	memcpy(&bits, &free, sizeof(bits));
	region_set(region_of(inflight)->free_bits, bits);
	crash_point();
}

static void store_used(const struct inflight *inflight, struct inflight_used used)
{
	u64 bits;

	memcpy(&bits, &used, sizeof(bits));
	region_set(region_of(inflight)->used_bits, bits);
	crash_point();
}

static struct inflight_free load_free(const struct inflight *inflight)
{
	u32 bits = region_get(region_of(inflight)->free_bits);
	struct inflight_free free;

	memcpy(&free, &bits, sizeof(free));
	return free;
}

static struct inflight_used load_used(const struct inflight *inflight)
{
	u64 bits = region_get(region_of(inflight)->used_bits);
	struct inflight_used used;

	memcpy(&used, &bits, sizeof(used));
	return used;
}

static void set_next(struct inflight *inflight, u16 entry, u16 next)
{
	inflight->next[entry] = next;
	region_set(region_of(inflight)->desc[entry].next, next);
}

// The list of free entries and the used place are settled.
static void settle(struct inflight *inflight, u16 used, bool wrap)
{
	inflight->used = used;
	inflight->used_wrap = wrap;
	store_free(inflight, (struct inflight_free){.head = inflight->free_head,
						    .old_head = inflight->free_head});
	store_used(inflight, (struct inflight_used){
				     .idx = used, .old_idx = used, .wrap = wrap, .old_wrap = wrap});
}

static void forget_all(struct inflight *inflight, u16 used, bool wrap)
{
	struct inflight_packed *region = region_of(inflight);

	for (u16 i = 0; i < inflight->num; i++) {
		region_set(region->desc[i].inflight, 0);
		set_next(inflight, i, (u16)(i + 1));
	}
	inflight->free_head = 0;
	settle(inflight, used, wrap);
	region_set(region->features, 0);
	region_set(region->desc_num, inflight->num);
	region_set(region->version, INFLIGHT_VERSION);
}

// ---- recovery ----

// 2.8.1 "Driver and Device Ring Wrap Counters": has the driver been told of the descriptor since the counter was so?
static bool was_told(const struct pvirtq_desc *desc, bool wrap)
{
	u16 flags = le16_load(&desc->flags);
	bool avail = flags & PVIRTQ_DESC_F_AVAIL, used = flags & PVIRTQ_DESC_F_USED;

	return avail != wrap || used == wrap;
}

// Goes on with the last batch if the driver has been told of it, or back to before it.
static int settle_last_batch(struct inflight *inflight, const struct pvirtq_desc *ring)
{
	struct inflight_used used = load_used(inflight);
	struct inflight_free free = load_free(inflight);
	bool differ = used.idx != used.old_idx || used.wrap != used.old_wrap;

	if (used.idx >= inflight->num || used.old_idx >= inflight->num)
		return inflight_distrust(inflight, "used index",
					 used.idx >= inflight->num ? used.idx : used.old_idx);
	if (used.wrap > 1 || used.old_wrap > 1)
		return inflight_distrust(inflight, "wrap counter",
					 used.wrap > 1 ? used.wrap : used.old_wrap);
	if (differ && was_told(&ring[used.old_idx], used.old_wrap)) {
		inflight->free_head = free.head;
		inflight->used = used.idx;
		inflight->used_wrap = used.wrap;
	} else {
		inflight->free_head = free.old_head;
		inflight->used = used.old_idx;
		inflight->used_wrap = used.old_wrap;
	}
	return 0;
}

enum { ENTRY_UNKNOWN, ENTRY_FREE, ENTRY_TAKEN };

// What is in the list of free entries is not in flight, whatever its mark says. `last` holds what is known of each entry.
static int find_free(struct inflight *inflight)
{
	u16 at = inflight->free_head;

	memset(inflight->last, ENTRY_UNKNOWN, inflight->num * sizeof(*inflight->last));
	while (at != inflight->num) {
		if (at > inflight->num || inflight->last[at] != ENTRY_UNKNOWN)
			return inflight_distrust(inflight, "entry in the list of free ones", at);
		inflight->last[at] = ENTRY_FREE;
		region_set(region_of(inflight)->desc[at].inflight, 0);
		at = region_get(region_of(inflight)->desc[at].next);
	}
	return 0;
}

// Follows a chain that was left through its entries.
static int find_chain(struct inflight *inflight, u16 head)
{
	const struct inflight_packed_desc *desc = region_of(inflight)->desc;
	u16 num = region_get(desc[head].num), last = region_get(desc[head].last), at = head;

	if (num == 0 || num > inflight->num)
		return inflight_distrust(inflight, "number of a chain's descriptors", num);
	for (u16 i = 0; i < num; i++) {
		if (at >= inflight->num || inflight->last[at] != ENTRY_UNKNOWN)
			return inflight_distrust(inflight, "entry of a chain", at);
		inflight->last[at] = ENTRY_TAKEN;
		if (i + 1 < num) {
			inflight->next[at] = region_get(desc[at].next);
			at = inflight->next[at];
		}
	}
	if (at != last)
		return inflight_distrust(inflight, "last entry of a chain", last);
	inflight_add_left(inflight, region_get(desc[head].counter), head, last);
	return 0;
}

// All entries that are in no chain are free: linked anew, since not all may have come back before the process died.
static void link_free(struct inflight *inflight)
{
	u16 next = inflight->num;

	for (u16 i = inflight->num; i-- > 0;) {
		if (inflight->last[i] == ENTRY_TAKEN)
			continue;
		set_next(inflight, i, next);
		next = i;
	}
	inflight->free_head = next;
}

static void note_last_entries(struct inflight *inflight)
{
	for (unsigned i = 0; i < inflight->left_count; i++)
		inflight->last[inflight->left[i].entry] = inflight->left[i].last;
}

static int recover(struct inflight *inflight, const struct pvirtq_desc *ring)
{
	int error = settle_last_batch(inflight, ring);

	if (!error)
		error = find_free(inflight);
	for (u16 i = 0; !error && i < inflight->num; i++)
		if (inflight->last[i] == ENTRY_UNKNOWN &&
		    region_get(region_of(inflight)->desc[i].inflight) == 1)
			error = find_chain(inflight, i);
	if (error)
		return error;
	link_free(inflight);
	note_last_entries(inflight);
	inflight_sort_left(inflight);
	settle(inflight, inflight->used, inflight->used_wrap);
	return 0;
}

static u16 count_taken(const struct inflight *inflight)
{
	u16 count = inflight->num;

	for (u16 at = inflight->free_head; at < inflight->num; at = inflight->next[at])
		count--;
	return count;
}

int inflight_packed_start(struct inflight *inflight, u16 num, const struct pvirtq_desc *ring,
			  u16 *used, bool *wrap, u16 *descs, bool *recovered)
{
	int use = inflight_begin(inflight, num, true);
	int error = use < 0 ? use : 0;

	*recovered = false;
	*descs = 0;
	if (use == INFLIGHT_UNUSED)
		forget_all(inflight, *used, *wrap);
	else if (use == INFLIGHT_OURS)
		settle(inflight, *used, *wrap);
	else if (use == INFLIGHT_LEFT)
		error = recover(inflight, ring);
	if (error)
		return error;
	*recovered = use == INFLIGHT_LEFT;
	*used = inflight->used;
	*wrap = inflight->used_wrap;
	*descs = count_taken(inflight);
	return 0;
}

u16 inflight_packed_load(const struct inflight *inflight, u16 entry, struct pvirtq_desc *descs)
{
	const struct inflight_packed_desc *kept = region_of(inflight)->desc;
	u16 count = 0;

	for (u16 at = entry;; at = inflight->next[at]) {
		descs[count++] = (struct pvirtq_desc){
			.addr = le64_of(region_get(kept[at].addr)),
			.len = le32_of(region_get(kept[at].len)),
			.id = le16_of(region_get(kept[at].id)),
			.flags = le16_of(region_get(kept[at].flags)),
		};
		if (at == inflight->last[entry])
			return count;
	}
}

// ---- while the ring runs ----

static void keep_desc(struct inflight_packed_desc *kept, const struct pvirtq_desc *desc)
{
	region_set(kept->addr, le64_get(desc->addr));
	region_set(kept->len, le32_get(desc->len));
	region_set(kept->flags, le16_get(desc->flags));
	region_set(kept->id, le16_get(desc->id));
	crash_point();
}

u16 inflight_packed_take(struct inflight *inflight, const struct pvirtq_desc *descs, u16 count)
{
	struct inflight_packed_desc *kept = region_of(inflight)->desc;
	const u16 *next = inflight->next;
	u16 head = inflight->free_head, at = head, last = head;

	crash_point();
	region_set(kept[head].counter, inflight->counter++);
	region_set(kept[head].num, count);
	region_set(kept[head].inflight, 1);
	crash_point();
	for (u16 i = 0; i < count; i++) {
		keep_desc(&kept[at], &descs[i]);
		last = at;
		at = next[at];
	}
	region_set(kept[head].last, last);
	crash_point();
	inflight->last[head] = last;
	inflight->free_head = at;
	store_free(inflight, (struct inflight_free){.head = at, .old_head = at});
	return head;
}

void inflight_packed_done(struct inflight *inflight, u16 entry)
{
	inflight->batch[inflight->batch_count++] = entry;
}

void inflight_packed_link(struct inflight *inflight, u16 used, bool wrap)
{
	u16 old_head = inflight->free_head, head = old_head;

	crash_point();
	for (u16 i = 0; i < inflight->batch_count; i++) {
		u16 entry = inflight->batch[i];

		set_next(inflight, inflight->last[entry], head);
		head = entry;
		crash_point();
	}
	inflight->free_head = head;
	store_free(inflight, (struct inflight_free){.head = head, .old_head = old_head});
	store_used(inflight, (struct inflight_used){.idx = used,
						    .old_idx = inflight->used,
						    .wrap = wrap,
						    .old_wrap = inflight->used_wrap});
	inflight->used = used;
	inflight->used_wrap = wrap;
}

void inflight_packed_commit(struct inflight *inflight)
{
	struct inflight_packed_desc *kept = region_of(inflight)->desc;

	crash_point();
	for (u16 i = 0; i < inflight->batch_count; i++) {
		region_set(kept[inflight->batch[i]].inflight, 0);
		crash_point();
	}
	inflight->batch_count = 0;
	settle(inflight, inflight->used, inflight->used_wrap);
}
