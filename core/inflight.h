// SPDX-License-Identifier: Apache-2.0
// The region in which a front-end keeps for us which chains are in flight, so that the process that follows a killed one
// answers them (vhost-user.rst, "Inflight I/O tracking"). One ring's part of it.
//
// The front-end may write to it at any time. While the ring runs nothing is read from the region: all that matters is kept in
// private memory too. Recovery copies each field once and checks it.
#pragma once

#include "core/virtio_abi.h"

// A chain that the process before us has taken and not answered.
struct inflight_chain {
	u64 counter; // in which order it was taken
	u16 entry;   // split: its head; packed: its first entry of the region
	u16 last;    // packed: its last entry
};

struct inflight {
	void *region; // NULL: chains in flight are not tracked
	u64 len;      // bytes
	u16 num;      // entries of the ring that the region was last used for
	bool packed;
	bool fresh;	   // the region has been given to us and not been looked at since
	const char *doubt; // what in the region cannot be believed, and its value
	u64 doubtful;
	u16 other_num; // entries of another ring, for which the region was used before; 0: none
	u64 counter;
	u16 batch_count; // chains answered that the driver has not been told of
	u16 batch_head;	 // split: the last of them

	// private memory, for rings of up to max_size entries
	unsigned max_size;
	u16 *batch; // their entries
	struct inflight_chain *left;
	unsigned left_count, left_next; // the next of them to take up again
	u16 *next;     // packed: links of the list of free entries, and of each chain
	u16 *last;     // packed: of a chain by its first entry
	u16 free_head; // packed; num: none is free
	u16 used;      // packed: where the driver has last been told of chains
	bool used_wrap;
};

enum {
	INFLIGHT_HEAD_LEN = 16
}; // bytes of a ring's part that, all zero, make it one that has never been used

// Bytes of a ring's part that hold a ring of `num` entries, whatever its layout.
u64 inflight_len(unsigned num);

// The bytes that a ring of that layout uses, whoever has made the region.
u64 inflight_least_len(unsigned num, bool packed);

// Reserves memory for rings of up to max_size entries. 0 or -ENOMEM.
must_check int inflight_init(struct inflight *inflight, unsigned max_size);
void inflight_fini(struct inflight *inflight);

// What the region says counts no more, as it cannot be believed or the driver begins anew: the ring that is placed next finds it
// as if it had never been used.
void inflight_forget(struct inflight *inflight);

// The ring's part of the region, which stays the caller's; NULL: none. While the ring does not run.
void inflight_attach(struct inflight *inflight, void *region, u64 len);

// The split layout. Prepares for a ring whose used index is used_idx: finds what was left in flight if the region comes from
// another process; *recovered tells whether it does. The region is long enough. -EPROTO and ->doubt set if it cannot be believed.
must_check int inflight_split_start(struct inflight *inflight, u16 num, u16 used_idx,
				    bool *recovered);
// A chain is taken; is answered; all that were answered have been told to the driver, whose used index is used_idx now.
void inflight_split_take(struct inflight *inflight, u16 head);
void inflight_split_done(struct inflight *inflight, u16 head);
void inflight_split_commit(struct inflight *inflight, u16 used_idx);

// The packed layout. As above; *used and *wrap are the place of the next used descriptor, which a region from another process
// knows better; *descs is how many descriptors are in flight.
must_check int inflight_packed_start(struct inflight *inflight, u16 num,
				     const struct pvirtq_desc *ring, u16 *used, bool *wrap,
				     u16 *descs, bool *recovered);
// A chain is taken: its entry. No more than num descriptors are in flight with its `count`.
u16 inflight_packed_take(struct inflight *inflight, const struct pvirtq_desc *descs, u16 count);
void inflight_packed_done(struct inflight *inflight, u16 entry);
// Before and after the driver is told of all that were answered.
void inflight_packed_link(struct inflight *inflight, u16 used, bool wrap);
void inflight_packed_commit(struct inflight *inflight);
// Copies the descriptors of a chain that was left to descs, which has room for `num`: their count, at least 1.
u16 inflight_packed_load(const struct inflight *inflight, u16 entry, struct pvirtq_desc *descs);

// The next chain that was left, or NULL.
static inline const struct inflight_chain *inflight_next_left(const struct inflight *inflight)
{
	return inflight->left_next < inflight->left_count ? &inflight->left[inflight->left_next]
							  : NULL;
}
