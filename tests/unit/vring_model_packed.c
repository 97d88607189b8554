// SPDX-License-Identifier: Apache-2.0
// The rules of packed rings (VIRTIO 1.3, 2.8 "Packed Virtqueues"), in the order in which a device meets them.
#include <endian.h>

#include "tests/unit/vring_model.h"

// 2.8.1 "Driver and Device Ring Wrap Counters"
static bool is_available(const struct vring_packed_model *model)
{
	uint16_t flags = le16toh(model->desc[model->next].flags);
	bool avail = flags & VM_PACKED_F_AVAIL, used = flags & VM_PACKED_F_USED;

	return avail == model->wrap && used == !model->wrap; // P1
}

// 2.8.6 "Next Flag: Descriptor Chaining": descriptors of the list that begins here; 0: it never ends.
static uint16_t list_len(const struct vring_packed_model *model)
{
	for (uint16_t len = 1; len <= model->size; len++) {
		unsigned last = (model->next + len - 1u) % model->size;

		if (!(le16toh(model->desc[last].flags) & VM_DESC_F_NEXT))
			return len;
	}
	return 0;
}

// 2.8.21 "Supplying Buffers to The Device": of free entries. Those that the driver takes for free since they are used, before it
// has been told, are free when it is.
static bool has_room(struct vring_packed_model *model, uint16_t len)
{
	unsigned taken = len;

	for (unsigned id = 0; id < model->size; id++)
		taken += model->in_flight[id];
	model->tell = taken + model->untold > model->size;
	return taken <= model->size;
}

// 2.8.7 "Indirect Flag: Scatter-Gather Support", 2.8.19 "Driver Requirements: Indirect Descriptors"
static enum model_verdict add_table(const struct vring_packed_model *model,
				    const struct vm_packed_desc *desc, struct model_chain *chain)
{
	static struct vm_packed_desc entries[VM_RING_MAX];
	unsigned most = model->size > MODEL_MIN_TABLE ? model->size : MODEL_MIN_TABLE;
	uint32_t len = le32toh(desc->len);
	enum model_verdict verdict = MODEL_TAKEN;

	if (!model->indirect || le16toh(desc->flags) & VM_DESC_F_NEXT) // P5
		return MODEL_BROKEN;
	if (len == 0 || len % sizeof(*entries) || len / sizeof(*entries) > most) // P5
		return MODEL_BROKEN;
	if (!model_read(model->memory, le64toh(desc->addr), entries, len))
		return MODEL_REFUSED;
	for (uint32_t i = 0; i < len / sizeof(*entries) && verdict == MODEL_TAKEN; i++)
		verdict = model_add_buffer(model->memory, chain, le64toh(entries[i].addr),
					   le32toh(entries[i].len),
					   le16toh(entries[i].flags) & VM_DESC_F_WRITE);
	return verdict;
}

static enum model_verdict add_list(const struct vring_packed_model *model, uint16_t len,
				   struct model_chain *chain)
{
	enum model_verdict verdict = MODEL_TAKEN;

	for (unsigned i = 0; i < len && verdict == MODEL_TAKEN; i++) {
		const struct vm_packed_desc *desc = &model->desc[(model->next + i) % model->size];
		uint16_t flags = le16toh(desc->flags);

		if (flags & VM_DESC_F_INDIRECT)
			verdict = add_table(model, desc, chain);
		else
			verdict = model_add_buffer(model->memory, chain, le64toh(desc->addr),
						   le32toh(desc->len), flags & VM_DESC_F_WRITE);
	}
	return verdict;
}

enum model_verdict vring_model_packed(struct vring_packed_model *model, struct model_chain *chain)
{
	enum model_verdict verdict;
	uint16_t len;

	chain->readable_count = chain->writable_count = 0;
	chain->len = 0;
	model->tell = false;
	if (!is_available(model))
		return MODEL_EMPTY;
	len = list_len(model);
	if (len == 0 || !has_room(model, len)) // P2, V17
		return MODEL_BROKEN;
	chain->head = le16toh(model->desc[(model->next + len - 1u) % model->size].id); // P6
	if (chain->head >= model->size || model->in_flight[chain->head] > 0)	       // P3, P4
		return MODEL_BROKEN;
	verdict = add_list(model, len, chain);
	if (verdict == MODEL_BROKEN)
		return verdict;
	model->in_flight[chain->head] = len;
	model->wrap ^= model->next + len >= model->size;
	model->next = (uint16_t)((model->next + len) % model->size);
	return verdict;
}
