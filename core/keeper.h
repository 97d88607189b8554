// SPDX-License-Identifier: Apache-2.0
// A small process beside ours that does for the listener what the lockdown takes from us: it removes our socket file when we end,
// however we end, and calls the front-end. It reads nothing that a front-end sends, and ends when we do.
#pragma once

#include "core/listener.h"
#include "seccomp/rule.h"

// Forks, and makes the listener use the keeper from here on. `lock` runs in the new process before it serves, and takes all system
// calls from it but these: 0, or -errno, after which the socket file is removed and the keeper ends. Control thread, before any
// other exists. 0 or -errno, logged.
must_check int keeper_start(struct listener *listener,
			    int (*lock)(void *context, const struct syscall_rule *rules,
					size_t count),
			    void *context);

// The system calls that the keeper makes: of one whose listener listens, and of one whose listener calls.
extern const struct syscall_rule keeper_listening_rules[], keeper_calling_rules[];
