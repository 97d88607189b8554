// SPDX-License-Identifier: Apache-2.0
// Prints vhost-user messages in words, as they come in and go out, for who debugs the other end (--log-level=trace).
#pragma once

#include "core/message.h"

enum trace_kind {
	TRACE_REQUEST,
	TRACE_REPLY,	   // of ours
	TRACE_OWN_REQUEST, // to the front-end
};

// Prints a message of header->size bytes of payload if the log shows that level; else costs a compare. A payload
// that is not what its request should have is shown as bytes. Control thread.
void trace_message(enum trace_kind kind, const struct vhost_user_header *header,
		   const void *payload, const int *fds, unsigned fd_count);
