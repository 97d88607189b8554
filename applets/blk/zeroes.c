// SPDX-License-Identifier: Apache-2.0
// Writes zeroes where the file system has no cheap way to make them: in steps, of which a worker takes one in each turn, so that
// other rings do not wait for all of them.
#include "applets/blk/blk.h"

enum { ZEROES_LEN = 65536, STEP_SEGMENTS = 16 };

static _Alignas(ZEROES_LEN) u8 zeroes[ZEROES_LEN]; // never written: not a byte in the binary

void blk_zeroes_start(struct blk_request *request)
{
	struct blk_worker *worker = request->worker;

	request->step = BLK_ZERO;
	list_init(&request->waiting);
	list_append(&worker->zeroing, &request->waiting);
	event_loop_at_next_turn(&worker->worker->loop, &worker->zero_next);
}

int blk_zeroes_step(struct blk_request *request, const struct blk_engine *engine)
{
	static const struct iovec segments[] = {[0 ... STEP_SEGMENTS - 1] = {zeroes, ZEROES_LEN}};
	u64 whole = request->moved / ZEROES_LEN;

	if (whole > 0)
		return engine->move(request, segments, (unsigned)min_u64(whole, STEP_SEGMENTS),
				    request->offset);
	request->bounced = (struct iovec){zeroes, request->moved};
	return engine->move(request, &request->bounced, 1, request->offset);
}

int blk_zeroes_write(const struct blk *blk, u64 offset, u64 len)
{
	assert(len <= ZEROES_LEN);
	while (len > 0) {
		const struct iovec segment = {zeroes, len};
		int moved = medium_write(&blk->medium, &segment, 1, offset, 0);

		if (moved <= 0)
			return moved < 0 ? moved : -EIO;
		offset += (u64)moved;
		len -= (u64)moved;
	}
	return 0;
}

bool blk_zeroes_next(struct blk_worker *worker)
{
	if (list_empty(&worker->zeroing))
		return false;
	struct blk_request *request =
		container_of(worker->zeroing.next, struct blk_request, waiting);

	list_remove(&request->waiting);
	blk_request_again(request);
	worker->engine->submit(worker);
	return true;
}

static void zero_next(struct deferred *deferred)
{
	struct blk_worker *worker = container_of(deferred, struct blk_worker, zero_next);

	blk_zeroes_next(worker);
	if (!list_empty(&worker->zeroing))
		event_loop_at_next_turn(&worker->worker->loop, deferred);
}

void blk_zeroes_init(struct blk_worker *worker)
{
	list_init(&worker->zeroing);
	deferred_init(&worker->zero_next, zero_next);
}

void blk_zeroes_fini(struct blk_worker *worker)
{
	deferred_cancel(&worker->zero_next);
}
