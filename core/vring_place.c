// SPDX-License-Identifier: Apache-2.0
// Where a ring is in guest memory, and at which of its entries it begins.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/log.h"
#include "core/vring_layout.h"

int vring_misplaced(struct vring *vring, int error, const char *format, ...)
{
	char reason[128];
	va_list arguments;

	if (vring->misplaced)
		return error; // tried again after every message
	vring->misplaced = true;
	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	log_error("ring %u cannot start: %s", vring->index, reason);
	vring_signal_err(vring);
	return error;
}

struct vring_parts vring_parts(u16 num, bool packed)
{
	if (packed)
		return (struct vring_parts){
			.desc_len = (u64)num * sizeof(struct pvirtq_desc),
			.avail_len = sizeof(struct pvirtq_event),
			.used_len = sizeof(struct pvirtq_event),
			.desc_align = PVIRTQ_DESC_ALIGN,
			.avail_align = PVIRTQ_EVENT_ALIGN,
			.used_align = PVIRTQ_EVENT_ALIGN,
		};
	return (struct vring_parts){
		.desc_len = (u64)num * sizeof(struct virtq_desc),
		.avail_len = sizeof(struct virtq_avail) + ((u64)num + 1) * sizeof(le16),
		.used_len = sizeof(struct virtq_used) + (u64)num * sizeof(struct virtq_used_elem) +
			    sizeof(le16),
		.desc_align = VIRTQ_DESC_ALIGN,
		.avail_align = VIRTQ_AVAIL_ALIGN,
		.used_align = VIRTQ_USED_ALIGN,
	};
}

// Where one of the three parts is; NULL: nowhere, *error is set, and it has been said.
static void *find_part(struct vring *vring, const char *what, struct frontend_addr addr, u64 len,
		       unsigned alignment, int *error)
{
	void *part = guest_memory_ring(vring->memory, addr, len);

	if (!part)
		*error = vring_misplaced(vring, -EFAULT,
					 "its %s, %" PRIu64 " bytes at %#" PRIx64
					 ", is not in one region of shared memory",
					 what, len, addr.value);
	else if ((uintptr_t)part % alignment)
		*error = vring_misplaced(vring, -EINVAL,
					 "its %s at %#" PRIx64 " is not aligned to %u bytes", what,
					 addr.value, alignment);
	return *error ? NULL : part;
}

// The three parts have the same place in both layouts.
static int find_parts(struct vring *vring, const struct vring_layout *layout)
{
	struct vring_parts parts = vring_parts(layout->num, vring->packed);
	int error = 0;

	vring->desc = find_part(vring, "descriptor area", layout->desc, parts.desc_len,
				parts.desc_align, &error);
	if (!error)
		vring->avail = find_part(vring, "driver area", layout->avail, parts.avail_len,
					 parts.avail_align, &error);
	if (!error)
		vring->used = find_part(vring, "device area", layout->used, parts.used_len,
					parts.used_align, &error);
	return error;
}

bool vring_has_region(struct vring *vring)
{
	struct inflight *inflight = &vring->inflight;
	u64 least = inflight_least_len(vring->num, vring->packed);

	if (!inflight->region || inflight->len >= least)
		return inflight->region;
	log_warning("ring %u: the front-end keeps %" PRIu64
		    " bytes for its requests in flight, and "
		    "%u entries take %" PRIu64 ": if we are killed, those then in flight are lost",
		    vring->index, inflight->len, vring->num, least);
	inflight_attach(inflight, NULL, 0);
	return false;
}

static int place(struct vring *vring, const struct vring_layout *layout)
{
	struct inflight *inflight = &vring->inflight;
	int error = vring->packed ? vring_packed_place(vring, layout)
				  : vring_split_place(vring, layout);

	if (inflight->other_num)
		log_info(
			"ring %u: the requests in flight were kept of a ring of %u entries, not %u: "
			"it begins anew",
			vring->index, inflight->other_num, vring->num);
	inflight->other_num = 0;
	return error;
}

// True if the driver has nothing in flight.
static bool all_is_used(const struct vring *vring)
{
	return vring->last_avail == vring->used_next &&
	       (!vring->packed || vring->avail_wrap == vring->used_wrap);
}

int vring_place(struct vring *vring, const struct guest_memory *memory, const struct dirty_log *log,
		const struct vring_layout *layout, u64 features)
{
	int error;

	vring->memory = memory;
	vring->memory_hint = 0;
	vring->packed = features & BIT64(VIRTIO_F_RING_PACKED);
	vring->num = layout->num;
	vring->event_idx = features & BIT64(VIRTIO_F_EVENT_IDX);
	vring->indirect = features & BIT64(VIRTIO_F_INDIRECT_DESC);
	vring->in_order = features & BIT64(VIRTIO_F_IN_ORDER);
	vring->order_first = 0;
	vring->order_next = 0;
	vring->log = log;
	vring->log_fd_dead = false;
	vring->log_used = log && layout->log_used;
	vring->log_addr = layout->log_addr;
	error = find_parts(vring, layout);
	if (!error)
		error = place(vring, layout);
	if (!error && inflight_next_left(&vring->inflight) && all_is_used(vring)) {
		inflight_forget(&vring->inflight); // another driver's, from before a pause
		error = place(vring, layout);
	}
	if (error != -EPROTO)
		return error;
	inflight_forget(&vring->inflight);
	vring_break(vring, "the inflight region cannot be believed: %s %" PRIu64,
		    vring->inflight.doubt, vring->inflight.doubtful);
	return 0;
}
