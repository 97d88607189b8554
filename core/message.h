// SPDX-License-Identifier: Apache-2.0
// The vhost-user messages as they are on the wire (vhost-user.rst, "Message Specification"): native byte
// order, and what the numbers and bits are called there.
#pragma once

#include "core/base.h"

enum vhost_user_request {
	VHOST_USER_NONE = 0,
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_IOTLB_MSG = 22,
	VHOST_USER_SET_VRING_ENDIAN = 23,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_CREATE_CRYPTO_SESSION = 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
	VHOST_USER_POSTCOPY_ADVISE = 28,
	VHOST_USER_POSTCOPY_LISTEN = 29,
	VHOST_USER_POSTCOPY_END = 30,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_GPU_SET_SOCKET = 33,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_VRING_KICK = 35,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_GET_SHARED_OBJECT = 41,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
	VHOST_USER_GET_SHMEM_CONFIG = 44,
};

// Requests of ours to the front-end.
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
};

// Bit numbers of the protocol features (vhost-user.rst, "Protocol features").
enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_F_PAGEFAULT = 8,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_USER_PROTOCOL_F_STATUS = 16,
	VHOST_USER_PROTOCOL_F_DEVICE_STATE = 19,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
};

// Header flags (vhost-user.rst, "Header").
enum {
	VHOST_USER_VERSION = 0x1,
	VHOST_USER_VERSION_MASK = 0x3,
	VHOST_USER_REPLY = 0x4,
	VHOST_USER_NEED_REPLY = 0x8,
	VHOST_USER_FLAGS_KNOWN = 0xf,
};

enum {
	VHOST_USER_VRING_INDEX_MASK = 0xff, // of the u64 payload that comes with an fd
	VHOST_USER_VRING_NO_FD = 0x100,
	VHOST_USER_MAX_REGIONS = 32, // of one SET_MEM_TABLE; the specification's 8, some send 32
	VHOST_USER_MAX_CONFIG = 256,
};

struct vhost_user_header {
	u32 request; // enum vhost_user_request
	u32 flags;
	u32 size; // bytes of payload that follow
};

struct vhost_user_vring_state {
	u32 index;
	u32 num;
};

// struct vhost_user_vring_addr flags
enum { VHOST_VRING_F_LOG = 1 };

struct vhost_user_vring_addr {
	u32 index;
	u32 flags;
	u64 descriptor, used, available; // front-end's addresses
	u64 log;			 // the guest's address of the used ring, for the dirty log
};

struct vhost_user_region {
	u64 guest_addr;
	u64 size;
	u64 frontend_addr;
	u64 mmap_offset;
};

struct vhost_user_memory {
	u32 count;
	u32 padding;
	struct vhost_user_region regions[VHOST_USER_MAX_REGIONS];
};

struct vhost_user_single_region {
	u64 padding;
	struct vhost_user_region region;
};

struct vhost_user_config {
	u32 offset;
	u32 size;
	u32 flags;
	u8 data[VHOST_USER_MAX_CONFIG];
};

struct vhost_user_log {
	u64 size;
	u64 offset; // of the file
};

struct vhost_user_inflight {
	u64 size;
	u64 offset; // of the file
	u16 queue_count;
	u16 queue_size;
};

enum vhost_user_transfer_direction { VHOST_USER_TRANSFER_SAVE = 0, VHOST_USER_TRANSFER_LOAD = 1 };
enum vhost_user_transfer_phase { VHOST_USER_TRANSFER_STOPPED = 0 };
// What is answered: bits 0-7 are not 0 on error, bit 8 says that no fd comes with it.
enum { VHOST_USER_TRANSFER_ERROR = 1, VHOST_USER_TRANSFER_NO_FD = 0x100 };

struct vhost_user_transfer {
	u32 direction; // enum vhost_user_transfer_direction
	u32 phase;     // enum vhost_user_transfer_phase
};

union vhost_user_payload {
	u64 u64;
	struct vhost_user_vring_state state;
	struct vhost_user_vring_addr addr;
	struct vhost_user_memory memory;
	struct vhost_user_single_region single_region;
	struct vhost_user_config config;
	struct vhost_user_log log;
	struct vhost_user_inflight inflight;
	struct vhost_user_transfer transfer;
};

static_assert(sizeof(struct vhost_user_header) == 12, "vhost-user.rst: header");
static_assert(sizeof(struct vhost_user_vring_addr) == 40,
	      "vhost-user.rst: a vring address description");
static_assert(sizeof(struct vhost_user_region) == 32,
	      "vhost-user.rst: a memory region description");
static_assert(sizeof(struct vhost_user_inflight) == 24,
	      "vhost-user.rst: inflight description, padded as front-ends send it");
static_assert(sizeof(struct vhost_user_config) == 12 + VHOST_USER_MAX_CONFIG,
	      "vhost-user.rst: config");
