// SPDX-License-Identifier: Apache-2.0
// A regular file that a port's output is appended to, with the time in front of each line if wanted.
#pragma once

#include "core/base.h"

struct log_file {
	int fd; // -1: none; owned
	const char *path;
	bool timestamp;
	bool line_goes_on; // the last byte was no newline
	bool failing;	   // the last write did; logged once
};

// Opens or makes the file to append to. 0 or -errno, logged.
must_check int log_file_open(struct log_file *log, const char *path, bool timestamp);
void log_file_close(struct log_file *log);

// Bytes that cannot be written (the disk is full) are lost, so that the guest goes on.
void log_file_write(struct log_file *log, const u8 *bytes, size_t len);
