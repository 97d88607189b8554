// SPDX-License-Identifier: Apache-2.0
//
// A whole VMM as a back-end sees it: connection, guest memory and rings, set up the way one of
// the front-end profiles does it.
//
//	struct vm vm;
//	struct vm_disk disk;
//	int error = vm_start(&vm, path, &(struct vm_options){ .queues = 2 });
//	...
//	vm_disk_init(&disk, &vm, 0);
//	status = vm_disk_read(&disk, 0, buffer, sizeof(buffer));
//	vm_close(&vm);
//
// Functions return 0 or a negative errno; -EREMOTEIO means that the back-end refused a request.
// vm.step says which step of the profile failed.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "tests/frontend/frontend.h"
#include "tests/frontend/memory.h"
#include "tests/frontend/profile.h"
#include "tests/frontend/ring.h"

enum {
	VM_QUEUES = 64,
};

/* Zero means the default everywhere. */
struct vm_options {
	const struct vm_profile *profile; /* qemu */
	unsigned queues;		  /* 1 */
	uint16_t queue_size;		  /* 128 */
	uint16_t inflight_size;		  /* of rings, as GET_INFLIGHT_FD has it; 0: queue_size */
	unsigned regions;		  /* 1: the memory is one memfd, cut into so many regions */
	uint64_t memory_size;		  /* 64 MiB */
	uint64_t
		features; /* feature bits to ack beside the profile's: RING_PACKED, IN_ORDER, LOG_ALL */
	uint64_t without_features; /* feature bits not to ack although the profile does */
	uint64_t without_protocol_features;
	int connect_timeout_ms; /* 5000 */
	int timeout_ms;		/* 10000: of each message and each request of a vm_disk */
	bool lenient;		/* as in struct frontend */
	bool accept;		/* the back-end calls us */
	bool postcopy;		/* the memory comes later, as postcopy.h has it */
};

struct vm {
	struct vm_options options; /* with the defaults filled in */
	const struct vm_profile *profile;
	struct frontend frontend;
	struct vm_memory memory;
	struct vm_ring rings[VM_QUEUES];
	unsigned queues;
	unsigned regions_added; /* by ADD_MEM_REG: a restart adds only what is new */
	int backend_fd;		/* our end of the back-end channel, or -1 */

	uint64_t offered_features;
	uint64_t features; /* acked */
	uint64_t offered_protocol_features;
	uint64_t protocol_features;    /* acked */
	uint64_t queue_num;	       /* GET_QUEUE_NUM, or 0 if not asked */
	uint64_t max_mem_slots;	       /* GET_MAX_MEM_SLOTS, or 0 if not asked */
	uint8_t config[VU_CONFIG_MAX]; /* GET_CONFIG */
	uint32_t bases[VM_QUEUES];     /* to send with SET_VRING_BASE; stopping sets them */
	struct vu_inflight inflight; /* the region of chains in flight; it outlives the back-end */
	int inflight_fd;	     /* or -1 */
	int log_fd;	  /* the dirty log, a bit for each 4 KiB of the guest's addresses, or -1 */
	uint64_t log_len; /* bytes */

	int userfault_fd;			 /* the back-end's, for postcopy, or -1 */
	uint64_t bases_there[VM_MEMORY_REGIONS]; /* where it has mapped the regions then */

	enum vm_step step;
};

/* Connects, negotiates, shares the memory and starts all rings. After an error: nothing is held. */
int vm_start(struct vm *vm, const char *path, const struct vm_options *options);
/* The first half of it: connects and does the profile's .connect steps. Memory and rings exist. */
int vm_connect(struct vm *vm, const char *path, const struct vm_options *options);
/* The second half: the profile's .start steps. */
int vm_run(struct vm *vm);
/*
 * After the back-end has gone: both halves again, with memory and rings as they are. Each ring goes on from
 * where its driver has seen answers; what is in flight is in the region, if there is one.
 */
int vm_restart(struct vm *vm, const char *path);
/* The region of chains in flight as this process sees it, inflight.size bytes; NULL on failure. */
void *vm_map_inflight(const struct vm *vm);

/* Stops the rings in the profile's way; -EOPNOTSUPP if that is to disconnect. */
int vm_stop(struct vm *vm);
/* Starts the rings again after vm_stop(), where they were. */
int vm_resume(struct vm *vm);
/* Waits until the back-end says that the configuration has changed, and asks for it anew. */
int vm_wait_config_change(struct vm *vm);
/* One step by hand: of the device, or of every ring. */
int vm_do(struct vm *vm, enum vm_step step);
/* One step of one ring. */
int vm_do_ring(struct vm *vm, enum vm_step step, unsigned index);

void vm_close(struct vm *vm);
const char *vm_step_name(enum vm_step step);
