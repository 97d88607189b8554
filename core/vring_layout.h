// SPDX-License-Identifier: Apache-2.0
// What the two layouts of a ring do, each in its own way, for what is common to them. On the worker, but for the base.
#pragma once

#include "core/vring_setup.h"

// Begins at the base that the layout says, or where the process before us was killed. -EINVAL, logged, as vring_place; -EPROTO if
// what is left in flight cannot be believed, which inflight->doubt tells.
must_check int vring_split_place(struct vring *vring, const struct vring_layout *layout);
must_check int vring_packed_place(struct vring *vring, const struct vring_layout *layout);

// Takes one chain off the ring. NULL with vring->state set if that cannot be done now; otherwise *refused tells that it
// cannot be translated and must go back.
struct chain *vring_split_take(struct vring *vring, bool *refused);
struct chain *vring_packed_take(struct vring *vring, bool *refused);

// Writes an answer, which the driver does not see yet.
void vring_split_answer(struct vring *vring, const struct chain *chain, u32 written);
void vring_packed_answer(struct vring *vring, const struct chain *chain, u32 written);

// Shows the driver all answers: true if it wants to be called.
bool vring_split_show(struct vring *vring);
bool vring_packed_show(struct vring *vring);

// Tells the driver whether to kick. The answer to `wanted` is true if more has become available meanwhile.
bool vring_split_want_kick(struct vring *vring, bool wanted);
bool vring_packed_want_kick(struct vring *vring, bool wanted);

// ---- what is common, for them ----

// Why the ring cannot start as it has been set up, said once, and the err eventfd signalled. Answers `error`.
printf_like(3, 4) must_check
	int vring_misplaced(struct vring *vring, int error, const char *format, ...);

// Tells the front-end by the err eventfd, if there is one.
void vring_signal_err(struct vring *vring);

// True if chains in flight are kept in a region. One that is too small for a ring of this size and layout is let go of, and the
// ring does without: a front-end may have asked for it before it knew the ring's size, or the process before us may have made it so.
bool vring_has_region(struct vring *vring);

// Adds a buffer to a chain. 0; -EPROTO and the ring is broken; -EFAULT or -E2BIG: this chain is refused; -ENOBUFS: later.
must_check int vring_add_buffer(struct vring *vring, struct chain *chain, struct guest_addr addr,
				u32 len, bool writable);

// Copies an indirect table whole to vring->table, before anything in it is believed; `nested` tells that it would be inside
// another, `chained` that the descriptor has a next. Its entries in *count. As vring_add_buffer.
must_check int vring_load_table(struct vring *vring, struct guest_addr addr, u32 len, bool nested,
				bool chained, u32 *count);

// The rest of taking a chain, once its buffers are known or `error` tells that they cannot be: the chain, or NULL with the
// state set and the chain free again.
struct chain *vring_taken(struct vring *vring, struct chain *chain, int error, bool *refused);

// Logs what was written to `len` bytes of the ring, if that is wanted. By the host's address, and by the offset from the used
// ring's address.
void vring_log_host(struct vring *vring, const void *host, u64 len);
void vring_log_used(struct vring *vring, u64 offset, u64 len);
