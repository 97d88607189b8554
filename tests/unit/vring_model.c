// SPDX-License-Identifier: Apache-2.0
// The rules of rings, one after the other, in the order in which a device meets them.
#include "tests/unit/vring_model.h"

#include <endian.h>
#include <string.h>

// A table of descriptors and how many of its entries a chain may visit.
struct table {
	const struct vm_desc *entries;
	unsigned len;
};

// ---- memory ----

// How many bytes from addr on are in one region, and where they are here; 0: none.
static uint64_t in_region(const struct vm_memory *memory, uint64_t addr, uint8_t **host)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct vm_region *region = &memory->regions[i];

		if (addr < region->wire.guest_addr ||
		    addr - region->wire.guest_addr >= region->wire.size)
			continue;
		*host = region->host + (addr - region->wire.guest_addr);
		return region->wire.size - (addr - region->wire.guest_addr);
	}
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

bool model_read(const struct vm_memory *memory, uint64_t addr, void *bytes, uint64_t len)
{
	uint8_t *to = bytes, *host;

	while (len > 0) {
		uint64_t part = least(in_region(memory, addr, &host), len);

		if (part == 0)
			return false;
		memcpy(to, host, part);
		to += part;
		addr += part;
		len -= part;
	}
	return true;
}

// ---- buffers ----

static bool add_segment(struct model_chain *chain, bool writable, uint64_t addr, uint64_t len)
{
	struct model_segment segment = {.addr = addr, .len = len};

	if (chain->readable_count + chain->writable_count == MODEL_MAX_SEGMENTS)
		return false;
	if (writable)
		chain->writable[chain->writable_count++] = segment;
	else
		chain->readable[chain->readable_count++] = segment;
	return true;
}

enum model_verdict model_add_buffer(const struct vm_memory *memory, struct model_chain *chain,
				    uint64_t addr, uint32_t len, bool writable)
{
	uint64_t left = len;
	uint8_t *host;

	if (len == 0) // V21
		return MODEL_TAKEN;
	if (!writable && chain->writable_count > 0) // V23; 2.7.4.2
		return MODEL_BROKEN;
	chain->len += len;
	if (chain->len > UINT64_C(1) << 32) // V22; 2.7.5
		return MODEL_REFUSED;
	while (left > 0) {
		uint64_t part = least(in_region(memory, addr, &host), left);

		if (part == 0) // V18, V19
			return MODEL_REFUSED;
		if (!add_segment(chain, writable, addr, part)) // V32
			return MODEL_REFUSED;
		addr += part;
		left -= part;
	}
	return MODEL_TAKEN;
}

// ---- the split ring ----

static enum model_verdict walk(const struct vring_model *model, struct table table, unsigned first,
			       bool is_indirect, struct model_chain *chain);

// 2.7.5.3 "Indirect Descriptors"
static enum model_verdict walk_indirect(const struct vring_model *model, const struct vm_desc *desc,
					struct model_chain *chain)
{
	static struct vm_desc entries[VM_RING_MAX];
	uint32_t len = le32toh(desc->len);
	unsigned most = model->ring->size > MODEL_MIN_TABLE ? model->ring->size : MODEL_MIN_TABLE;

	if (le16toh(desc->flags) & VM_DESC_F_NEXT) // V26
		return MODEL_BROKEN;
	if (len == 0 || len % sizeof(*entries) || len / sizeof(*entries) > most) // V28
		return MODEL_BROKEN;
	if (!model_read(model->memory, le64toh(desc->addr), entries, len)) // V29
		return MODEL_REFUSED;
	return walk(model, (struct table){entries, len / (unsigned)sizeof(*entries)}, 0, true,
		    chain);
}

static enum model_verdict walk(const struct vring_model *model, struct table table, unsigned first,
			       bool is_indirect, struct model_chain *chain)
{
	unsigned index = first;

	for (unsigned visited = 0; visited < table.len; visited++) {
		const struct vm_desc *desc = &table.entries[index];
		uint16_t flags = le16toh(desc->flags);
		enum model_verdict verdict;

		if (flags & VM_DESC_F_INDIRECT)
			return !model->indirect || is_indirect // V25, V27
				       ? MODEL_BROKEN
				       : walk_indirect(model, desc, chain);
		verdict = model_add_buffer(model->memory, chain, le64toh(desc->addr),
					   le32toh(desc->len), flags & VM_DESC_F_WRITE);
		if (verdict != MODEL_TAKEN || !(flags & VM_DESC_F_NEXT))
			return verdict;
		index = le16toh(desc->next);
		if (index >= table.len) // V15
			return MODEL_BROKEN;
	}
	return MODEL_BROKEN; // V14, V16
}

enum model_verdict vring_model_split(struct vring_model *model, struct model_chain *chain)
{
	const struct vm_ring *ring = model->ring;
	uint16_t ahead = (uint16_t)(le16toh(ring->avail->idx) - model->next);
	enum model_verdict verdict;

	chain->readable_count = chain->writable_count = 0;
	chain->len = 0;
	if (ahead == 0)
		return MODEL_EMPTY;
	if (ahead > ring->size) // V10, V11
		return MODEL_BROKEN;
	chain->head = le16toh(ring->avail->ring[model->next % ring->size]);
	if (chain->head >= ring->size || model->in_flight[chain->head]) // V12, V17
		return MODEL_BROKEN;
	verdict = walk(model, (struct table){ring->desc, ring->size}, chain->head, false, chain);
	if (verdict != MODEL_BROKEN)
		model->next++;
	model->in_flight[chain->head] = verdict == MODEL_TAKEN;
	return verdict;
}
