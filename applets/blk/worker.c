// SPDX-License-Identifier: Apache-2.0
// A worker's part of the disk: its engine, its buffers, and its rings as they are served and stopped.
#include <string.h>

#include "applets/blk/blk.h"
#include "core/log.h"
#include "core/sys.h"

// Said when the first worker knows.
static void describe(const struct blk *blk, int ring_error)
{
	log_info("%s: %llu bytes in blocks of %u%s, engine %s%s%s%s", blk->path,
		 (unsigned long long)blk->len, blk->block_size, blk->read_only ? ", read-only" : "",
		 blk->engine->name, ring_error ? " (no io_uring: " : "",
		 ring_error ? strerror(-ring_error) : "", ring_error ? ")" : "");
}

// Where no ring can be had this worker and those after it do without, unless it must be one. Workers start one after the other.
static int start_engine(struct blk *blk, struct blk_worker *blk_worker)
{
	unsigned index = blk_worker->worker->index;
	int error = blk->engine->start(blk_worker);

	if (error && blk->engine_required)
		return log_errno(error, "--engine uring: no io_uring can be made; --engine auto "
					"does without");
	if (error) {
		blk->engine = &blk_engine_sync;
		if (index > 0)
			log_warning("worker %u and those after it have engine sync, as no more "
				    "io_urings can be made: %s",
				    index, strerror(-error));
	}
	blk_worker->engine = blk->engine;
	if (blk->engine != &blk_engine_sync)
		blk->device.kernel_threads = true;
	if (index == 0)
		describe(blk, error);
	return 0;
}

static void free_worker(struct blk_worker *blk_worker)
{
	blk_zeroes_fini(blk_worker);
	blk_full_fini(blk_worker);
	sys_release(blk_worker->bounce_buffers, (size_t)BLK_BOUNCE_COUNT * BLK_BOUNCE_LEN);
	free(blk_worker);
}

static int reserve_bounce_buffers(struct blk_worker *blk_worker)
{
	u8 *buffers = sys_reserve((size_t)BLK_BOUNCE_COUNT * BLK_BOUNCE_LEN);

	if (!buffers)
		return log_errno(-ENOMEM, "cannot reserve bounce buffers");
	list_init(&blk_worker->bounce_waiting);
	blk_worker->bounce_buffers = buffers;
	for (size_t i = 0; i < BLK_BOUNCE_COUNT; i++)
		blk_worker->bounce_free[blk_worker->bounce_free_count++] =
			buffers + i * BLK_BOUNCE_LEN;
	return 0;
}

int blk_worker_start(struct device *device, struct worker *worker)
{
	struct blk *blk = blk_of(device);
	struct blk_worker *blk_worker = calloc(1, sizeof(*blk_worker));
	int error;

	if (!blk_worker)
		return log_errno(-ENOMEM, "cannot start a worker");
	*blk_worker = (struct blk_worker){.blk = blk,
					  .worker = worker,
					  .nowait_reads = true,
					  .nowait_writes = true,
					  .full_timer_fd = -1};
	blk_zeroes_init(blk_worker);
	error = blk_full_init(blk_worker);
	if (!error)
		error = reserve_bounce_buffers(blk_worker);
	if (!error)
		error = start_engine(blk, blk_worker);
	if (error)
		free_worker(blk_worker);
	else
		worker->device_data = blk_worker;
	return error;
}

void blk_worker_stop(struct device *device, struct worker *worker)
{
	struct blk_worker *blk_worker = worker->device_data;

	(void)device;
	blk_worker->engine->stop(blk_worker);
	free_worker(blk_worker);
}

void blk_process_queue(struct device *device, struct vring *vring)
{
	struct blk_worker *worker = vring_worker(vring)->device_data;
	struct chain *chain;

	(void)device;
	while ((chain = vring_pop(vring)))
		blk_request_start(worker, vring, chain);
	worker->engine->submit(worker);
}

void blk_queue_stop(struct device *device, struct vring *vring)
{
	struct blk_worker *worker = vring_worker(vring)->device_data;

	(void)device;
	worker->stopping = vring;
	blk_full_stop(worker, vring);
	while (!vring_idle(vring))
		if (!blk_zeroes_next(worker))
			worker->engine->wait(worker);
	worker->stopping = NULL;
}
