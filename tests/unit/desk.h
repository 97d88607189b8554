// SPDX-License-Identifier: Apache-2.0
// A front-end and the session that serves it, both on this thread: each message is sent, handled, and its reply
// looked at, one after the other. Rings run on real workers.
#pragma once

#include "core/requests.h"
#include "tests/frontend/frontend.h"
#include "tests/unit/echo.h"

enum { DESK_RINGS = 3, DESK_WORKERS = 2, DESK_SIZE = 16 };

struct desk {
	struct echo echo;
	struct worker workers[DESK_WORKERS];
	struct session session;
	struct connection connection;
	struct frontend frontend;
	struct vm_memory vm; // two regions
	struct vm_ring rings[DESK_RINGS];
	struct echo_slot slots[DESK_RINGS];
	unsigned fds; // open before
};

// What a front-end has to say before a ring runs.
enum desk_word {
	DESK_FEATURES,
	DESK_MEMORY,
	DESK_NUM,
	DESK_ADDR,
	DESK_BASE,
	DESK_KICK,
	DESK_CALL,
	DESK_ERR,
	DESK_ENABLE,
	DESK_WORDS,
};

#define DESK_RING_FEATURES \
	(VU_BIT(VM_F_VERSION_1) | VU_BIT(VM_F_EVENT_IDX) | VU_BIT(VM_F_PROTOCOL_FEATURES))

void desk_open(struct desk *desk, enum echo_order order);
// 0 if all fds that were ever received are closed and no operation ran on the wrong thread.
int desk_close(struct desk *desk);

// Sends a message with exactly these flags and handles it: what requests_handle answers.
int desk_send(struct desk *desk, u32 request, u32 flags, const void *payload, size_t len,
	      const int *fds, size_t fd_count);
int desk_send_u64(struct desk *desk, u32 request, u32 flags, u64 payload);
int desk_send_state(struct desk *desk, u32 request, u32 index, u32 num);

// The reply that is there must be to this request and of this value; afterwards there is none left.
void desk_expect_u64(struct desk *desk, u32 request, u64 value);
// Its payload is copied to `payload` of `len` bytes, which must be its length.
void desk_expect(struct desk *desk, u32 request, void *payload, size_t len);
void desk_expect_no_reply(struct desk *desk);

// Accepts all protocol features that are offered.
void desk_accept_protocol_features(struct desk *desk);

// The message for a word of one ring (of all, for features and memory): what requests_handle answers.
int desk_say(struct desk *desk, enum desk_word word, unsigned ring);
// All words, in the order of the enum.
void desk_say_all(struct desk *desk, unsigned ring);

// True if the ring answers.
bool desk_ring_works(struct desk *desk, unsigned ring);
