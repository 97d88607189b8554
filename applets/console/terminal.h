// SPDX-License-Identifier: Apache-2.0
// The terminal that we were started on: raw mode, the escape key, the size. The assistant undoes the raw mode.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include "core/base.h"

struct terminal {
	int fd; // -1: none; not owned
	struct termios before;
	pid_t pid;    // ours
	bool escaped; // the last byte was Ctrl-]
};

// Notes what the terminal's mode is. 0 or -errno, logged.
must_check int terminal_open(struct terminal *terminal, int fd);
must_check int terminal_make_raw(const struct terminal *terminal);
void terminal_restore(const struct terminal *terminal);

// Takes what was typed: "Ctrl-] q" ends the process as SIGTERM does, "Ctrl-] ?" prints help, "Ctrl-] Ctrl-]" is one
// Ctrl-]. Answers how many bytes are left for the guest; `kept` has room for len + 1.
size_t terminal_type(struct terminal *terminal, const u8 *typed, size_t len, u8 *kept);

// 0 or -errno, nothing logged.
must_check int terminal_size(int fd, u16 *cols, u16 *rows);
