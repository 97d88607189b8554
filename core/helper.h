// SPDX-License-Identifier: Apache-2.0
// A small process beside ours, forked before the lockdown to do what the lockdown takes from us. We ask it by single bytes,
// which is all that it reads; no signal ends it, only our end does, however that comes.
#pragma once

#include "core/base.h"

// Forks it: there serve(context, socket) runs, with no fd but standard ones and this socket, and its return is the end. `role` is one
// word, by which ps tells it from us. The socket to ask it by, the caller's from here on, or -errno, logged. Control thread, before
// any other exists.
must_check int helper_start(const char *role, void (*serve)(void *context, int socket),
			    void *context);

// What it answers: an fd, the caller's from here on, or -errno.
must_check int helper_ask(int socket, u8 command);

// In the helper: the next command; false if there will be none, since who asks has ended.
must_check bool helper_next(int socket, u8 *command);
// In the helper: answers with an fd, or with a negative errno.
void helper_answer(int socket, int fd);
