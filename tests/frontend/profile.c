// SPDX-License-Identifier: Apache-2.0
//
// The front-end profiles.

#include "tests/frontend/profile.h"

#include <stddef.h>
#include <string.h>
#include "tests/frontend/frontend.h"

#define RING_FEATURES \
	(VU_BIT(VM_F_VERSION_1) | VU_BIT(VM_F_EVENT_IDX) | VU_BIT(VM_F_PROTOCOL_FEATURES))
#define BLK_FEATURES \
	(VU_BIT(VM_BLK_F_SIZE_MAX) | VU_BIT(VM_BLK_F_SEG_MAX) | VU_BIT(VM_BLK_F_GEOMETRY) | \
	 VU_BIT(VM_BLK_F_RO) | VU_BIT(VM_BLK_F_BLK_SIZE) | VU_BIT(VM_BLK_F_FLUSH) | \
	 VU_BIT(VM_BLK_F_TOPOLOGY) | VU_BIT(VM_BLK_F_CONFIG_WCE) | VU_BIT(VM_BLK_F_MQ) | \
	 VU_BIT(VM_BLK_F_DISCARD) | VU_BIT(VM_BLK_F_WRITE_ZEROES))

/* clang-format off */
static const struct vm_profile profiles[] = {
	{
		.name = "qemu",
		.features = RING_FEATURES | VU_BIT(VM_F_INDIRECT_DESC) | BLK_FEATURES,
		.protocol_features = VU_BIT(VU_PROTOCOL_F_MQ) | VU_BIT(VU_PROTOCOL_F_LOG_SHMFD) |
				     VU_BIT(VU_PROTOCOL_F_REPLY_ACK) |
				     VU_BIT(VU_PROTOCOL_F_BACKEND_REQ) |
				     VU_BIT(VU_PROTOCOL_F_PAGEFAULT) |
				     VU_BIT(VU_PROTOCOL_F_CONFIG) |
				     VU_BIT(VU_PROTOCOL_F_BACKEND_SEND_FD) |
				     VU_BIT(VU_PROTOCOL_F_HOST_NOTIFIER) |
				     VU_BIT(VU_PROTOCOL_F_INFLIGHT_SHMFD) |
				     VU_BIT(VU_PROTOCOL_F_RESET_DEVICE) |
				     VU_BIT(VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
				     VU_BIT(VU_PROTOCOL_F_STATUS) |
				     VU_BIT(VU_PROTOCOL_F_DEVICE_STATE),
		.need_reply = VU_BIT(VU_SET_MEM_TABLE) | VU_BIT(VU_ADD_MEM_REG) |
			      VU_BIT(VU_REM_MEM_REG) | VU_BIT(VU_SET_VRING_ENABLE) |
			      VU_BIT(VU_SET_CONFIG) | VU_BIT(VU_SET_BACKEND_REQ_FD),
		.config_len = 57,
		.stop = VM_STOP_BASE,
		.connect = { STEP_GET_FEATURES, STEP_PROTOCOL_FEATURES, STEP_QUEUE_NUM,
			     STEP_MAX_MEM_SLOTS, STEP_BACKEND_REQ_FD, STEP_SET_OWNER,
			     STEP_GET_FEATURES, STEP_CALL, STEP_ERR, STEP_GET_CONFIG },
		.start = { STEP_SET_FEATURES, STEP_INFLIGHT, STEP_LOG, STEP_SET_FEATURES,
			   STEP_FEATURES_OK, STEP_ADD_REGIONS, STEP_RINGS, STEP_ENABLE,
			   STEP_DRIVER_OK, STEP_CALL },
		.ring = { STEP_NUM, STEP_BASE, STEP_ADDR, STEP_KICK, STEP_CALL },
		.stopping = { STEP_DISABLE, STEP_GET_BASE, STEP_RESET_STATUS },
	}, {
		.name = "cloud-hypervisor",
		.features = RING_FEATURES | VU_BIT(VM_F_INDIRECT_DESC) | BLK_FEATURES,
		.protocol_features = VU_BIT(VU_PROTOCOL_F_MQ) | VU_BIT(VU_PROTOCOL_F_LOG_SHMFD) |
				     VU_BIT(VU_PROTOCOL_F_REPLY_ACK) |
				     VU_BIT(VU_PROTOCOL_F_CONFIG) |
				     VU_BIT(VU_PROTOCOL_F_INFLIGHT_SHMFD) |
				     VU_BIT(VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
				     VU_BIT(VU_PROTOCOL_F_DEVICE_STATE),
		.need_reply = FRONTEND_ALL_REQUESTS,
		.config_len = 60,
		.config_flags = 1,
		.stop = VM_STOP_PAUSE,
		.connect = { STEP_SET_OWNER, STEP_GET_FEATURES, STEP_PROTOCOL_FEATURES,
			     STEP_QUEUE_NUM, STEP_GET_CONFIG },
		.start = { STEP_SET_FEATURES, STEP_MEM_TABLE, STEP_NUM, STEP_INFLIGHT, STEP_RINGS,
			   STEP_ENABLE },
		.ring = { STEP_ADDR, STEP_BASE, STEP_CALL, STEP_KICK },
		.stopping = { STEP_DISABLE },
	}, {
		.name = "firecracker",
		.features = RING_FEATURES | VU_BIT(VM_BLK_F_RO) | VU_BIT(VM_BLK_F_FLUSH),
		.protocol_features = VU_BIT(VU_PROTOCOL_F_CONFIG),
		.config_len = 60,
		.config_flags = 1,
		.stop = VM_STOP_DISCONNECT,
		.connect = { STEP_SET_OWNER, STEP_GET_FEATURES, STEP_PROTOCOL_FEATURES,
			     STEP_GET_CONFIG },
		.start = { STEP_SET_FEATURES, STEP_MEM_TABLE, STEP_NUM, STEP_RINGS },
		.ring = { STEP_ADDR, STEP_BASE, STEP_CALL, STEP_KICK, STEP_ENABLE },
	}, {
		.name = "crosvm",
		.features = RING_FEATURES | BLK_FEATURES,
		.protocol_features = VU_BIT(VU_PROTOCOL_F_MQ) | VU_BIT(VU_PROTOCOL_F_REPLY_ACK) |
				     VU_BIT(VU_PROTOCOL_F_BACKEND_REQ) |
				     VU_BIT(VU_PROTOCOL_F_CONFIG) |
				     VU_BIT(VU_PROTOCOL_F_DEVICE_STATE),
		.config_len = 60,
		.config_flags = 1,
		.stop = VM_STOP_BASE,
		.connect = { STEP_SET_OWNER, STEP_GET_FEATURES, STEP_PROTOCOL_FEATURES,
			     STEP_BACKEND_REQ_FD, STEP_QUEUE_NUM, STEP_GET_CONFIG },
		.start = { STEP_SET_FEATURES, STEP_MEM_TABLE, STEP_RINGS },
		.ring = { STEP_NUM, STEP_ADDR, STEP_BASE, STEP_CALL, STEP_KICK, STEP_ENABLE },
		.stopping = { STEP_DISABLE, STEP_GET_BASE },
	}, {
		.name = "libblkio",
		.features = RING_FEATURES | (BLK_FEATURES & ~VU_BIT(VM_BLK_F_GEOMETRY)),
		.protocol_features = VU_BIT(VU_PROTOCOL_F_MQ) | VU_BIT(VU_PROTOCOL_F_REPLY_ACK) |
				     VU_BIT(VU_PROTOCOL_F_CONFIG) |
				     VU_BIT(VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS),
		.need_reply = FRONTEND_ALL_REQUESTS,
		.config_len = 60,
		.guest_addr_is_host = true,
		.stop = VM_STOP_DISCONNECT,
		.connect = { STEP_SET_OWNER, STEP_GET_FEATURES, STEP_SET_FEATURES,
			     STEP_PROTOCOL_FEATURES, STEP_QUEUE_NUM, STEP_MAX_MEM_SLOTS,
			     STEP_GET_CONFIG },
		.start = { STEP_ADD_REGIONS, STEP_RINGS },
		.ring = { STEP_NUM, STEP_BASE, STEP_ADDR, STEP_KICK, STEP_CALL, STEP_ENABLE },
	},
};
/* clang-format on */

const struct vm_profile *vm_profile_at(unsigned index)
{
	return index < sizeof(profiles) / sizeof(profiles[0]) ? &profiles[index] : NULL;
}

const struct vm_profile *vm_profile_find(const char *name)
{
	for (unsigned i = 0; vm_profile_at(i); i++) {
		if (strcmp(profiles[i].name, name) == 0)
			return &profiles[i];
	}
	return NULL;
}
