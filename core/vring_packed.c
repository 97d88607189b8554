// SPDX-License-Identifier: Apache-2.0
// The packed virtqueue, device side (VIRTIO 1.3, 2.8 "Packed Virtqueues"). As in the split one each field that the guest can
// change is loaded once.
#include "core/crash_point.h"
#include "core/vring_layout.h"

// The flags come first: by those of a chain's first descriptor the rest counts.
static struct pvirtq_desc load_desc(const struct pvirtq_desc *shared)
{
	struct pvirtq_desc desc = {.rest = __atomic_load_n(&shared->rest, __ATOMIC_ACQUIRE)};

	desc.addr.raw = __atomic_load_n(&shared->addr.raw, __ATOMIC_RELAXED);
	return desc;
}

// 2.8.1 "Driver and Device Ring Wrap Counters"
static bool is_available(const struct vring *vring, u16 flags)
{
	return (flags & (PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED)) ==
	       (vring->avail_wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED);
}

static void advance(u16 *index, bool *wrap, u16 by, u16 num)
{
	u32 next = (u32)*index + by;

	if (next >= num) {
		next -= num;
		*wrap = !*wrap;
	}
	*index = (u16)next;
}

// Copies the descriptors of the chain that is next, which the driver has made available as a whole. Their count; 0 if none is
// available; -EPROTO and the ring is broken.
static int copy_chain(struct vring *vring)
{
	u16 at = vring->last_avail, count = 1;
	struct pvirtq_desc desc = load_desc(&vring->ring[at]);

	if (!is_available(vring, le16_get(desc.flags)))
		return 0;
	vring->chain_descs[0] = desc;
	while (le16_get(desc.flags) & VIRTQ_DESC_F_NEXT) {
		if (count == vring->num) {
			vring_break(vring, "descriptor chain is longer than %u", vring->num);
			return -EPROTO;
		}
		at = at + 1 == vring->num ? 0 : (u16)(at + 1);
		desc = load_desc(&vring->ring[at]);
		vring->chain_descs[count++] = desc;
	}
	return count;
}

// 2.8.21 "Supplying Buffers to The Device": a driver takes free entries, so those in flight are no more than the ring has. If it
// has not waited to be told of those that are used, it is told now: what breaks a ring does not depend on when that is.
static bool has_room(struct vring *vring, u16 descs)
{
	if (likely(vring->taken_descs + descs <= vring->num))
		return true;
	vring_publish(vring);
	if (vring->taken_descs + descs <= vring->num)
		return true;
	vring_break(vring, "more is available than the ring's %u entries", vring->num);
	return false;
}

static int add_desc(struct vring *vring, struct chain *chain, const struct pvirtq_desc *desc)
{
	return vring_add_buffer(vring, chain, (struct guest_addr){le64_get(desc->addr)},
				le32_get(desc->len), le16_get(desc->flags) & VIRTQ_DESC_F_WRITE);
}

// 2.8.7 "Indirect Flag: Scatter-Gather Support": the table's entries are in order, and only their write flag counts. The other
// flags and the id are ignored, though 2.8.19 "Driver Requirements: Indirect Descriptors" forbids drivers to set them.
static int add_indirect(struct vring *vring, struct chain *chain, const struct pvirtq_desc *desc)
{
	struct guest_addr addr = {le64_get(desc->addr)};
	const struct pvirtq_desc *table = vring->table;
	u32 count;
	int error = vring_load_table(vring, addr, le32_get(desc->len), false,
				     le16_get(desc->flags) & VIRTQ_DESC_F_NEXT, &count);

	for (u32 i = 0; !error && i < count; i++)
		error = add_desc(vring, chain, &table[i]);
	return error;
}

// Collects the buffers of the descriptors that were copied. As vring_add_buffer.
static int add_descs(struct vring *vring, struct chain *chain)
{
	const struct pvirtq_desc *desc = vring->chain_descs, *end = desc + chain->descs;

	for (; desc < end; desc++) {
		int error = le16_get(desc->flags) & VIRTQ_DESC_F_INDIRECT
				    ? add_indirect(vring, chain, desc)
				    : add_desc(vring, chain, desc);

		if (unlikely(error))
			return error;
	}
	return 0;
}

// 2.8.6 "Next Flag: Descriptor Chaining": the last descriptor has the id.
static struct chain *begin(struct vring *vring, u16 descs)
{
	u16 id = le16_get(vring->chain_descs[descs - 1].id);
	struct chain *chain;

	if (unlikely(id >= vring->num)) {
		vring_break(vring, "buffer id %u is not below the ring's %u", id, vring->num);
		return NULL;
	}
	chain = chain_begin(&vring->pool, id);
	if (unlikely(!chain)) {
		vring_break(vring, "buffer id %u is still in use", id);
		return NULL;
	}
	chain->descs = descs;
	return chain;
}

// What the process before us has left goes first.
static struct chain *take_left(struct vring *vring, u16 entry, bool *refused)
{
	u16 descs = inflight_packed_load(&vring->inflight, entry, vring->chain_descs);
	struct chain *chain = begin(vring, descs);

	if (!chain)
		return NULL;
	chain->entry = entry;
	chain = vring_taken(vring, chain, add_descs(vring, chain), refused);
	if (chain)
		vring->inflight.left_next++;
	return chain;
}

struct chain *vring_packed_take(struct vring *vring, bool *refused)
{
	const struct inflight_chain *left = inflight_next_left(&vring->inflight);
	struct chain *chain;
	int descs;

	if (unlikely(left))
		return take_left(vring, left->entry, refused);
	descs = copy_chain(vring);
	if (descs <= 0 || !has_room(vring, (u16)descs))
		return NULL;
	chain = begin(vring, (u16)descs);
	if (!chain)
		return NULL;
	chain = vring_taken(vring, chain, add_descs(vring, chain), refused);
	if (!chain)
		return NULL;
	if (vring->inflight.region)
		chain->entry =
			inflight_packed_take(&vring->inflight, vring->chain_descs, (u16)descs);
	vring->taken_descs += (unsigned)descs;
	advance(&vring->last_avail, &vring->avail_wrap, (u16)descs, vring->num);
	return chain;
}

static u16 used_flags(const struct vring *vring, u32 written)
{
	u16 flags = vring->used_wrap ? PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED : 0;

	return written > 0 ? flags | VIRTQ_DESC_F_WRITE : flags;
}

// 2.8.2 "Rings: Descriptor Ring": a used descriptor has no address.
static void store_used(struct vring *vring, u16 at, u64 rest)
{
	__atomic_store_n(&vring->ring[at].rest, rest, __ATOMIC_RELEASE);
	vring_log_host(vring, &vring->ring[at], sizeof(vring->ring[at]));
}

// The driver looks at the first descriptor of a batch before it looks at the next, so that one is stored last.
void vring_packed_answer(struct vring *vring, const struct chain *chain, u32 written)
{
	const struct pvirtq_desc used = {.len = le32_of(written),
					 .id = le16_of(chain->head),
					 .flags = le16_of(used_flags(vring, written))};

	if (vring->batch_descs == 0) {
		vring->batch_first = vring->used_next;
		vring->batch_rest = used.rest;
	} else {
		store_used(vring, vring->used_next, used.rest);
	}
	vring->batch_descs += chain->descs;
	advance(&vring->used_next, &vring->used_wrap, chain->descs, vring->num);
	if (vring->inflight.region)
		inflight_packed_done(&vring->inflight, chain->entry);
}

// 2.8.14 "Event Suppression Structure Format": has the driver asked to be told of the batch?
static bool driver_wants_call(const struct vring *vring, unsigned descs)
{
	u16 flags, off_wrap, event;

	// the used descriptors must be visible before the driver's wish is read
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	flags = le16_load_acquire(&vring->driver_event->flags) & PVIRTQ_EVENT_FLAGS;
	if (flags != PVIRTQ_EVENT_DESC || !vring->event_idx)
		return flags != PVIRTQ_EVENT_DISABLE;
	off_wrap = le16_load(&vring->driver_event->off_wrap);
	event = off_wrap & 0x7fff;
	if (off_wrap >> 15 != vring->used_wrap)
		event = (u16)(event - vring->num);
	return (u16)(vring->used_next - event - 1) < descs;
}

bool vring_packed_show(struct vring *vring)
{
	unsigned descs = vring->batch_descs;

	if (descs == 0)
		return false;
	if (vring->inflight.region)
		inflight_packed_link(&vring->inflight, vring->used_next, vring->used_wrap);
	crash_point();
	store_used(vring, vring->batch_first, vring->batch_rest);
	vring->batch_descs = 0;
	vring->taken_descs -= descs;
	if (vring->inflight.region)
		inflight_packed_commit(&vring->inflight);
	return vring->call_fd >= 0 && driver_wants_call(vring, descs);
}

static void set_event(struct vring *vring, u16 flags)
{
	le16_store(&vring->device_event->flags, flags);
	vring_log_host(vring, vring->device_event, sizeof(*vring->device_event));
}

bool vring_packed_want_kick(struct vring *vring, bool wanted)
{
	u16 off_wrap = (u16)(vring->last_avail | vring->avail_wrap << 15);

	if (!vring->event_idx && vring->notify_off == wanted)
		set_event(vring, wanted ? PVIRTQ_EVENT_ENABLE : PVIRTQ_EVENT_DISABLE);
	vring->notify_off = !wanted;
	if (!wanted)
		return false;
	if (vring->event_idx) {
		le16_store(&vring->device_event->off_wrap, off_wrap);
		set_event(vring, PVIRTQ_EVENT_DESC);
	}
	// the wish must be visible before the next descriptor is looked at again, else a kick could be lost
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return is_available(vring, le16_load(&vring->ring[vring->last_avail].flags));
}

// vhost-user.rst, "Vring descriptor indices for packed virtqueues"
enum { BASE_INDEX = 0x7fff, BASE_WRAP = 0x8000, BASE_USED_SHIFT = 16 };

static bool load_base(struct vring *vring, u32 base)
{
	u16 avail = (u16)base, used = (u16)(base >> BASE_USED_SHIFT);

	vring->last_avail = avail & BASE_INDEX;
	vring->avail_wrap = avail & BASE_WRAP;
	vring->used_next = used & BASE_INDEX;
	vring->used_wrap = used & BASE_WRAP;
	return vring->last_avail < vring->num && vring->used_next < vring->num;
}

// Moves over the `descs` entries of all that was left in flight. The process before us may have written answers there behind a
// first one of which it did not tell; the driver would take them for ours when it comes to their entries.
static void take_back_untold(struct vring *vring, u16 descs)
{
	for (u16 i = 0; i < descs; i++) {
		struct pvirtq_desc *desc = &vring->ring[vring->last_avail];

		le16_store(&desc->flags,
			   vring->avail_wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED);
		vring_log_host(vring, desc, sizeof(*desc));
		advance(&vring->last_avail, &vring->avail_wrap, 1, vring->num);
	}
}

int vring_packed_place(struct vring *vring, const struct vring_layout *layout)
{
	bool recovered = false;
	u16 descs = 0;
	int error = 0;

	if (!load_base(vring, layout->base))
		return vring_misplaced(vring, -EINVAL, "its base of %#x is not in a ring of %u",
				       layout->base, vring->num);
	vring->batch_descs = 0;
	vring->notify_off = false;
	if (vring_has_region(vring))
		error = inflight_packed_start(&vring->inflight, vring->num, vring->ring,
					      &vring->used_next, &vring->used_wrap, &descs,
					      &recovered);
	vring->taken_descs = descs;
	if (recovered) {
		vring->last_avail = vring->used_next;
		vring->avail_wrap = vring->used_wrap;
		take_back_untold(vring, descs);
	}
	return error;
}

u32 vring_base(const struct vring *vring)
{
	u32 avail = vring->last_avail, used = vring->used_next;

	if (!vring->packed)
		return avail;
	return avail | (u32)vring->avail_wrap << 15 |
	       (used | (u32)vring->used_wrap << 15) << BASE_USED_SHIFT;
}
