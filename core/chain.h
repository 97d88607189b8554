// SPDX-License-Identifier: Apache-2.0
// One descriptor chain, validated and translated: what a device reads its request from and writes its
// answer to. Buffers are the guest's own memory, which the guest may change at any time: copy with
// chain_read what will be checked; hand the rest to the kernel as iovecs.
// A chain belongs to the device from vring_pop to vring_push, on the ring's worker.
#pragma once

#include <string.h>
#include <sys/uio.h>

#include "core/base.h"
#include "core/memory_fault.h"

enum {
	CHAIN_INLINE_SEGMENTS =
		6, // chains of up to this many segments need no memory from the pool
	CHAIN_MAX_SEGMENTS = 1280, // of one chain, after splitting at region borders
	CHAIN_LARGE_COUNT = 64,	   // chains in flight in one ring with more than the inline ones
	CHAIN_MAX_LEN_LOG2 = 32,   // VIRTIO 1.3, 2.7.5: at most 2^32 bytes in one chain
};

// Consecutive buffers; reading or writing moves the beginning forward.
struct chain_part {
	struct iovec *segments; // the first that is not used up
	unsigned count;
	u64 len;       // bytes left
	size_t offset; // bytes of the first segment that are used up
};

struct chain {
	struct chain_part readable; // device-readable (driver to device)
	struct chain_part writable; // device-writable; its segments follow the readable ones
	u16 head;    // names the chain in its ring: its first descriptor, or its buffer id
	u16 descs;   // of a packed ring that it takes up
	u16 entry;   // of the region that tracks chains in flight (core/inflight.h)
	u32 written; // of a chain that waits for its turn to be answered
	bool in_flight, done;
	s32 large; // which large array holds the segments; -1: the inline one
	struct iovec *segments;
	unsigned segment_count, readable_count; // as the driver made it
	u8 *last_byte;				// of the writable part, if the device has taken it
	struct iovec inline_segments[CHAIN_INLINE_SEGMENTS];
};

// Copies up to `len` bytes from the readable (to the writable) part and moves past them; answers how
// many there were. A read answers 0 if guest memory has gone: what was copied is not the guest's word.
size_t chain_read_parts(struct chain *chain, void *buffer, size_t len);
// The same of the readable part, which stays as it is.
size_t chain_peek(const struct chain *chain, void *buffer, size_t len);
size_t chain_write(struct chain *chain, const void *buffer, size_t len);

// Moves a part's beginning forward by len bytes, which it must have.
void chain_skip(struct chain_part *part, size_t len);

static inline size_t chain_read(struct chain *chain, void *buffer, size_t len)
{
	const struct iovec *first = chain->readable.segments;

	if (unlikely(chain->readable.count == 0 || first->iov_len < len))
		return chain_read_parts(chain, buffer, len);
	memcpy(buffer, first->iov_base, len); // a few instructions where len is a constant
	chain_skip(&chain->readable, len);
	return unlikely(memory_fault_happened()) ? 0 : len;
}

// Bytes that are left of each part.
static inline u64 chain_readable_len(const struct chain *chain)
{
	return chain->readable.len;
}

static inline u64 chain_writable_len(const struct chain *chain)
{
	return chain->writable.len;
}

// The rest of each part as iovecs, for zero copy; valid until vring_push.
static inline const struct iovec *chain_readable_iov(const struct chain *chain, unsigned *count)
{
	*count = chain->readable.count;
	return chain->readable.segments;
}

static inline const struct iovec *chain_writable_iov(const struct chain *chain, unsigned *count)
{
	*count = chain->writable.count;
	return chain->writable.segments;
}

// Cuts the last byte off the writable part, where some devices answer their status. NULL if there is none.
u8 *chain_take_last_byte(struct chain *chain);

// ---- for the rings ----

// All chains of one ring, one for each possible head, reserved once.
struct chain_pool {
	struct chain *chains;
	struct iovec *large_segments; // CHAIN_LARGE_COUNT arrays of CHAIN_MAX_SEGMENTS
	s32 large_free[CHAIN_LARGE_COUNT];
	unsigned large_free_count;
	u8 *requests;
	size_t request_size;
	unsigned max_size;
	unsigned in_flight;
};

// For rings of up to max_size entries, with request_size bytes of device memory for each chain. 0 or -ENOMEM.
must_check int chain_pool_init(struct chain_pool *pool, unsigned max_size, size_t request_size);
void chain_pool_fini(struct chain_pool *pool);

// Makes the head's chain empty and ready for chain_add. NULL if that head is in flight. head < max_size.
struct chain *chain_begin(struct chain_pool *pool, u16 head);

// Adds a buffer of guest memory, split where it crosses regions. 0, -EFAULT (not mapped, or the chain is
// too long in bytes), -E2BIG (too many segments), -EPROTO (readable after writable), -ENOBUFS (no large
// array is free now). *hint as in guest_memory_find.
must_check int chain_add(struct chain_pool *pool, struct chain *chain,
			 const struct guest_memory *memory, unsigned *hint, struct guest_addr addr,
			 u32 len, bool writable);

// From chain_begin on until chain_release the pool keeps the chain; chain_submit counts it as in flight.
void chain_submit(struct chain_pool *pool, struct chain *chain);
void chain_release(struct chain_pool *pool, struct chain *chain);

// All of the writable part as it was at the beginning, but for the last byte if that was taken. What is left of the part is
// not valid any more.
const struct iovec *chain_rewind_writable(struct chain *chain, unsigned *count);

// The device's own memory for this chain, request_size bytes, with what the head's last chain left in it.
static inline void *chain_pool_request(const struct chain_pool *pool, const struct chain *chain)
{
	return pool->requests + chain->head * pool->request_size;
}
