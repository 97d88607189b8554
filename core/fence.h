// SPDX-License-Identifier: Apache-2.0
// Between a process that is killed and its successor: what the one has handed to the kernel (io_uring) may still be read or
// written after its end, so the other waits for that. Whoever serves a socket holds a lock on the folder of the socket, at the
// socket's name; the lock lives as long as an open file that an io_uring has among its own, and that until its last request is over.
#pragma once

#include "core/base.h"

// Waits until nobody holds the fence of the socket at `path`, where we are going to listen or not, then holds it: *fd is to be registered with each io_uring, the
// caller's to close. NULL: a socket without a name, which has no successor; then, and if its folder cannot be opened, *fd is -1. 0, or
// -EBUSY, logged, if that takes too long; -EADDRINUSE, logged, if a process that started at the same time serves the socket. Before
// the lockdown.
must_check int fence_pass(const char *path, bool listens, int *fd);

// Waits until nobody holds a fence of a socket in this folder. 0, or -EBUSY if that takes too long.
must_check int fence_await_folder(int folder_fd);
