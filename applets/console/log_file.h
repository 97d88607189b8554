// SPDX-License-Identifier: Apache-2.0
// A regular file that a port's output is appended to, with the time in front of each line if wanted. If it may have so many bytes
// and no more, it becomes FILE.1 when it is full, what was FILE.1 becomes FILE.2, …, and a new one is begun: by the assistant, since
// that needs names.
#pragma once

#include "core/base.h"
#include "seccomp/rule.h"

enum { LOG_FILE_MOST_KEPT = 99 };

struct log_file_options {
	const char *path;
	bool timestamp;
	u64 max;       // bytes; 0: no limit
	unsigned keep; // older files, 1 … LOG_FILE_MOST_KEPT
};

struct log_file {
	int fd; // -1: none; owned
	struct log_file_options options;
	u64 len;	   // bytes in it
	u8 *stamped;	   // where lines get their stamps
	bool line_goes_on; // the last byte was no newline
	bool failing;	   // the last write did; logged once
	u64 try_again_ns;  // no new file is asked for before
	// of a file with a limit
	int assistant_fd;
	u8 rotate_command;
};

// Opens or makes the file to append to. 0 or -errno, logged. Before the lockdown.
must_check int log_file_open(struct log_file *log, const struct log_file_options *options);
void log_file_close(struct log_file *log);

// True if both are open, and the same file.
bool log_file_is(const struct log_file *log, const struct log_file *other);

// Answers how many bytes it has moved, with those of stamps. Bytes that cannot be written (the disk is full) are lost, so
// that the guest goes on.
size_t log_file_write(struct log_file *log, const u8 *bytes, size_t len);

// ---- for the assistant ----

// Renames the files and begins a new one: its fd, the caller's from here on, or -errno, nothing logged.
must_check int log_file_rotate(const struct log_file_options *options);
enum { LOG_FILE_ROTATE_RULES = 3 };
extern const struct syscall_rule log_file_rotate_rules[LOG_FILE_ROTATE_RULES];
