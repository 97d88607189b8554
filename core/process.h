// SPDX-License-Identifier: Apache-2.0
// What a process has inherited over exec is not to be trusted: here it is put right, once, before anything else is done.
#pragma once

#include "core/base.h"

// First of all in main: whatever we were started with, 0 to 2 are open, no signal is blocked, each has its usual disposition, no
// timer runs, the files that we make have the permissions that we say, the environment is gone, and as many fds may be open as we
// are allowed. 0 or -errno; there may be nowhere to say it.
must_check int process_begin(void);

// The part of it that is about signals, for a test. SIGPIPE and SIGXFSZ are ignored: what cannot be written is an error, and only
// that. SIGHUP stays ignored if it was, since nohup(1) asks for it that way.
void process_reset_signals(void);

// True if we were started without this one of 0 to 2: what is there now is always empty and takes nothing.
must_check bool process_was_closed(int fd);

// Nothing is to be logged into this file, nor read from it as standard input: whichever of 0 to 2 it is becomes an empty one. The
// fd itself, or, if it was one of these, a new one for it, the caller's; or -errno. Before the lockdown.
must_check int process_take_apart(int fd);

// How many fds there may be at most, if `more` come to those that are open; or -EMFILE, logged with what to do, if that is more
// than we are allowed.
must_check int process_fd_limit(unsigned more);
