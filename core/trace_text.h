// SPDX-License-Identifier: Apache-2.0
// The text of a traced message: a line that grows and is printed, and the ways to spell what is in a message.
#pragma once

#include "core/message.h"

enum {
	TRACE_LINE_LEN = 768, // of what the log has room for
	TRACE_FD_LEN = 80,    // most that one fd takes of it
	TRACE_NAME_LEN = 24,
	TRACE_MOST_BYTES = 64, // of a payload that is shown as it is
};

// A message, and the line in the making.
struct trace {
	char text[TRACE_LINE_LEN];
	size_t len, head_len; // each line of a message begins with the head
	union vhost_user_payload payload;
	u32 size;	// of the payload
	const int *fds; // those not yet shown
	unsigned fd_count;
};

printf_like(2, 3) void trace_add(struct trace *trace, const char *format, ...);

// Prints the line; the next one begins with its head.
void trace_end_line(struct trace *trace);

void trace_add_bytes(struct trace *trace, const u8 *bytes, size_t len);

// In hex if it is so large that it must be an address, a size or bits.
void trace_add_number(struct trace *trace, u64 value);

// A number, the names of its bits, and those that have none together at the end.
void trace_add_bits(struct trace *trace, u64 bits, const char (*names)[TRACE_NAME_LEN],
		    unsigned count);

// What kind of file the next fd is, as far as fstat(2) tells.
void trace_add_fd(struct trace *trace);
