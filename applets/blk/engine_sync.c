// SPDX-License-Identifier: Apache-2.0
// The engine that waits: each request is one system call in the worker. The best there is for what is in memory,
// and all there is where io_uring is forbidden.
#include <fcntl.h>

#include "applets/blk/blk.h"
#include "core/sys.h"

static int sync_start(struct blk_worker *worker)
{
	(void)worker;
	return 0;
}

static void sync_stop(struct blk_worker *worker)
{
	(void)worker;
}

static int sync_move(struct blk_request *request, const struct iovec *segments, unsigned count,
		     u64 offset)
{
	const struct blk *blk = request->worker->blk;

	if (request->type == VIRTIO_BLK_T_IN)
		return medium_read(&blk->medium, segments, count, offset, 0);
	return medium_write(&blk->medium, segments, count, offset,
			    blk_is_durable(request) ? RWF_DSYNC : 0);
}

static int sync_flush(struct blk_request *request)
{
	return sys_int(fdatasync(request->worker->blk->medium.fd));
}

static int sync_allocate(struct blk_request *request, int mode, u64 offset, u64 len)
{
	return sys_int(fallocate(request->worker->blk->medium.fd, mode, (off_t)offset, (off_t)len));
}

static void sync_submit(struct blk_worker *worker)
{
	(void)worker; // nothing is ever in progress
}

static void sync_wait(struct blk_worker *worker)
{
	(void)worker;
	assert(false); // for the same reason
}

const struct blk_engine blk_engine_sync = {
	.name = "sync",
	.start = sync_start,
	.stop = sync_stop,
	.move = sync_move,
	.flush = sync_flush,
	.allocate = sync_allocate,
	.submit = sync_submit,
	.wait = sync_wait,
};
