// SPDX-License-Identifier: Apache-2.0
//
// The numbers and layouts of vhost-user and VIRTIO as the front-end side reads them from the
// specifications. They repeat what core/ has on purpose: a test that borrowed the back-end's
// reading of a specification could not notice that it is wrong. Hence also the prefixes VU_ and
// VM_: both sets can be included side by side.
#pragma once

#include <stdint.h>

#define VU_BIT(n) (UINT64_C(1) << (n))

/* vhost-user, "Message Specification": header, then size bytes of payload. Host byte order. */
struct vu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
};

enum {
	VU_VERSION = 0x1,
	VU_REPLY = 0x4,
	VU_NEED_REPLY = 0x8,
};

/* vhost-user, "Front-end message types" */
enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_RESET_OWNER = 4,
	VU_SET_MEM_TABLE = 5,
	VU_SET_LOG_BASE = 6,
	VU_SET_LOG_FD = 7,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_POSTCOPY_ADVISE = 28,
	VU_POSTCOPY_LISTEN = 29,
	VU_POSTCOPY_END = 30,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_RESET_DEVICE = 34,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
	VU_SET_STATUS = 39,
	VU_GET_STATUS = 40,
	VU_SET_DEVICE_STATE_FD = 42,
	VU_CHECK_DEVICE_STATE = 43,
};

/* vhost-user, "Protocol features" (bit numbers) */
enum {
	VU_PROTOCOL_F_MQ = 0,
	VU_PROTOCOL_F_LOG_SHMFD = 1,
	VU_PROTOCOL_F_REPLY_ACK = 3,
	VU_PROTOCOL_F_BACKEND_REQ = 5,
	VU_PROTOCOL_F_PAGEFAULT = 8,
	VU_PROTOCOL_F_CONFIG = 9,
	VU_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VU_PROTOCOL_F_HOST_NOTIFIER = 11,
	VU_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VU_PROTOCOL_F_RESET_DEVICE = 13,
	VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VU_PROTOCOL_F_STATUS = 16,
	VU_PROTOCOL_F_DEVICE_STATE = 19,
	VU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
};

/* vhost-user, "A vring state description" */
struct vu_vring_state {
	uint32_t index;
	uint32_t num;
};

/* vhost-user, "A vring address description"; the addresses are the front-end's own */
struct vu_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

enum {
	VU_VRING_F_LOG = 1, /* of vu_vring_addr.flags: log what is written to the used ring */
};

/* A u64 that carries a vring index: bits 0-7 the index, bit 8 "no file descriptor". */
enum {
	VU_VRING_NOFD = 0x100,
};

/* vhost-user, "Back-end message types" */
enum {
	VU_BACKEND_CONFIG_CHANGE_MSG = 2,
};

/* vhost-user, "Device state transfer parameters"; the answer is a u64 with the error in bits 0-7 */
struct vu_transfer {
	uint32_t direction;
	uint32_t phase; /* 0: stopped */
};

enum {
	VU_TRANSFER_SAVE = 0,
	VU_TRANSFER_LOAD = 1,
	VU_TRANSFER_NO_FD = 0x100,
};

/* VIRTIO 1.3, 2.1 "Device Status Field" */
enum {
	VM_STATUS_ACKNOWLEDGE = 1,
	VM_STATUS_DRIVER = 2,
	VM_STATUS_DRIVER_OK = 4,
	VM_STATUS_FEATURES_OK = 8,
	VM_STATUS_DEVICE_NEEDS_RESET = 64,
};

/* vhost-user, "Memory region description" */
struct vu_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t mmap_offset;
};

enum {
	VU_MAX_TABLE_REGIONS = 8, /* of one SET_MEM_TABLE, by the specification */
	VU_CONFIG_MAX = 256,
};

/* vhost-user, "Multiple Memory regions description"; longer than allowed, for bad-input tests */
struct vu_mem_table {
	uint32_t count;
	uint32_t padding;
	struct vu_region regions[32];
};

/* vhost-user, "Single memory region description" */
struct vu_single_region {
	uint64_t padding;
	struct vu_region region;
};

/* vhost-user, "Virtio device config space" */
struct vu_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t data[VU_CONFIG_MAX];
};

/* vhost-user, "Log description" */
struct vu_log {
	uint64_t size;
	uint64_t offset;
};

/* vhost-user, "Inflight description" */
struct vu_inflight {
	uint64_t size;
	uint64_t offset;
	uint16_t queue_count;
	uint16_t queue_size;
	uint32_t padding;
};

/* vhost-user, "Inflight I/O tracking": a ring's part of the region, in the host's byte order */
struct vu_inflight_split {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct vu_inflight_split_desc {
		uint8_t inflight, padding[5];
		uint16_t next;
		uint64_t counter;
	} desc[];
};

struct vu_inflight_packed {
	uint64_t features;
	uint16_t version, desc_num, free_head, old_free_head, used_idx, old_used_idx;
	uint8_t used_wrap, old_used_wrap, padding[10];
	struct vu_inflight_packed_desc {
		uint8_t inflight, padding;
		uint16_t next, last, num;
		uint64_t counter;
		uint16_t id, flags;
		uint32_t len;
		uint64_t addr;
	} desc[];
};

/* VIRTIO 1.3, 6 "Reserved Feature Bits"; vhost-user adds 26 and 30 (bit numbers) */
enum {
	VM_F_LOG_ALL = 26,
	VM_F_INDIRECT_DESC = 28,
	VM_F_EVENT_IDX = 29,
	VM_F_PROTOCOL_FEATURES = 30,
	VM_F_VERSION_1 = 32,
	VM_F_RING_PACKED = 34,
	VM_F_IN_ORDER = 35,
};

/* VIRTIO 1.3, 2.7.5 "The Virtqueue Descriptor Table" */
struct vm_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

enum {
	VM_DESC_F_NEXT = 1,
	VM_DESC_F_WRITE = 2,
	VM_DESC_F_INDIRECT = 4,
	VM_RING_MAX = 32768,
};

/* VIRTIO 1.3, 2.7.6 "The Virtqueue Available Ring"; used_event follows ring[size] */
struct vm_avail {
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[];
};

struct vm_used_elem {
	uint32_t id;
	uint32_t len;
};

/* VIRTIO 1.3, 2.7.8 "The Virtqueue Used Ring"; avail_event follows ring[size] */
struct vm_used {
	uint16_t flags;
	uint16_t idx;
	struct vm_used_elem ring[];
};

enum {
	VM_AVAIL_F_NO_INTERRUPT = 1,
	VM_USED_F_NO_NOTIFY = 1,
};

/* VIRTIO 1.3, 2.8.13 "The Virtqueue Descriptor Table" of a packed ring */
struct vm_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

enum {
	VM_PACKED_F_AVAIL = 1 << 7,
	VM_PACKED_F_USED = 1 << 15,
};

/* VIRTIO 1.3, 2.8.14 "Event Suppression Structure Format" */
struct vm_packed_event {
	uint16_t off_wrap; /* bit 15: the wrap counter */
	uint16_t flags;
};

enum {
	VM_PACKED_EVENT_ENABLE = 0,
	VM_PACKED_EVENT_DISABLE = 1,
	VM_PACKED_EVENT_DESC = 2,
	VM_PACKED_WRAP = 1 << 15, /* of off_wrap, and of both halves of a base */
};

/* VIRTIO 1.3, 5.2.3 "Feature bits" of the block device (bit numbers) */
enum {
	VM_BLK_F_SIZE_MAX = 1,
	VM_BLK_F_SEG_MAX = 2,
	VM_BLK_F_GEOMETRY = 4,
	VM_BLK_F_RO = 5,
	VM_BLK_F_BLK_SIZE = 6,
	VM_BLK_F_FLUSH = 9,
	VM_BLK_F_TOPOLOGY = 10,
	VM_BLK_F_CONFIG_WCE = 11,
	VM_BLK_F_MQ = 12,
	VM_BLK_F_DISCARD = 13,
	VM_BLK_F_WRITE_ZEROES = 14,
};

/* VIRTIO 1.3, 5.2.6 "Device Operation" of the block device */
enum {
	VM_BLK_T_IN = 0,
	VM_BLK_T_OUT = 1,
	VM_BLK_T_FLUSH = 4,
	VM_BLK_T_GET_ID = 8,
	VM_BLK_T_DISCARD = 11,
	VM_BLK_T_WRITE_ZEROES = 13,

	VM_BLK_S_OK = 0,
	VM_BLK_S_IOERR = 1,
	VM_BLK_S_UNSUPP = 2,

	VM_BLK_SECTOR = 512,
	VM_BLK_ID_BYTES = 20,
	VM_BLK_UNMAP = 1, /* the flag of a WRITE_ZEROES range */
};

struct vm_blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct vm_blk_range {
	uint64_t sector;
	uint32_t sectors;
	uint32_t flags;
};

/* VIRTIO 1.3, 5.2.4 "Device configuration layout", up to write zeroes; little-endian */
struct vm_blk_config {
	uint64_t capacity;
	uint32_t size_max;
	uint32_t seg_max;
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp;
	uint8_t alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback;
	uint8_t unused;
	uint16_t num_queues;
	uint32_t max_discard_sectors;
	uint32_t max_discard_seg;
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors;
	uint32_t max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
};

_Static_assert(sizeof(struct vu_header) == 12, "vhost-user header");
_Static_assert(sizeof(struct vu_vring_addr) == 40, "vring address description");
_Static_assert(sizeof(struct vu_region) == 32, "memory region description");
_Static_assert(sizeof(struct vm_desc) == 16, "descriptor");
_Static_assert(sizeof(struct vm_packed_desc) == 16, "descriptor of a packed ring");
_Static_assert(sizeof(struct vu_inflight) == 24, "inflight description");
_Static_assert(sizeof(struct vu_inflight_split) == 16, "QueueRegionSplit");
_Static_assert(sizeof(struct vu_inflight_split_desc) == 16, "DescStateSplit");
_Static_assert(sizeof(struct vu_inflight_packed) == 32, "QueueRegionPacked");
_Static_assert(sizeof(struct vu_inflight_packed_desc) == 32, "DescStatePacked");
_Static_assert(sizeof(struct vm_blk_config) == 64, "57 bytes of fields, aligned to 8");
_Static_assert(__builtin_offsetof(struct vm_blk_config, write_zeroes_may_unmap) == 56, "config");
