// SPDX-License-Identifier: Apache-2.0
// A small process beside ours that does what the lockdown takes from us: it calls peers, and when we end, however we end,
// restores the terminal and removes sockets and links. It reads nothing but single bytes that we send.
#pragma once

#include "core/base.h"
#include "seccomp/rule.h"

struct applet_arguments;
struct console;

// Forks it if the console needs it; console->assistant_fd is where it listens. 0 or -errno, logged. In `open`, when all is open.
must_check int assistant_start(struct console *console, const struct applet_arguments *arguments);

// Waits until it is locked in: 0, or -EPIPE, logged, if it has ended instead.
must_check int assistant_wait(const struct console *console);

// A socket on its way to the port's peer, which the caller owns; or -errno.
must_check int assistant_call(const struct console *console, unsigned port);

// Has it restore and remove all, and end. Returns when it has.
void assistant_end(struct console *console);
