// SPDX-License-Identifier: Apache-2.0
// The split virtqueue, device side (VIRTIO 1.3, 2.7 "Split Virtqueues"). The guest is an adversary: each
// field it can change is loaded once into a private copy, which is then checked and used.
#include "core/crash_point.h"
#include "core/vring_layout.h"

// 2.7.7 "Used Buffer Notification Suppression": used_event, behind the available ring
static const le16 *used_event(const struct vring *vring)
{
	return &vring->avail->ring[vring->num];
}

// 2.7.10 "Available Buffer Notification Suppression": avail_event, behind the used ring
static le16 *avail_event(const struct vring *vring)
{
	return (le16 *)&vring->used->ring[vring->num];
}

static struct virtq_desc load_desc(const struct virtq_desc *shared)
{
	return (struct virtq_desc){
		.addr.raw = __atomic_load_n(&shared->addr.raw, __ATOMIC_RELAXED),
		.len.raw = __atomic_load_n(&shared->len.raw, __ATOMIC_RELAXED),
		.flags.raw = __atomic_load_n(&shared->flags.raw, __ATOMIC_RELAXED),
		.next.raw = __atomic_load_n(&shared->next.raw, __ATOMIC_RELAXED),
	};
}

// Where a walk along the descriptors of one chain is.
struct walk {
	const struct virtq_desc *table;
	u32 table_len;
	u32 seen;
	bool indirect;
};

// 2.7.5.3.1 and 2.7.5.3.2: the walk goes on at the table's first entry.
static int enter_indirect(struct vring *vring, struct walk *walk, const struct virtq_desc *desc)
{
	struct guest_addr addr = {le64_get(desc->addr)};
	bool nested = walk->indirect;

	*walk = (struct walk){.table = vring->table, .indirect = true};
	return vring_load_table(vring, addr, le32_get(desc->len), nested,
				le16_get(desc->flags) & VIRTQ_DESC_F_NEXT, &walk->table_len);
}

static int add_desc(struct vring *vring, struct chain *chain, const struct virtq_desc *desc)
{
	struct guest_addr addr = {le64_get(desc->addr)};

	return vring_add_buffer(vring, chain, addr, le32_get(desc->len),
				le16_get(desc->flags) & VIRTQ_DESC_F_WRITE);
}

// Moves to the next descriptor: its index in the walk's table, or -EPROTO.
static int next_desc(struct vring *vring, const struct walk *walk, const struct virtq_desc *desc)
{
	u16 next = le16_get(desc->next);

	if (next >= walk->table_len) {
		vring_break(vring, "descriptor %u is outside its table of %u", next,
			    walk->table_len);
		return -EPROTO;
	}
	if (walk->seen >= walk->table_len) {
		vring_break(vring, "descriptor chain loops or is longer than %u", walk->table_len);
		return -EPROTO;
	}
	return next;
}

// Collects the chain's buffers. As vring_add_buffer.
static int walk_chain(struct vring *vring, struct chain *chain)
{
	struct walk walk = {.table = vring->desc, .table_len = vring->num};
	int at = chain->head;

	for (;;) {
		struct virtq_desc desc = load_desc(&walk.table[at]);
		u16 flags = le16_get(desc.flags);
		bool indirect = flags & VIRTQ_DESC_F_INDIRECT;
		int error = indirect ? enter_indirect(vring, &walk, &desc)
				     : add_desc(vring, chain, &desc);

		if (unlikely(error))
			return error;
		if (!indirect && !(flags & VIRTQ_DESC_F_NEXT))
			return 0;
		walk.seen += !indirect;
		at = indirect ? 0 : next_desc(vring, &walk, &desc);
		if (unlikely(at < 0))
			return at;
	}
}

// True if a chain is available. 2.7.13.3 "Receiving Used Buffers From The Device" turned round.
static bool look_for_available(struct vring *vring)
{
	u16 waiting;

	if (vring->avail_idx == vring->last_avail)
		vring->avail_idx = le16_load_acquire(&vring->avail->idx);
	waiting = (u16)(vring->avail_idx - vring->last_avail);
	if (unlikely(waiting > vring->num)) {
		vring_break(vring, "available index %u is %u entries ahead of %u, the ring has %u",
			    vring->avail_idx, waiting, vring->last_avail, vring->num);
		return false;
	}
	return waiting > 0;
}

static struct chain *begin(struct vring *vring, u16 head)
{
	struct chain *chain;

	if (unlikely(head >= vring->num)) {
		vring_break(vring, "available head %u is not below the ring's %u", head,
			    vring->num);
		return NULL;
	}
	chain = chain_begin(&vring->pool, head);
	if (unlikely(!chain))
		vring_break(vring, "available head %u is still in use", head);
	return chain;
}

// What the process before us has left goes first.
static struct chain *take_left(struct vring *vring, u16 head, bool *refused)
{
	struct chain *chain = begin(vring, head);

	if (!chain)
		return NULL;
	chain = vring_taken(vring, chain, walk_chain(vring, chain), refused);
	if (chain)
		vring->inflight.left_next++;
	return chain;
}

// A driver that offers a head again before it has been told of it could have any number of chains in one batch.
static bool track(struct vring *vring, const struct chain *chain)
{
	if (vring->pool.in_flight + vring->inflight.batch_count > vring->num) {
		vring_break(vring, "more is available than the ring's %u entries", vring->num);
		return false;
	}
	inflight_split_take(&vring->inflight, chain->head);
	return true;
}

struct chain *vring_split_take(struct vring *vring, bool *refused)
{
	const struct inflight_chain *left = inflight_next_left(&vring->inflight);
	struct chain *chain;

	if (unlikely(left))
		return take_left(vring, left->entry, refused);
	if (!look_for_available(vring))
		return NULL;
	chain = begin(vring, le16_load(&vring->avail->ring[vring->last_avail & (vring->num - 1)]));
	if (!chain)
		return NULL;
	chain = vring_taken(vring, chain, walk_chain(vring, chain), refused);
	if (!chain)
		return NULL;
	if (unlikely(vring->inflight.region) && !track(vring, chain)) {
		chain_release(&vring->pool, chain);
		return NULL;
	}
	vring->last_avail++;
	return chain;
}

void vring_split_answer(struct vring *vring, const struct chain *chain, u32 written)
{
	struct virtq_used_elem *element = &vring->used->ring[vring->used_next & (vring->num - 1)];

	// 2.7.8.2 "Device Requirements: The Virtqueue Used Ring": len, then the index (vring_split_show)
	element->id = le32_of(chain->head);
	element->len = le32_of(written);
	vring_log_used(vring, (u64)((u8 *)element - (u8 *)vring->used), sizeof(*element));
	vring->used_next++;
	if (unlikely(vring->inflight.region))
		inflight_split_done(&vring->inflight, chain->head);
}

// 2.7.7.2 and 2.7.10: has the driver asked to be told that the index went from `before` to `after`?
static bool driver_wants_call(const struct vring *vring, u16 before, u16 after)
{
	// the used index must be visible before the driver's wish is read
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!vring->event_idx)
		return !(le16_load(&vring->avail->flags) & VIRTQ_AVAIL_F_NO_INTERRUPT);
	u16 event = le16_load(used_event(vring));

	return (u16)(after - event - 1) < (u16)(after - before);
}

bool vring_split_show(struct vring *vring)
{
	u16 before = vring->used_published;
	u16 after = vring->used_next;

	if (before == after)
		return false;
	crash_point();
	le16_store_release(&vring->used->idx, after);
	vring->used_published = after;
	if (unlikely(vring->inflight.region))
		inflight_split_commit(&vring->inflight, after);
	vring_log_used(vring, offsetof(struct virtq_used, idx), sizeof(le16));
	return vring->call_fd >= 0 && driver_wants_call(vring, before, after);
}

static void set_notify_off(struct vring *vring, bool off)
{
	if (vring->event_idx || vring->notify_off == off)
		return;
	le16_store(&vring->used->flags, off ? VIRTQ_USED_F_NO_NOTIFY : 0);
	vring_log_used(vring, offsetof(struct virtq_used, flags), sizeof(le16));
	vring->notify_off = off;
}

bool vring_split_want_kick(struct vring *vring, bool wanted)
{
	set_notify_off(vring, !wanted);
	if (!wanted)
		return false;
	if (vring->event_idx) {
		le16_store(avail_event(vring), vring->last_avail);
		vring_log_used(vring, (u64)((u8 *)avail_event(vring) - (u8 *)vring->used),
			       sizeof(le16));
	}
	// the wish must be visible before the driver's index is read again, else a kick could be lost
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return le16_load(&vring->avail->idx) != vring->last_avail;
}

int vring_split_place(struct vring *vring, const struct vring_layout *layout)
{
	u16 used_idx = le16_load(&vring->used->idx);
	bool recovered = false;
	int error = 0;

	// 2.7 "Split Virtqueues"
	if (!is_power_of_two(vring->num))
		return vring_misplaced(vring, -EINVAL, "its size of %u is not a power of two",
				       vring->num);
	if (layout->base > UINT16_MAX)
		return vring_misplaced(vring, -EINVAL, "its base of %#x is above 65535",
				       layout->base);
	if (vring_has_region(vring))
		error = inflight_split_start(&vring->inflight, vring->num, used_idx, &recovered);
	vring->last_avail = (u16)layout->base;
	if (recovered) // whatever the front-end believes: what was taken is answered or left
		vring->last_avail = (u16)(used_idx + vring->inflight.left_count);
	vring->avail_idx = vring->last_avail;
	vring->used_next = used_idx;
	vring->used_published = used_idx;
	vring->notify_off = false;
	return error;
}
