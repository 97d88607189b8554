// SPDX-License-Identifier: Apache-2.0
//
// What each VMM's vhost-user-blk front-end negotiates and in which order it sends its messages,
// as data. Read from the sources of QEMU 10.0 (hw/virtio/vhost-user.c, vhost.c), Cloud Hypervisor
// (vu_common_ctrl.rs), Firecracker (vhost_user.rs), crosvm (vhost_user_frontend/mod.rs) and
// libblkio (crate virtio-driver).
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum vm_step {
	STEP_END,
	/* of the device */
	STEP_SET_OWNER,
	STEP_GET_FEATURES,
	STEP_PROTOCOL_FEATURES, /* get and set */
	STEP_SET_FEATURES,
	STEP_QUEUE_NUM,	     /* if MQ */
	STEP_MAX_MEM_SLOTS,  /* if CONFIGURE_MEM_SLOTS */
	STEP_BACKEND_REQ_FD, /* if BACKEND_REQ */
	STEP_GET_CONFIG,     /* if CONFIG */
	STEP_FEATURES_OK,    /* added to the status, if STATUS, as are … */
	STEP_DRIVER_OK,	     /* … all others */
	STEP_RESET_STATUS,   /* if STATUS */
	STEP_MEM_TABLE,
	STEP_ADD_REGIONS, /* if CONFIGURE_MEM_SLOTS, else the table */
	STEP_INFLIGHT,	  /* if INFLIGHT_SHMFD: get the region unless there is one, and set it */
	STEP_LOG,	  /* if LOG_SHMFD, and logging is wanted: a log of all of the memory */
	/* of each ring: within .ring one ring does them all, elsewhere all rings do each */
	STEP_NUM,
	STEP_ADDR,
	STEP_BASE,
	STEP_CALL,
	STEP_KICK,
	STEP_ERR,
	STEP_ENABLE,
	STEP_DISABLE,
	STEP_GET_BASE,
	/* every ring goes through .ring */
	STEP_RINGS,
};

enum vm_stop {
	VM_STOP_BASE,	    /* DISABLE and GET_VRING_BASE; restart goes through .start again */
	VM_STOP_PAUSE,	    /* DISABLE; restart is ENABLE alone */
	VM_STOP_DISCONNECT, /* no stop but the end of the connection; restart is a new one */
};

struct vm_profile {
	const char *name;
	uint64_t features;	    /* acked if offered */
	uint64_t protocol_features; /* acked if offered */
	uint64_t need_reply;	    /* requests sent with NEED_REPLY */
	uint32_t config_len;
	uint32_t config_flags;
	bool guest_addr_is_host;
	enum vm_stop stop;
	enum vm_step connect[12];
	enum vm_step start[12];
	enum vm_step ring[10];
	enum vm_step stopping[4];
};

/* By name: qemu, cloud-hypervisor, firecracker, crosvm, libblkio; NULL if there is none such. */
const struct vm_profile *vm_profile_find(const char *name);
/* By number from 0; NULL after the last. */
const struct vm_profile *vm_profile_at(unsigned index);
