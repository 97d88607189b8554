// SPDX-License-Identifier: Apache-2.0
// Moves a request's data, in as many steps as the host needs: straight between the medium and guest memory, or
// by a bounce buffer where direct I/O cannot take the guest's addresses.
#include <limits.h>

#include "applets/blk/blk.h"

static bool is_aligned(const struct blk_request *request)
{
	const struct medium *medium = &request->worker->blk->medium;

	for (unsigned i = 0; i < request->data->count; i++) {
		const struct iovec *segment = &request->data->segments[i];

		if ((uintptr_t)segment->iov_base % medium->memory_align ||
		    segment->iov_len % medium->logical_block)
			return false;
	}
	return true;
}

// What is written stays in the chain until it has moved: a buffer that is given back meanwhile can be filled again.
static int move_bounced(struct blk_request *request, const struct blk_engine *engine)
{
	if (request->bounced.iov_len == 0) {
		size_t len = min_size(request->data->len, BLK_BOUNCE_LEN);

		request->bounced = (struct iovec){.iov_base = request->bounce, .iov_len = len};
		if (request->type == VIRTIO_BLK_T_OUT &&
		    chain_peek(request->chain, request->bounce, len) < len)
			return -EFAULT;
	}
	return engine->move(request, &request->bounced, 1, request->offset);
}

int blk_transfer_step(struct blk_request *request, const struct blk_engine *engine)
{
	if (request->bounce)
		return move_bounced(request, engine);
	return engine->move(request, request->data->segments,
			    min_uint(request->data->count, IOV_MAX), request->offset);
}

// Accounts for `len` bytes that have moved.
static void advance(struct blk_request *request, size_t len)
{
	request->offset += len;
	request->moved += len;
	if (request->bounce && request->type == VIRTIO_BLK_T_IN)
		chain_write(request->chain, request->bounced.iov_base, len);
	else
		chain_skip(request->data, len);
	if (request->bounce) {
		request->bounced.iov_base = (u8 *)request->bounced.iov_base + len;
		request->bounced.iov_len -= len;
	}
}

static void end(struct blk_request *request, int result);

// Takes what a move answered; true if the next one is due.
static bool absorb(struct blk_request *request, int result)
{
	if (result == -EINPROGRESS)
		return false;
	if (result > 0)
		advance(request, (size_t)result);
	if (result > 0 && request->data->len > 0)
		return true;
	end(request, result);
	return false;
}

static void run(struct blk_request *request)
{
	while (absorb(request, blk_transfer_step(request, request->worker->engine)))
		;
}

static void take_bounce(struct blk_request *request)
{
	struct blk_worker *worker = request->worker;

	request->bounce = worker->bounce_free[--worker->bounce_free_count];
	request->bounced = (struct iovec){0};
}

// Starts those who wait, in a loop: one that ends at once gives its buffer back from within.
static void start_waiting(struct blk_worker *worker)
{
	if (worker->bounce_starting)
		return;
	worker->bounce_starting = true;
	while (worker->bounce_free_count > 0 && !list_empty(&worker->bounce_waiting)) {
		struct blk_request *next =
			container_of(worker->bounce_waiting.next, struct blk_request, waiting);

		list_remove(&next->waiting);
		take_bounce(next);
		run(next);
	}
	worker->bounce_starting = false;
}

static void give_bounce(struct blk_request *request)
{
	struct blk_worker *worker = request->worker;

	worker->bounce_free[worker->bounce_free_count++] = request->bounce;
	request->bounce = NULL;
	start_waiting(worker);
}

// A durable write is a flush too, and fails as one: the error may be that of other bytes, and is told to one caller alone.
static bool is_good(const struct blk_request *request, int result)
{
	if (blk_is_durable(request) && (result > 0 || result == -EIO))
		return blk_error_of_flush(request->worker->blk, result < 0 ? result : 0) == 0;
	return result > 0;
}

// The last move answered `result`.
static void end(struct blk_request *request, int result)
{
	bool waits = blk_full_wait(request, result);

	if (result <= 0 && !waits)
		blk_error_log(request, result);
	if (request->bounce)
		give_bounce(request);
	if (!waits)
		blk_request_answer(request,
				   is_good(request, result) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

void blk_transfer_start(struct blk_request *request)
{
	struct blk_worker *worker = request->worker;

	if (!worker->blk->medium.direct || is_aligned(request)) {
		run(request);
	} else if (worker->bounce_free_count > 0) {
		take_bounce(request);
		run(request);
	} else {
		list_init(&request->waiting);
		list_append(&worker->bounce_waiting, &request->waiting);
	}
}

void blk_transfer_done(struct blk_request *request, int result)
{
	if (absorb(request, result))
		run(request);
}
