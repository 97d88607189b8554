// SPDX-License-Identifier: Apache-2.0
// The split virtqueue, device side (VIRTIO 1.3, 2.7 "Split Virtqueues"). The guest is an adversary: each
// field it can change is loaded once into a private copy, which is then checked and used.
#include "core/vring_setup.h"

#include "core/log.h"
#include "core/memory_fault.h"
#include "core/sys.h"

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

// 2.7.5.3.1 and 2.7.5.3.2: the table is copied whole before anything in it is believed.
static int enter_indirect(struct vring *vring, struct walk *walk, const struct virtq_desc *desc)
{
	u32 len = le32_get(desc->len);
	struct guest_addr addr = {le64_get(desc->addr)};

	if (!vring->indirect || walk->indirect || le16_get(desc->flags) & VIRTQ_DESC_F_NEXT) {
		vring_break(vring, "indirect descriptor %s",
			    !vring->indirect ? "without VIRTIO_F_INDIRECT_DESC"
			    : walk->indirect ? "inside an indirect table"
					     : "with a next descriptor");
		return -EPROTO;
	}
	if (len == 0 || len % sizeof(*desc) != 0 || len / sizeof(*desc) > vring->table_max) {
		vring_break(vring, "indirect table of %u bytes", len);
		return -EPROTO;
	}
	*walk = (struct walk){
		.table = vring->table, .table_len = len / (u32)sizeof(*desc), .indirect = true};
	return guest_memory_read(vring->memory, addr, vring->table, len);
}

static int add_desc(struct vring *vring, struct chain *chain, const struct virtq_desc *desc)
{
	struct guest_addr addr = {le64_get(desc->addr)};
	int error = chain_add(&vring->pool, chain, vring->memory, &vring->memory_hint, addr,
			      le32_get(desc->len), le16_get(desc->flags) & VIRTQ_DESC_F_WRITE);

	if (error == -EPROTO)
		vring_break(vring, "chain %u has a readable descriptor after a writable one",
			    chain->head);
	return error;
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

// Collects the chain's buffers. 0; -EPROTO and the ring is broken; -EFAULT or -E2BIG: this chain is
// refused; -ENOBUFS: later.
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

// Takes the head that is next in the available ring. NULL and broken, if it cannot be.
static struct chain *begin_next(struct vring *vring)
{
	u16 head = le16_load(&vring->avail->ring[vring->last_avail & (vring->num - 1)]);
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

// The chain cannot be translated, so no device can serve it: it goes back with nothing written.
static void refuse(struct vring *vring, struct chain *chain)
{
	if (vring->refused_chains++ == 0)
		log_warning("ring %u: chain %u is not in guest memory or too long: refused",
			    vring->index, chain->head);
	vring_push(vring, chain, 0);
}

// Takes one chain off the ring. NULL with vring->state set if that cannot be done now; otherwise *refused
// tells whether the chain went back at once.
static struct chain *take_next(struct vring *vring, bool *refused)
{
	struct chain *chain;
	int error;

	vring->state = VRING_EMPTY;
	if (!look_for_available(vring))
		return NULL;
	chain = begin_next(vring);
	if (!chain)
		return NULL;
	error = walk_chain(vring, chain);
	if (error == -EPROTO || error == -ENOBUFS) {
		chain_release(&vring->pool, chain);
		if (error == -ENOBUFS)
			vring->state = VRING_STARVED;
		return NULL;
	}
	vring->last_avail++;
	chain_submit(&vring->pool, chain);
	*refused = error != 0;
	return chain;
}

// The driver goes on with what is done while we do the rest, if that takes long.
static void publish_if_late(struct vring *vring)
{
	u64 now, since;

	if (vring->used_next == vring->used_published ||
	    (!vring->turns_are_slow && vring->turn_chains % VRING_PUBLISH_CHAINS))
		return;
	now = sys_clock_ns();
	since = now - vring->publish_time;
	if (since < VRING_PUBLISH_NS)
		return;
	vring->turns_are_slow = since > (u64)VRING_PUBLISH_NS * VRING_PUBLISH_CHAINS;
	vring->publish_time = now;
	vring_publish(vring);
}

struct chain *vring_pop(struct vring *vring)
{
	bool refused = false;
	struct chain *chain;

	do {
		if (unlikely(vring->broken))
			return NULL;
		if (unlikely(memory_fault_happened())) {
			vring_break(vring, "guest memory has gone");
			return NULL;
		}
		if (vring->turn_chains == 0 || vring->turn_bytes >= VRING_TURN_BYTES) {
			vring->state = VRING_BUDGET;
			return NULL;
		}
		publish_if_late(vring);
		chain = take_next(vring, &refused);
		if (!chain)
			return NULL;
		vring->turn_chains--;
		vring->turn_bytes += chain->readable.len + chain->writable.len;
		if (unlikely(refused))
			refuse(vring, chain);
	} while (unlikely(refused));
	vring->state = VRING_HELD;
	return chain;
}

void vring_push(struct vring *vring, struct chain *chain, u32 written)
{
	struct virtq_used_elem *element = &vring->used->ring[vring->used_next & (vring->num - 1)];

	// 2.7.8.2 "Device Requirements: The Virtqueue Used Ring": len, then the index (vring_publish)
	element->id = le32_of(chain->head);
	element->len = le32_of(written);
	vring->used_next++;
	chain_release(&vring->pool, chain);
	event_loop_at_turn_end(&vring->worker->loop, &vring->publish);
	if (unlikely(vring->state == VRING_STARVED))
		vring_wake(vring);
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

void vring_publish(struct vring *vring)
{
	u16 before = vring->used_published;
	u16 after = vring->used_next;

	if (before == after)
		return;
	le16_store_release(&vring->used->idx, after);
	vring->used_published = after;
	if (vring->call_fd >= 0 && driver_wants_call(vring, before, after))
		vring_call(vring);
}

static void set_notify_off(struct vring *vring, bool off)
{
	if (vring->event_idx || vring->notify_off == off)
		return;
	le16_store(&vring->used->flags, off ? VIRTQ_USED_F_NO_NOTIFY : 0);
	vring->notify_off = off;
}

void vring_begin_turn(struct vring *vring)
{
	vring->turn_chains = VRING_TURN_CHAINS;
	vring->turn_bytes = 0;
	vring->publish_time = sys_clock_ns();
	vring->state = VRING_HELD;
	set_notify_off(vring, true);
}

bool vring_end_turn(struct vring *vring)
{
	if (vring->broken || vring->state == VRING_HELD || vring->state == VRING_STARVED)
		return false;
	if (vring->state == VRING_BUDGET)
		return true;
	set_notify_off(vring, false);
	if (vring->event_idx)
		le16_store(avail_event(vring), vring->last_avail);
	// the wish must be visible before the driver's index is read again, else a kick could be lost
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return le16_load(&vring->avail->idx) != vring->last_avail;
}

static bool aligned(const void *pointer, uintptr_t alignment)
{
	return (uintptr_t)pointer % alignment == 0;
}

int vring_place(struct vring *vring, const struct guest_memory *memory,
		const struct vring_layout *layout, u64 features, u16 base)
{
	u64 num = layout->num;

	vring->desc = guest_memory_ring(memory, layout->desc, vring_desc_len(num));
	vring->avail = guest_memory_ring(memory, layout->avail, vring_avail_len(num));
	vring->used = guest_memory_ring(memory, layout->used, vring_used_len(num));
	if (!vring->desc || !vring->avail || !vring->used)
		return -EFAULT;
	if (!aligned(vring->desc, VIRTQ_DESC_ALIGN) || !aligned(vring->avail, VIRTQ_AVAIL_ALIGN) ||
	    !aligned(vring->used, VIRTQ_USED_ALIGN))
		return -EINVAL;
	vring->memory = memory;
	vring->memory_hint = 0;
	vring->num = layout->num;
	vring->event_idx = features & BIT64(VIRTIO_F_EVENT_IDX);
	vring->indirect = features & BIT64(VIRTIO_F_INDIRECT_DESC);
	vring->last_avail = base;
	vring->avail_idx = base;
	vring->used_next = le16_load(&vring->used->idx);
	vring->used_published = vring->used_next;
	vring->notify_off = false;
	return 0;
}

void vring_spend(struct vring *vring, u64 len)
{
	vring->turn_bytes += len;
}
