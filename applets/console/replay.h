// SPDX-License-Identifier: Apache-2.0
// The last bytes of a stream, in a ring of memory: what waits for a reader, and what a late one gets to see.
// Bytes are named by their position in the whole stream, which never wraps.
#pragma once

#include "core/base.h"

struct replay {
	u8 *bytes;
	size_t size;
	u64 end; // bytes ever put in
};

// Reserves `size` bytes, which cost nothing until used. 0 or -ENOMEM.
must_check int replay_init(struct replay *replay, size_t size);
void replay_fini(struct replay *replay);

// Where the next bytes go, over the oldest ones: *len of them at once, never 0.
u8 *replay_space(const struct replay *replay, size_t *len);
// `len` bytes were put there.
void replay_commit(struct replay *replay, size_t len);

// The position of the oldest byte that is still there.
u64 replay_begin(const struct replay *replay);

// The bytes from `position` on, which must still be there: *len of them at once; 0 only if there are no more.
const u8 *replay_peek(const struct replay *replay, u64 position, size_t *len);
