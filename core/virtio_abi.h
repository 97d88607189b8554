// SPDX-License-Identifier: Apache-2.0
// The rings and feature bits as VIRTIO 1.3 lays them out (2.7 "Split Virtqueues", 2.8 "Packed Virtqueues", 6 "Reserved Feature Bits").
#pragma once

#include "core/endian.h"

// Feature bit numbers that are not a device type's own.
enum {
	VHOST_F_LOG_ALL = 26,		     // vhost-user.rst, "Migration"
	VHOST_USER_F_PROTOCOL_FEATURES = 30, // vhost-user.rst, "Feature negotiation"
	VIRTIO_F_INDIRECT_DESC = 28,
	VIRTIO_F_EVENT_IDX = 29,
	VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_RING_PACKED = 34,
	VIRTIO_F_IN_ORDER = 35,
};

// 2.1 "Device Status Field"; 0 is the reset device
enum {
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_DEVICE_NEEDS_RESET = 64,
};

// 2.7.5 "The Virtqueue Descriptor Table"
enum { VIRTQ_DESC_F_NEXT = 1, VIRTQ_DESC_F_WRITE = 2, VIRTQ_DESC_F_INDIRECT = 4 };

struct virtq_desc {
	le64 addr;
	le32 len;
	le16 flags;
	le16 next;
};

// 2.7.6 "The Virtqueue Available Ring"; le16 used_event follows ring[num]
enum { VIRTQ_AVAIL_F_NO_INTERRUPT = 1 };

struct virtq_avail {
	le16 flags;
	le16 idx;
	le16 ring[];
};

// 2.7.8 "The Virtqueue Used Ring"; le16 avail_event follows ring[num]
enum { VIRTQ_USED_F_NO_NOTIFY = 1 };

struct virtq_used_elem {
	le32 id;
	le32 len;
};

struct virtq_used {
	le16 flags;
	le16 idx;
	struct virtq_used_elem ring[];
};

// 2.7 "Split Virtqueues": the alignment of the parts and the largest ring
enum {
	VIRTQ_DESC_ALIGN = 16,
	VIRTQ_AVAIL_ALIGN = 2,
	VIRTQ_USED_ALIGN = 4,
};

// 2.8.13 "The Virtqueue Descriptor Table" of a packed ring; NEXT, WRITE and INDIRECT as above
enum { PVIRTQ_DESC_F_AVAIL = 1 << 7, PVIRTQ_DESC_F_USED = 1 << 15 };

struct pvirtq_desc {
	le64 addr;
	union {
		struct {
			le32 len;
			le16 id;
			le16 flags;
		};
		u64 rest; // all three in one load or store
	};
};

// 2.8.14 "Event Suppression Structure Format"
enum {
	PVIRTQ_EVENT_ENABLE = 0,
	PVIRTQ_EVENT_DISABLE = 1,
	PVIRTQ_EVENT_DESC = 2,
	PVIRTQ_EVENT_FLAGS = 3, // the bits that hold one of these
};

// Offset 0 to 14, wrap counter 15.
struct pvirtq_event {
	le16 off_wrap;
	le16 flags;
};

// 2.8.10.1 "Structure Size and Alignment"
enum { PVIRTQ_DESC_ALIGN = 16, PVIRTQ_EVENT_ALIGN = 4 };

static_assert(sizeof(struct pvirtq_desc) == 16, "VIRTIO 1.3, 2.8.13");
static_assert(sizeof(struct virtq_desc) == 16, "VIRTIO 1.3, 2.7.5");
static_assert(sizeof(struct virtq_used_elem) == 8, "VIRTIO 1.3, 2.7.8");
