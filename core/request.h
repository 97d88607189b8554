// SPDX-License-Identifier: Apache-2.0
// What a row of the request table says, and how a handler answers.
#pragma once

#include "core/connection.h"
#include "core/session.h"

// Where a message carries the index of its ring.
enum request_index {
	INDEX_NONE,
	INDEX_STATE, // the payload's first u32
	INDEX_FD,    // bits 0-7 of the u64 that comes with an fd; bit 8 says that none comes
};

// What must hold of the rings while the handler runs. Paused rings go on afterwards.
enum request_rings {
	RINGS_ANY,
	RING_STOPPED, // the message's ring must not run; else the request fails
	RING_PAUSED,  // the message's ring does not run
	RINGS_ALL_PAUSED,
};

// A handler fills in its answer, if the request has one of its own.
struct reply {
	bool wanted;
	size_t len; // bytes of payload
	int fd;	    // goes with it, and stays whose it is; -1: none
	union vhost_user_payload payload;
};

struct request {
	const char *name;
	// 0, or -errno with the reason logged and nothing changed.
	int (*handle)(struct session *session, struct message *message, struct reply *reply);
	u16 payload_min, payload_max; // bytes
	u8 fds_min, fds_max;
	enum request_index index;
	enum request_rings rings;
	u64 needs; // protocol feature bits
};

static inline int reply_u64(struct reply *reply, u64 value)
{
	reply->wanted = true;
	reply->len = sizeof(value);
	reply->payload.u64 = value;
	return 0;
}
