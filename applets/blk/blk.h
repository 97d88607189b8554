// SPDX-License-Identifier: Apache-2.0
// The block device: what its files share. A request goes request.c → transfer.c → an engine → back.
#pragma once

#include <sys/uio.h>

#include "applets/blk/medium.h"
#include "applets/blk/virtio_blk.h"
#include "core/device.h"

enum {
	BLK_MAX_RANGES = 64,	     // segments of one discard or write-zeroes request
	BLK_BOUNCE_LEN = 128 * 1024, // bytes of a bounce buffer
	BLK_BOUNCE_COUNT = 8,	     // bounce buffers of one worker
	BLK_ALLOCATED_ZEROES_LEN =
		256 << 20, // bytes of one write-zeroes segment that the file system allocates
	BLK_WRITTEN_ZEROES_LEN = 4 << 20,   // or that we write
	BLK_WAITED_DISCARD_LEN = 256 << 20, // of one discard segment that the worker waits for
};

struct blk_request;
struct blk_worker;

// How bytes move. The operations run on the ring's worker. move, flush and allocate answer what came of it, as
// the system call does, or -EINPROGRESS: then blk_transfer_done (of move) or blk_request_done follows.
struct blk_engine {
	const char *name;
	int (*start)(struct blk_worker *worker); // 0 or -errno, logged
	void (*stop)(struct blk_worker *worker);
	int (*move)(struct blk_request *request, const struct iovec *segments, unsigned count,
		    u64 offset);
	int (*flush)(struct blk_request *request);
	int (*allocate)(struct blk_request *request, int mode, u64 offset, u64 len); // fallocate
	void (*submit)(struct blk_worker *worker); // hands over all that is in progress
	void (*drain)(struct blk_worker *worker,
		      const struct vring *vring); // until the ring is idle
};

extern const struct blk_engine blk_engine_sync;
extern const struct blk_engine blk_engine_uring;
bool blk_engine_uring_works(void);

struct blk {
	struct device device;
	struct medium medium;
	const struct blk_engine *engine;
	const char *serial;
	int fence_fd; // held until each worker's io_uring has it; -1: none
	unsigned num_queues, queue_size;
	u32 block_size; // bytes
	u64 len;	// bytes of whole blocks; only written while no ring runs
	bool read_only, discard;
	bool lock_handover; // it is locked while it is active alone
	bool lock_awaited;  // which has been said
	u32 max_discard_sectors, discard_alignment_sectors;
	u32 max_zeroes_len; // bytes of one write-zeroes segment
	unsigned max_zeroes_segments;
	bool configured_write_cache;
	// what the driver may change, while no ring runs
	bool write_cache; // the "writeback" field
	u64 features;
	bool sync_writes; // a write is durable before it is answered
};

// Each worker's own.
struct blk_worker {
	struct blk *blk;
	struct worker *worker;
	void *engine_data;
	bool nowait_reads, nowait_writes; // until the medium's file system says otherwise
	u8 *bounce_buffers;
	u8 *bounce_free[BLK_BOUNCE_COUNT];
	unsigned bounce_free_count;
	struct list bounce_waiting; // requests
	bool bounce_starting;
};

// The device's memory for each chain in flight.
struct blk_request {
	struct blk_worker *worker;
	struct vring *vring;
	struct chain *chain;
	u8 *status;
	u32 type;
	u64 offset;		 // of the medium, where the next byte goes to or comes from
	u64 moved;		 // bytes so far
	bool flushing;		 // what the engine is doing is a flush
	struct chain_part *data; // of the chain: what is left to move
	u8 *bounce;		 // NULL: straight from and to guest memory
	struct iovec bounced;	 // the part of the bounce buffer in flight
	struct list waiting;	 // for a bounce buffer
};

static inline struct blk *blk_of(struct device *device)
{
	return container_of(device, struct blk, device);
}

static inline const struct blk *blk_of_const(const struct device *device)
{
	return container_of(device, const struct blk, device);
}

// geometry.c: decides on the block size (0: the medium's) and the limits of ranges, once the medium is open. 0 or -EINVAL, logged.
must_check int blk_set_geometry(struct blk *blk, u32 block_size, bool discard);
// The bytes of whole blocks among `len`; says so if there are others.
u64 blk_whole_blocks(const struct blk *blk, u64 len);
u64 blk_features(const struct device *device);
size_t blk_config(const struct device *device, u8 *space);

// request.c: takes a chain and sees to it that it is answered.
void blk_request_start(struct blk_worker *worker, struct vring *vring, struct chain *chain);
// A flush or an allocation that was in progress has ended: 0 or -errno.
void blk_request_done(struct blk_request *request, int result);
// Answers the request.
void blk_request_answer(struct blk_request *request, u8 status);

// transfer.c: moves all of request->data, then answers.
void blk_transfer_start(struct blk_request *request);
// A move that was in progress has ended: bytes moved, or 0 at the end of the medium, or -errno.
void blk_transfer_done(struct blk_request *request, int result);
