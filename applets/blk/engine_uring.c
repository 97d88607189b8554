// SPDX-License-Identifier: Apache-2.0
// The engine on io_uring: one ring for each worker, submissions and completions in batches. What the page cache
// can do at once is done inline, without the ring.
#include <liburing.h>
#include <string.h>
#include <sys/eventfd.h>

#include "applets/blk/blk.h"
#include "core/log.h"
#include "core/sys.h"

enum {
	RING_ENTRIES = 256, // submissions in one batch
	CQ_FACTOR = 4,	    // completions that can wait, in rings of submissions
	FIXED_FILE = 0,
	FENCE, // only kept: until the last request is over
};

struct uring {
	struct io_uring ring;
	int event_fd; // edge-triggered and never read
	struct watch watch;
	struct worker *worker;
	struct deferred submit_again;
};

static struct uring *uring_of(const struct blk_request *request)
{
	return request->worker->engine_data;
}

// The kernel takes a thread for what it cannot do at once; if it can make none (pids.max, RLIMIT_NPROC, no memory), it gives the
// step back undone.
static bool is_refused(int result)
{
	return result == -ECANCELED || result == -EAGAIN || result == -EINTR;
}

// Does what the ring has refused, and says once that this happens.
static int do_refused(struct blk_request *request, int result)
{
	struct blk *blk = request->worker->blk;

	if (!__atomic_exchange_n(&blk->ring_refused, true, __ATOMIC_RELAXED))
		log_warning(
			"the io_uring gets no kernel thread, so a worker does what takes one: %s",
			strerror(-result));
	return blk_request_step(request, &blk_engine_sync);
}

// Tells the request what has come of it.
static void complete(struct blk_request *request, int result)
{
	if (is_refused(result))
		result = do_refused(request, result);
	blk_request_done(request, result);
}

// With TASKRUN_FLAG the peek enters the kernel by itself if there is something to be had.
static void reap(struct uring *uring)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		struct blk_request *request = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&uring->ring, cqe);
		complete(request, result);
	}
}

// Hands over all that is prepared. What the kernel does not take now is tried again in the next turn.
static void submit(struct uring *uring)
{
	int submitted = 1;

	while (submitted > 0 && io_uring_sq_ready(&uring->ring) > 0) {
		submitted = io_uring_submit_and_get_events(&uring->ring);
		reap(uring);
	}
	if (io_uring_sq_ready(&uring->ring) > 0)
		event_loop_at_next_turn(&uring->worker->loop, &uring->submit_again);
}

static void submit_again(struct deferred *deferred)
{
	submit(container_of(deferred, struct uring, submit_again));
}

static void uring_submit(struct blk_worker *worker)
{
	submit(worker->engine_data);
}

static void completions_ready(struct watch *watch, u32 events)
{
	struct uring *uring = container_of(watch, struct uring, watch);

	(void)events;
	reap(uring);
	submit(uring);
}

// NULL if the ring is full and the kernel takes nothing off it now.
static struct io_uring_sqe *next_sqe(struct uring *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	if (!sqe && io_uring_submit(&uring->ring) > 0)
		sqe = io_uring_get_sqe(&uring->ring);
	return sqe;
}

static int put_in_progress(struct io_uring_sqe *sqe, struct blk_request *request)
{
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, request);
	return -EINPROGRESS;
}

// Tries not to wait. Where the file system cannot tell, *works becomes false.
static int move_nowait(const struct blk_request *request, const struct iovec *segments,
		       unsigned count, u64 offset, bool *works)
{
	const struct medium *medium = &request->worker->blk->medium;
	int moved = request->type == VIRTIO_BLK_T_IN
			    ? medium_read(medium, segments, count, offset, RWF_NOWAIT)
			    : medium_write(medium, segments, count, offset, RWF_NOWAIT);

	*works = moved != -EOPNOTSUPP;
	return *works ? moved : -EAGAIN;
}

// What the page cache can do without the ring; -EAGAIN if that is not all in memory. A write into the cache is done
// here even where it may have to wait for the cache to be written back: a ring would take a thread for it.
static int move_cached(const struct blk_request *request, const struct iovec *segments,
		       unsigned count, u64 offset)
{
	struct blk_worker *worker = request->worker;
	const struct blk *blk = worker->blk;

	if (blk->medium.direct || blk_is_durable(request))
		return -EAGAIN;
	if (request->type == VIRTIO_BLK_T_IN)
		return worker->nowait_reads ? move_nowait(request, segments, count, offset,
							  &worker->nowait_reads)
					    : -EAGAIN;
	if (worker->nowait_writes) {
		int moved = move_nowait(request, segments, count, offset, &worker->nowait_writes);

		if (worker->nowait_writes)
			return moved;
	}
	return medium_write(&blk->medium, segments, count, offset, 0);
}

static int uring_move(struct blk_request *request, const struct iovec *segments, unsigned count,
		      u64 offset)
{
	struct io_uring_sqe *sqe;
	int moved = move_cached(request, segments, count, offset);

	if (moved != -EAGAIN)
		return moved;
	sqe = next_sqe(uring_of(request));
	if (!sqe)
		return blk_engine_sync.move(request, segments, count, offset);
	if (request->type == VIRTIO_BLK_T_IN)
		io_uring_prep_readv2(sqe, FIXED_FILE, segments, count, offset, 0);
	else
		io_uring_prep_writev2(sqe, FIXED_FILE, segments, count, offset,
				      blk_is_durable(request) ? RWF_DSYNC : 0);
	return put_in_progress(sqe, request);
}

static int uring_flush(struct blk_request *request)
{
	struct io_uring_sqe *sqe = next_sqe(uring_of(request));

	if (!sqe)
		return blk_engine_sync.flush(request);
	io_uring_prep_fsync(sqe, FIXED_FILE, IORING_FSYNC_DATASYNC);
	return put_in_progress(sqe, request);
}

static int uring_allocate(struct blk_request *request, int mode, u64 offset, u64 len)
{
	struct io_uring_sqe *sqe = next_sqe(uring_of(request));

	if (!sqe)
		return blk_engine_sync.allocate(request, mode, offset, len);
	io_uring_prep_fallocate(sqe, FIXED_FILE, mode, (off_t)offset, (off_t)len);
	return put_in_progress(sqe, request);
}

// 0 or -errno. Kernels before 6.1 do not know the flags that save most.
static int open_ring(struct io_uring *ring, unsigned entries)
{
	struct io_uring_params fast = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
						IORING_SETUP_DEFER_TASKRUN |
						IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED,
				       .cq_entries = entries * CQ_FACTOR};
	struct io_uring_params plain = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
					.cq_entries = entries * CQ_FACTOR};
	int error = io_uring_queue_init_params(entries, ring, &fast);

	return error == -EINVAL ? io_uring_queue_init_params(entries, ring, &plain) : error;
}

// From here on the ring does these four things to the disk, or two if it is read-only, and nothing else to anything.
static int restrict_ring(struct io_uring *ring, bool read_only)
{
	struct io_uring_restriction allowed[] = {
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE},
	};
	const unsigned writing = 2; // the last ones
	int error = io_uring_register_restrictions(
		ring, allowed, (unsigned)ARRAY_SIZE(allowed) - (read_only ? writing : 0));

	return error ? error : io_uring_enable_rings(ring);
}

// With DEFER_TASKRUN the ring's own fd does not wake a poller; a registered eventfd does.
static int prepare_ring(struct uring *uring, const struct blk_worker *worker)
{
	const int files[] = {
		[FIXED_FILE] = worker->blk->medium.fd, [FENCE] = worker->blk->fence_fd};
	int error;

	uring->event_fd = sys_int(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (uring->event_fd < 0)
		return uring->event_fd;
	error = io_uring_register_eventfd(&uring->ring, uring->event_fd);
	if (!error)
		error = io_uring_register_files(&uring->ring, files, ARRAY_SIZE(files));
	if (!error)
		error = restrict_ring(&uring->ring, worker->blk->read_only);
	if (!error)
		error = worker_watch(worker->worker, uring->event_fd, EPOLLIN | EPOLLET,
				     &uring->watch);
	if (error)
		close_fd(&uring->event_fd);
	return error;
}

static int uring_start(struct blk_worker *worker)
{
	struct uring *uring = calloc(1, sizeof(*uring));
	int error;

	if (!uring)
		return -ENOMEM;
	uring->watch.ready = completions_ready;
	uring->worker = worker->worker;
	deferred_init(&uring->submit_again, submit_again);
	error = open_ring(&uring->ring, RING_ENTRIES);
	if (!error) {
		error = prepare_ring(uring, worker);
		if (error)
			io_uring_queue_exit(&uring->ring);
	}
	if (error) {
		free(uring);
		return error;
	}
	worker->engine_data = uring;
	device_own_fd(&worker->blk->device, uring->ring.ring_fd);
	return 0;
}

static void uring_stop(struct blk_worker *worker)
{
	struct uring *uring = worker->engine_data;

	deferred_cancel(&uring->submit_again);
	worker_unwatch(worker->worker, uring->event_fd, &uring->watch);
	io_uring_queue_exit(&uring->ring);
	close_fd(&uring->event_fd);
	free(uring);
}

static void uring_wait(struct blk_worker *worker)
{
	struct uring *uring = worker->engine_data;

	io_uring_submit_and_wait(&uring->ring, 1);
	reap(uring);
}

const struct blk_engine blk_engine_uring = {
	.name = "uring",
	.worker_fds = 2, // the ring and its eventfd
	.start = uring_start,
	.stop = uring_stop,
	.move = uring_move,
	.flush = uring_flush,
	.allocate = uring_allocate,
	.submit = uring_submit,
	.wait = uring_wait,
};
