// SPDX-License-Identifier: Apache-2.0
// What each request means (VIRTIO 1.3, 5.2.6 "Device Operation"). The guest is an adversary: headers and ranges
// are copied out of its memory before they are checked.
#include <linux/falloc.h>
#include <string.h>

#include "applets/blk/blk.h"

enum { RANGE_DISCOUNT = 64 }; // a range costs that much less than the same bytes moved

static const struct blk *request_blk(const struct blk_request *request)
{
	return request->worker->blk;
}

// 2.7.8.2: the used length is what was written from the front on; the status counts if nothing is left before it.
void blk_request_answer(struct blk_request *request, u8 status)
{
	bool reads = request->type == VIRTIO_BLK_T_IN || request->type == VIRTIO_BLK_T_GET_ID;
	u64 written = reads ? request->moved : 0;

	if (chain_writable_len(request->chain) == 0)
		written++;
	if (request->has_waited)
		blk_full_answered(request, status == VIRTIO_BLK_S_OK);
	*request->status = status;
	vring_push(request->vring, request->chain, (u32)written);
}

// True if `len` bytes from `sector` on are whole blocks of the disk; *offset is where they begin.
static bool range_is_valid(const struct blk *blk, u64 sector, u64 len, u64 *offset)
{
	u64 end;

	return !mul_overflows(sector, VIRTIO_BLK_SECTOR_SIZE, offset) &&
	       !add_overflows(*offset, len, &end) && end <= blk->len &&
	       (*offset | len) % blk->block_size == 0;
}

static void start_transfer(struct blk_request *request, u64 sector)
{
	const struct blk *blk = request_blk(request);

	if (!range_is_valid(blk, sector, request->data->len, &request->offset) ||
	    (request->type == VIRTIO_BLK_T_OUT && blk->read_only)) {
		blk_request_answer(request, VIRTIO_BLK_S_IOERR);
	} else if (request->data->len == 0 || blk->medium.fd < 0) {
		request->moved = request->data->len;
		chain_skip(request->data, request->data->len);
		blk_request_answer(request, VIRTIO_BLK_S_OK);
	} else {
		blk_transfer_start(request);
	}
}

// Answers a request whose last step ended with `result`.
static void end(struct blk_request *request, int result)
{
	blk_request_answer(request, result == 0		    ? VIRTIO_BLK_S_OK
				    : result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP
							    : VIRTIO_BLK_S_IOERR);
}

static void flush_done(struct blk_request *request, int result)
{
	if (result < 0)
		blk_error_log(request, result);
	end(request, blk_error_of_flush(request->worker->blk, result));
}

static void flush(struct blk_request *request)
{
	int result = blk_error_of_flush(request->worker->blk, 0);

	request->step = BLK_FLUSH;
	if (result < 0 || request_blk(request)->medium.fd < 0) {
		end(request, result);
		return;
	}
	result = blk_request_step(request, request->worker->engine);
	if (result != -EINPROGRESS)
		flush_done(request, result);
}

static void get_id(struct blk_request *request)
{
	char id[VIRTIO_BLK_ID_BYTES] = {0};
	const char *serial = request_blk(request)->serial;

	memcpy(id, serial, strnlen(serial, sizeof(id))); // a full one has no terminating zero
	request->moved = chain_write(request->chain, id, sizeof(id));
	blk_request_answer(request, VIRTIO_BLK_S_OK);
}

// How a range is handed to fallocate. 5.2.6.2: zeroes may only be made by deallocating if the driver allows it.
static int allocation_mode(const struct blk *blk, u32 type, bool unmap)
{
	bool punch = type == VIRTIO_BLK_T_DISCARD || (unmap && blk->discard) ||
		     blk->medium.in_memory; // where there is no space to lose

	return FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

// The next `moved` zeroes are written: 0 if none are left, else -EINPROGRESS.
static int zeroes_written(struct blk_request *request, u64 moved)
{
	request->offset += moved;
	request->moved -= moved;
	if (request->moved > 0)
		blk_zeroes_start(request);
	return request->moved > 0 ? -EINPROGRESS : 0;
}

// What a range's step that ended with `result` leads to, as do_range answers: zeroes are written where they cannot be allocated.
static int range_result(struct blk_request *request, int result)
{
	bool allocates = request->step == BLK_ALLOCATE;

	if (result == -EINPROGRESS || (result == 0 && allocates))
		return result;
	if (result > 0)
		return zeroes_written(request, (u64)result);
	if (result == -EOPNOTSUPP && allocates && request->type == VIRTIO_BLK_T_WRITE_ZEROES)
		return zeroes_written(request, 0);
	if (blk_full_wait(request, result))
		return -EINPROGRESS;
	blk_error_log(request, result);
	return result < 0 ? result : -EIO;
}

// 0: the range, which is whole ones of the medium's blocks, is done; -EINPROGRESS: blk_request_done follows; else -errno.
static int do_whole(struct blk_request *request, u64 offset, u64 len, bool unmap)
{
	const struct blk *blk = request_blk(request);

	request->step = BLK_ALLOCATE;
	request->mode = allocation_mode(blk, request->type, unmap);
	request->offset = offset;
	request->moved = len;
	vring_spend(request->vring, len / RANGE_DISCOUNT);
	if (len == 0)
		return 0;
	return range_result(request, blk_request_step(request, request->worker->engine));
}

// A range of zeroes that begins and ends within the medium's blocks.
static int zero_edges(struct blk_request *request, u64 offset, u64 head_len, u64 end, u64 tail_len)
{
	const struct blk *blk = request_blk(request);
	int error = blk_zeroes_write(blk, offset, head_len);

	vring_spend(request->vring, head_len + tail_len);
	if (!error)
		error = blk_zeroes_write(blk, end - tail_len, tail_len);
	if (error)
		blk_error_log(request, error);
	return error;
}

// As do_whole, for a range that may begin and end within the medium's blocks: there zeroes are written, and nothing is discarded.
static int do_range(struct blk_request *request, u64 offset, u64 len, bool unmap)
{
	const struct blk *blk = request_blk(request);
	const u64 mask = blk->medium.range_align - 1, end = offset + len;
	const u64 head_end = min_u64((offset + mask) & ~mask, end);
	const u64 whole_end = head_end < end ? end & ~mask : end;
	int error = 0;

	if (blk->medium.fd < 0)
		return 0;
	request->step = BLK_ALLOCATE;
	request->offset = offset;
	if (request->type == VIRTIO_BLK_T_WRITE_ZEROES)
		error = zero_edges(request, offset, head_end - offset, end, end - whole_end);
	return error ? error : do_whole(request, head_end, whole_end - head_end, unmap);
}

// As do_range, for the next segment of the request. 5.2.6.2 "Device Requirements: Device Operation"
static int next_range(struct blk_request *request)
{
	const struct blk *blk = request_blk(request);
	struct virtio_blk_discard_write_zeroes range;
	bool discard = request->type == VIRTIO_BLK_T_DISCARD;
	u64 offset, len;

	if (chain_read(request->chain, &range, sizeof(range)) < sizeof(range))
		return -EFAULT;
	len = (u64)le32_get(range.num_sectors) * VIRTIO_BLK_SECTOR_SIZE;
	if (le32_get(range.flags) & ~(u32)(discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
		return -EOPNOTSUPP;
	if (!range_is_valid(blk, le64_get(range.sector), len, &offset) ||
	    len > (discard ? (u64)blk->max_discard_sectors * VIRTIO_BLK_SECTOR_SIZE
			   : blk->max_zeroes_len))
		return -EINVAL;
	return do_range(request, offset, len, le32_get(range.flags) != 0);
}

// Does the segments that are left, then answers.
static void run_ranges(struct blk_request *request)
{
	int result = 0;

	while (result == 0 && request->data->len > 0)
		result = next_range(request);
	if (result == 0 && request_blk(request)->sync_writes)
		flush(request);
	else if (result != -EINPROGRESS)
		end(request, result);
}

static void start_ranges(struct blk_request *request)
{
	const struct blk *blk = request_blk(request);
	const u64 segment_len = sizeof(struct virtio_blk_discard_write_zeroes);
	u64 most =
		request->type == VIRTIO_BLK_T_DISCARD ? BLK_MAX_RANGES : blk->max_zeroes_segments;

	if (request->type == VIRTIO_BLK_T_DISCARD && !blk->discard && !blk->read_only)
		blk_request_answer(request, VIRTIO_BLK_S_UNSUPP);
	else if (blk->read_only || request->data->len == 0 ||
		 request->data->len % segment_len != 0 || request->data->len / segment_len > most)
		blk_request_answer(request, VIRTIO_BLK_S_IOERR);
	else
		run_ranges(request);
}

static void range_done(struct blk_request *request, int result)
{
	result = range_result(request, result);
	if (result == 0)
		run_ranges(request);
	else if (result != -EINPROGRESS)
		end(request, result);
}

static int allocate(struct blk_request *request, const struct blk_engine *engine)
{
	const struct medium *medium = &request_blk(request)->medium;

	if (request->type == VIRTIO_BLK_T_DISCARD && medium->discards_by_ioctl)
		return medium_discard(medium, request->offset, request->moved);
	return engine->allocate(request, request->mode, request->offset, request->moved);
}

int blk_request_step(struct blk_request *request, const struct blk_engine *engine)
{
	switch (request->step) {
	case BLK_MOVE:
		return blk_transfer_step(request, engine);
	case BLK_ALLOCATE:
		return allocate(request, engine);
	case BLK_ZERO:
		return blk_zeroes_step(request, engine);
	default:
		return engine->flush(request);
	}
}

void blk_request_done(struct blk_request *request, int result)
{
	if (request->step == BLK_MOVE)
		blk_transfer_done(request, result);
	else if (request->step == BLK_FLUSH)
		flush_done(request, result);
	else
		range_done(request, result);
}

void blk_request_again(struct blk_request *request)
{
	int result;

	if (request->step == BLK_MOVE) {
		blk_transfer_start(request);
		return;
	}
	result = blk_request_step(request, request->worker->engine);
	if (result != -EINPROGRESS)
		blk_request_done(request, result);
}

static void dispatch(struct blk_request *request, u64 sector)
{
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		start_transfer(request, sector);
		break;
	case VIRTIO_BLK_T_FLUSH:
		flush(request);
		break;
	case VIRTIO_BLK_T_GET_ID:
		get_id(request);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		start_ranges(request);
		break;
	default:
		blk_request_answer(request, VIRTIO_BLK_S_UNSUPP);
	}
}

void blk_request_start(struct blk_worker *worker, struct vring *vring, struct chain *chain)
{
	struct blk_request *request = vring_request(vring, chain);
	struct virtio_blk_req_header header;
	u8 *status = chain_take_last_byte(chain);

	if (!status || chain_read(chain, &header, sizeof(header)) < sizeof(header)) {
		vring_push(vring, chain, 0); // no request, and nowhere to say so
		return;
	}
	request->worker = worker;
	request->vring = vring;
	request->chain = chain;
	request->status = status;
	request->type = le32_get(header.type);
	request->step = BLK_MOVE;
	request->moved = 0;
	request->has_waited = false;
	request->bounce = NULL;
	request->bounced.iov_len = 0;
	request->data = request->type == VIRTIO_BLK_T_IN ? &chain->writable : &chain->readable;
	dispatch(request, le64_get(header.sector));
}
