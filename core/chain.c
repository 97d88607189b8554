// SPDX-License-Identifier: Apache-2.0
// Builds chains out of descriptors and copies to and from them.
#include "core/chain.h"

#include "core/sys.h"

// Bytes of the large arrays of one ring.
static const size_t large_len =
	(size_t)CHAIN_LARGE_COUNT * CHAIN_MAX_SEGMENTS * sizeof(struct iovec);

// A segment that is left behind is whole again.
static void part_advance(struct chain_part *part, size_t len)
{
	struct iovec *segment = part->segments;

	segment->iov_base = (u8 *)segment->iov_base + len;
	segment->iov_len -= len;
	part->len -= len;
	part->offset += len;
	if (segment->iov_len > 0)
		return;
	segment->iov_base = (u8 *)segment->iov_base - part->offset;
	segment->iov_len = part->offset;
	part->offset = 0;
	part->segments++;
	part->count--;
}

void chain_skip(struct chain_part *part, size_t len)
{
	while (len > 0) {
		size_t step = min_size(len, part->segments->iov_len);

		part_advance(part, step);
		len -= step;
	}
}

static size_t copy(const struct chain *chain, void *buffer, size_t len)
{
	const struct chain_part *part = &chain->readable;
	size_t done = 0;

	for (unsigned i = 0; done < len && i < part->count; i++) {
		size_t step = min_size(len - done, part->segments[i].iov_len);

		memcpy((u8 *)buffer + done, part->segments[i].iov_base, step);
		done += step;
	}
	return done;
}

size_t chain_peek(const struct chain *chain, void *buffer, size_t len)
{
	size_t done = copy(chain, buffer, len);

	return memory_fault_happened() ? 0 : done;
}

size_t chain_read_parts(struct chain *chain, void *buffer, size_t len)
{
	size_t done = copy(chain, buffer, len);

	chain_skip(&chain->readable, done);
	return memory_fault_happened() ? 0 : done;
}

size_t chain_write(struct chain *chain, const void *buffer, size_t len)
{
	struct chain_part *part = &chain->writable;
	size_t done = 0;

	while (done < len && part->count > 0) {
		size_t step = min_size(len - done, part->segments->iov_len);

		memcpy(part->segments->iov_base, (const u8 *)buffer + done, step);
		part_advance(part, step);
		done += step;
	}
	return done;
}

u8 *chain_take_last_byte(struct chain *chain)
{
	struct chain_part *part = &chain->writable;

	if (part->count == 0)
		return NULL;
	struct iovec *last = &part->segments[part->count - 1];

	last->iov_len--;
	part->len--;
	if (last->iov_len == 0)
		part->count--;
	chain->last_byte = (u8 *)last->iov_base + last->iov_len;
	return chain->last_byte;
}

int chain_pool_init(struct chain_pool *pool, unsigned max_size, size_t request_size)
{
	*pool = (struct chain_pool){.request_size = request_size, .max_size = max_size};
	pool->chains = sys_reserve(max_size * sizeof(struct chain));
	pool->requests = sys_reserve(max_size * request_size);
	pool->large_segments = sys_reserve(large_len);
	if (!pool->chains || !pool->requests || !pool->large_segments) {
		chain_pool_fini(pool);
		return -ENOMEM;
	}
	for (s32 i = 0; i < CHAIN_LARGE_COUNT; i++)
		pool->large_free[pool->large_free_count++] = i;
	return 0;
}

void chain_pool_fini(struct chain_pool *pool)
{
	sys_release(pool->chains, pool->max_size * sizeof(struct chain));
	sys_release(pool->requests, pool->max_size * pool->request_size);
	sys_release(pool->large_segments, large_len);
	*pool = (struct chain_pool){0};
}

struct chain *chain_begin(struct chain_pool *pool, u16 head)
{
	struct chain *chain = &pool->chains[head];

	if (chain->in_flight)
		return NULL;
	chain->head = head;
	chain->large = -1;
	chain->segments = chain->inline_segments;
	chain->segment_count = 0;
	chain->readable_count = 0;
	chain->last_byte = NULL;
	chain->readable = (struct chain_part){.segments = chain->segments};
	chain->writable = (struct chain_part){.segments = chain->segments};
	return chain;
}

static int move_to_large(struct chain_pool *pool, struct chain *chain)
{
	if (pool->large_free_count == 0)
		return -ENOBUFS;
	chain->large = pool->large_free[--pool->large_free_count];
	chain->segments = &pool->large_segments[(size_t)chain->large * CHAIN_MAX_SEGMENTS];
	memcpy(chain->segments, chain->inline_segments, sizeof(chain->inline_segments));
	chain->readable.segments = chain->segments;
	chain->writable.segments = chain->segments + chain->readable.count;
	return 0;
}

static int add_segment(struct chain_pool *pool, struct chain *chain, struct chain_part *part,
		       u8 *base, size_t len)
{
	unsigned count = chain->segment_count;

	if (count == CHAIN_MAX_SEGMENTS)
		return -E2BIG;
	if (chain->large < 0 && count == CHAIN_INLINE_SEGMENTS) {
		int error = move_to_large(pool, chain);

		if (error)
			return error;
	}
	chain->segments[count] = (struct iovec){.iov_base = base, .iov_len = len};
	chain->segment_count++;
	part->count++;
	part->len += len;
	if (part == &chain->readable)
		chain->writable.segments = chain->segments + ++chain->readable_count;
	return 0;
}

int chain_add(struct chain_pool *pool, struct chain *chain, const struct guest_memory *memory,
	      unsigned *hint, struct guest_addr addr, u32 len, bool writable)
{
	struct chain_part *part = writable ? &chain->writable : &chain->readable;

	// VIRTIO 1.3, 2.7.4.2 "Driver Requirements: Message Framing": readable descriptors come first; empty ones
	// do not count
	if (!writable && len > 0 && chain->writable.count > 0)
		return -EPROTO;
	if (chain->readable.len + chain->writable.len + len > BIT64(CHAIN_MAX_LEN_LOG2))
		return -EFAULT;
	while (len > 0) {
		const struct guest_region *region = guest_memory_find(memory, addr, hint);

		if (unlikely(!region))
			return -EFAULT;
		u64 offset = addr.value - region->guest.value;
		u32 step = (u32)min_u64(len, region->len - offset);
		int error = add_segment(pool, chain, part, region->host + offset, step);

		if (unlikely(error))
			return error;
		addr.value += step; // cannot wrap: no region reaches past 2^64
		len -= step;
	}
	return 0;
}

const struct iovec *chain_rewind_writable(struct chain *chain, unsigned *count)
{
	struct chain_part *part = &chain->writable;
	const struct iovec *first = chain->segments + chain->readable_count;

	if (part->offset > 0) {
		part->segments->iov_base = (u8 *)part->segments->iov_base - part->offset;
		part->segments->iov_len += part->offset;
		part->offset = 0;
	}
	*count = chain->segment_count - chain->readable_count;
	return first;
}

void chain_submit(struct chain_pool *pool, struct chain *chain)
{
	chain->in_flight = true;
	pool->in_flight++;
}

void chain_release(struct chain_pool *pool, struct chain *chain)
{
	if (chain->large >= 0)
		pool->large_free[pool->large_free_count++] = chain->large;
	chain->large = -1;
	if (chain->in_flight)
		pool->in_flight--;
	chain->in_flight = false;
}
