// SPDX-License-Identifier: Apache-2.0
// Where the random bytes come from: the host's kernel, or whatever can be opened and read. Never waits for a peer.
#pragma once

#include "core/base.h"

struct source {
	const char *name; // for messages: the option's value
	int fd;		  // -1: getrandom(2)
	bool polled;	  // somebody watches the fd, so need not try again by the clock
	bool failing;	  // it is at its end or in error, which was logged
	u64 retry_ns;	  // how long to wait after the next failure
	u8 *bytes;	  // what was read and not yet handed out: [first, first + ready)
	size_t size, first, ready;
};

// What is wrong with the name itself: 0 or -EINVAL, logged.
must_check int source_check(const char *name);

// Opens "getrandom", a path, or "fd:N", which is taken over; reads up to `size` bytes at once. The name is kept.
// 0 or -errno, logged. Control thread, before the lockdown.
must_check int source_open(struct source *source, const char *name, size_t size);
void source_close(struct source *source);

// The N of "fd:N", or -EINVAL if the name is none.
int source_fd_number(const char *name);

// Sees to it that bytes are ready, if there are any now. Answers how many; if 0, *retry_ns is how long to wait before
// the next call, 0 if the fd's watch will tell.
size_t source_fill(struct source *source, u64 *retry_ns);

// The ready bytes that go next, and the word that the first `len` of them went.
static inline const u8 *source_bytes(const struct source *source)
{
	return source->bytes + source->first;
}
void source_take(struct source *source, size_t len);
