// SPDX-License-Identifier: Apache-2.0
//
// The io_uring of blk's worker, as its engine has made it: which operations, flags and registrations it lets pass.

#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "applets/blk/blk.h"
#include "core/sys.h"
#include "tests/sandbox/probe.h"

enum {
	REGISTRATIONS = 21, // that all kernels have on which the ring is restricted like this
	OPCODES = 256,
	FLAGS = 8,
};

static unsigned known_opcodes;

void learn_ring_opcodes(void)
{
	static u8 memory[sizeof(struct io_uring_probe) + OPCODES * sizeof(struct io_uring_probe_op)]
		__attribute__((aligned(8)));
	struct io_uring_probe *probe = (struct io_uring_probe *)(void *)memory;
	struct io_uring ring;
	int error = io_uring_queue_init(1, &ring, 0);

	if (!error)
		error = io_uring_register_probe(&ring, probe, OPCODES);
	assert(!error);
	io_uring_queue_exit(&ring);
	known_opcodes = probe->last_op + 1U;
}

static int submit(struct io_uring *ring, u8 opcode, u8 flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int result;

	assert(sqe);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->flags = flags;
	assert(io_uring_submit_and_wait(ring, 1) == 1);
	assert(io_uring_wait_cqe(ring, &cqe) == 0);
	result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return result;
}

/* The kernel refuses what is restricted with EACCES, and what it does not know with EINVAL. */
static unsigned try_opcodes(struct io_uring *ring, bool read_only)
{
	static const u8 allowed[] = {IORING_OP_READV, IORING_OP_FSYNC, IORING_OP_WRITEV,
				     IORING_OP_FALLOCATE};
	size_t allowed_count = read_only ? 2 : sizeof(allowed);
	unsigned failures = 0;

	for (unsigned opcode = 0; opcode < OPCODES; opcode++) {
		int result = submit(ring, (u8)opcode, IOSQE_FIXED_FILE);
		bool passes = result != -EACCES && (opcode < known_opcodes || result != -EINVAL);

		if (passes)
			printf("ring opcode %u passes\n", opcode);
		if (passes != !!memchr(allowed, (int)opcode, allowed_count))
			failures++;
	}
	return failures;
}

static unsigned try_flags(struct io_uring *ring)
{
	unsigned failures = 0;

	for (unsigned bit = 0; bit < FLAGS; bit++) {
		u8 flags =
			(u8)(BIT64(bit) ^ (BIT64(bit) == IOSQE_FIXED_FILE ? 0 : IOSQE_FIXED_FILE));
		int result = submit(ring, IORING_OP_READV, flags);
		bool passes = result != -EACCES && result != -EINVAL;

		if (passes)
			printf("ring flags %#x pass\n", flags);
		if (passes != (flags == IOSQE_FIXED_FILE))
			failures++;
	}
	if (submit(ring, IORING_OP_READV, 0) != -EACCES) {
		printf("ring flags 0 pass: any fd can be used\n");
		failures++;
	}
	return failures;
}

static unsigned try_registrations(const struct io_uring *ring)
{
	unsigned failures = 0;

	for (int what = 0; what < REGISTRATIONS; what++) {
		int result = sys_int(syscall(SYS_io_uring_register, ring->ring_fd, what, NULL, 0));

		if (result == -EACCES)
			continue;
		printf("ring registration %d answers %d\n", what, result);
		failures++;
	}
	return failures;
}

unsigned try_ring(const struct server *server)
{
	const struct blk_worker *worker = server->workers[0].device_data;
	struct io_uring *ring = worker->engine_data; // the first member of the engine's own struct

	assert(worker->engine == &blk_engine_uring);
	return try_opcodes(ring, worker->blk->read_only) + try_flags(ring) +
	       try_registrations(ring);
}
