// SPDX-License-Identifier: Apache-2.0
// A ring of bytes addressed by stream positions.
#include "applets/console/replay.h"

#include "core/sys.h"

int replay_init(struct replay *replay, size_t size)
{
	*replay = (struct replay){.bytes = sys_reserve(size), .size = size};
	return replay->bytes ? 0 : -ENOMEM;
}

void replay_fini(struct replay *replay)
{
	sys_release(replay->bytes, replay->size);
	replay->bytes = NULL;
}

u8 *replay_space(const struct replay *replay, size_t *len)
{
	size_t offset = (size_t)(replay->end % replay->size);

	*len = replay->size - offset;
	return replay->bytes + offset;
}

void replay_commit(struct replay *replay, size_t len)
{
	replay->end += len;
}

u64 replay_begin(const struct replay *replay)
{
	return replay->end - min_u64(replay->end, replay->size);
}

const u8 *replay_peek(const struct replay *replay, u64 position, size_t *len)
{
	size_t offset = (size_t)(position % replay->size);

	assert(position >= replay_begin(replay) && position <= replay->end);
	*len = min_size((size_t)(replay->end - position), replay->size - offset);
	return replay->bytes + offset;
}
