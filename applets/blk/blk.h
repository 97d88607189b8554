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
// the system call does, or -EINPROGRESS: then blk_request_done follows.
struct blk_engine {
	const char *name;
	unsigned worker_fds;			 // that start opens
	int (*start)(struct blk_worker *worker); // 0 or -errno, not logged
	void (*stop)(struct blk_worker *worker);
	int (*move)(struct blk_request *request, const struct iovec *segments, unsigned count,
		    u64 offset);
	int (*flush)(struct blk_request *request);
	int (*allocate)(struct blk_request *request, int mode, u64 offset, u64 len); // fallocate
	void (*submit)(struct blk_worker *worker); // hands over all that is in progress
	void (*wait)(
		struct blk_worker *worker); // and waits until some of it, which there is, has ended
};

extern const struct blk_engine blk_engine_sync;
extern const struct blk_engine blk_engine_uring;

struct blk {
	struct device device;
	struct medium medium;
	const struct blk_engine *engine; // of the workers that start
	bool engine_required;		 // no other will do
	const char *path, *serial;
	int fence_fd; // held until each worker's io_uring has it; -1: none
	unsigned num_queues, queue_size;
	u32 block_size; // bytes
	u64 len;	// bytes of whole blocks; only written while no ring runs
	bool read_only, discard;
	bool stop_when_full; // requests wait for room on the host
	bool lock_handover;  // it is locked while it is active alone
	bool lock_awaited;   // which has been said
	u32 max_discard_sectors, discard_alignment_sectors;
	u32 max_zeroes_len; // bytes of one write-zeroes segment
	unsigned max_zeroes_segments;
	bool configured_write_cache;
	// what the driver may change, while no ring runs
	bool write_cache; // the "writeback" field
	u64 features;
	bool sync_writes; // a write is durable before it is answered
	// what the workers share: atomics
	int flush_error;  // -errno of the flush that failed, so that none may succeed any more
	u64 error_second; // in which an error of the host was logged last
	unsigned errors_unsaid; // that were not logged since
	unsigned waiting_count; // requests that wait for room
	bool ring_refused;	// an io_uring has refused a step, which has been said
};

// Each worker's own.
struct blk_worker {
	struct blk *blk;
	struct worker *worker;
	const struct blk_engine *engine;
	void *engine_data;
	bool nowait_reads, nowait_writes; // until the medium's file system says otherwise
	u8 *bounce_buffers;
	u8 *bounce_free[BLK_BOUNCE_COUNT];
	unsigned bounce_free_count;
	struct list bounce_waiting; // requests
	bool bounce_starting;
	struct list
		zeroing; // requests that write zeroes, each of which takes its next step in turn
	struct deferred zero_next;
	struct list full; // requests that wait for room on the host
	struct deferred full_next;
	struct watch full_timer;
	int full_timer_fd;	// -1: none waits for room
	bool full_watched;	// the timer
	struct vring *stopping; // none of its requests waits for room any more
};

// What an engine does for a request, now or next.
enum blk_step { BLK_MOVE, BLK_ALLOCATE, BLK_ZERO, BLK_FLUSH };

// The device's memory for each chain in flight.
struct blk_request {
	struct blk_worker *worker;
	struct vring *vring;
	struct chain *chain;
	u8 *status;
	u32 type;
	enum blk_step step;
	int mode;		 // of fallocate
	u64 offset;		 // of the medium, where the next byte goes to or comes from
	u64 moved;		 // bytes so far; of a range: that are left
	bool has_waited;	 // for room on the host
	struct chain_part *data; // of the chain: what is left to move
	u8 *bounce;		 // NULL: straight from and to guest memory
	struct iovec bounced;	 // the part of the bounce buffer in flight
	struct list waiting;	 // for a bounce buffer, for room, or to write more zeroes
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

// True if what the request does next must be durable when it has ended.
static inline bool blk_is_durable(const struct blk_request *request)
{
	return request->step == BLK_MOVE && request->type == VIRTIO_BLK_T_OUT &&
	       request->worker->blk->sync_writes;
}

// worker.c: the operations that run on workers.
int blk_worker_start(struct device *device, struct worker *worker);
void blk_worker_stop(struct device *device, struct worker *worker);
void blk_process_queue(struct device *device, struct vring *vring);
void blk_queue_stop(struct device *device, struct vring *vring);

// request.c: takes a chain and sees to it that it is answered.
void blk_request_start(struct blk_worker *worker, struct vring *vring, struct chain *chain);
// Does the request's step by that engine, and answers as the engine does.
int blk_request_step(struct blk_request *request, const struct blk_engine *engine);
// A step that was in progress has ended with this.
void blk_request_done(struct blk_request *request, int result);
// Tries the step again that has failed.
void blk_request_again(struct blk_request *request);
// Answers the request.
void blk_request_answer(struct blk_request *request, u8 status);

// transfer.c: moves all of request->data that is left, then answers.
void blk_transfer_start(struct blk_request *request);
int blk_transfer_step(struct blk_request *request, const struct blk_engine *engine);
// A move that was in progress has ended: bytes moved, or 0 at the end of the medium, or -errno.
void blk_transfer_done(struct blk_request *request, int result);

// zeroes.c: writes request->moved zeroes at request->offset in steps, one in each turn. blk_request_done follows each of them.
void blk_zeroes_start(struct blk_request *request);
int blk_zeroes_step(struct blk_request *request, const struct blk_engine *engine);
// Writes zeroes at once: fewer than a block of the medium. 0 or -errno.
must_check int blk_zeroes_write(const struct blk *blk, u64 offset, u64 len);
// Takes the next step of the request whose turn it is. False if none writes zeroes.
bool blk_zeroes_next(struct blk_worker *worker);
void blk_zeroes_init(struct blk_worker *worker);
void blk_zeroes_fini(struct blk_worker *worker);

// error.c: says that the host has failed the request's step: -errno, or 0 at the end of the medium. At most one line a second for
// a disk, of which the next counts those that were not said. Any worker.
void blk_error_log(const struct blk_request *request, int error);
// What a flush, or a durable write, that ended with `result` is to answer: 0 or -errno. After one has failed that went through the
// host's page cache none may succeed: what was lost then is not in the cache any more. Any worker.
int blk_error_of_flush(struct blk *blk, int result);
// Flushes the disk at once: 0 or -errno, logged as above. Any worker.
must_check int blk_error_flush_now(struct blk *blk);

// full.c: where the host has no room, --on-enospc=stop has requests wait until there is. True if this one, whose step has
// ended with `error`, waits; blk_request_again follows.
bool blk_full_wait(struct blk_request *request, int error);
// A request that has waited is answered.
void blk_full_answered(struct blk_request *request, bool good);
// The ring stops: what waits is tried once more, and is answered now.
void blk_full_stop(struct blk_worker *worker, struct vring *vring);
// 0 or -errno.
must_check int blk_full_init(struct blk_worker *worker);
void blk_full_fini(struct blk_worker *worker);
