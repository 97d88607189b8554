// SPDX-License-Identifier: Apache-2.0
//
// The front-end's end of a vhost-user socket: sends any message, also a malformed one, and reads
// the replies.
//
// Three levels: frontend_send_bytes() puts exactly these bytes and file descriptors on the wire;
// frontend_send() adds a header; the rest are the requests of the protocol. No function blocks
// longer than timeout_ms. Errors are negative errnos: -ECONNRESET when the peer has closed the
// connection, -ETIMEDOUT, -EPROTO for a reply that breaks the protocol.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tests/frontend/wire.h"

/* A need_reply mask that asks for an answer to every request. */
#define FRONTEND_ALL_REQUESTS UINT64_MAX

struct frontend {
	int fd;
	int timeout_ms;
	/* Requests (VU_BIT(request)) that carry NEED_REPLY. */
	uint64_t need_reply;
	/* REPLY_ACK is negotiated: NEED_REPLY is answered, so the answer is waited for. */
	bool reply_ack;
	/* Accept replies in which NEED_REPLY is still set, as libvhost-user sends some. */
	bool lenient;
};

struct frontend_message {
	struct vu_header header;
	union {
		uint8_t bytes[4096];
		uint64_t u64;
		struct vu_vring_state state;
		struct vu_config config;
	} payload;
	int fds[16];
	size_t fd_count;
};

/* Connects, retrying until the socket accepts or timeout_ms are over. */
int frontend_connect(struct frontend *frontend, const char *path, int timeout_ms);
/* Listens at path, which must not be there yet, until the back-end calls; removes it then. */
int frontend_accept(struct frontend *frontend, const char *path, int timeout_ms);
/* Takes over a connected socket. */
void frontend_attach(struct frontend *frontend, int fd);
void frontend_close(struct frontend *frontend);

/* One sendmsg(): the bytes, and the file descriptors attached to the first of them. */
int frontend_send_bytes(struct frontend *frontend, const void *bytes, size_t len, const int *fds,
			size_t fd_count);
/* Sends the bytes in pieces of step bytes, one sendmsg() each, fds with the first one. */
int frontend_send_pieces(struct frontend *frontend, const void *bytes, size_t len, size_t step,
			 const int *fds, size_t fd_count);
/* A header with exactly these flags (VU_VERSION is not added) and a payload of size bytes. */
int frontend_send(struct frontend *frontend, uint32_t request, uint32_t flags, const void *payload,
		  uint32_t size, const int *fds, size_t fd_count);
/* Reads one message. The caller owns message->fds. */
int frontend_receive(struct frontend *frontend, struct frontend_message *message);
/* Reads the reply to this request: same number, flags exactly version and reply, no fds. */
int frontend_receive_reply(struct frontend *frontend, uint32_t request,
			   struct frontend_message *reply);
/* Waits until the peer closes; bytes that arrive before are dropped. 0 or -ETIMEDOUT. */
int frontend_wait_closed(struct frontend *frontend);
void frontend_close_fds(struct frontend_message *message);

/*
 * A request without a reply of its own. Returns the answer if need_reply asks for one and
 * REPLY_ACK is negotiated (0 is success, anything above a refusal), else 0; or a negative errno.
 */
int64_t frontend_call(struct frontend *frontend, uint32_t request, const void *payload,
		      uint32_t size, const int *fds, size_t fd_count);
/* A request with a reply of its own, of reply_size bytes. */
int frontend_ask(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
		 void *reply, uint32_t reply_size);

int frontend_get_features(struct frontend *frontend, uint64_t *features);
int64_t frontend_set_features(struct frontend *frontend, uint64_t features);
int frontend_get_protocol_features(struct frontend *frontend, uint64_t *features);
/* Takes note whether REPLY_ACK is among them. */
int64_t frontend_set_protocol_features(struct frontend *frontend, uint64_t features);
int64_t frontend_set_owner(struct frontend *frontend);
int64_t frontend_reset_owner(struct frontend *frontend);
int64_t frontend_reset_device(struct frontend *frontend);
int frontend_get_queue_num(struct frontend *frontend, uint64_t *queues);
int frontend_get_max_mem_slots(struct frontend *frontend, uint64_t *slots);
int64_t frontend_set_backend_req_fd(struct frontend *frontend, int fd);

int64_t frontend_set_status(struct frontend *frontend, uint64_t status);
int frontend_get_status(struct frontend *frontend, uint64_t *status);
/* The fd stays the caller's. */
int frontend_set_device_state_fd(struct frontend *frontend, uint32_t direction, uint32_t phase,
				 int fd, uint64_t *answer);
int frontend_check_device_state(struct frontend *frontend, uint64_t *answer);

/* -EREMOTEIO if the back-end answers with the zero-length payload that means an error. */
int frontend_get_config(struct frontend *frontend, uint32_t offset, uint32_t size, uint32_t flags,
			void *data);
int64_t frontend_set_config(struct frontend *frontend, uint32_t offset, uint32_t size,
			    uint32_t flags, const void *data);

int64_t frontend_set_mem_table(struct frontend *frontend, const struct vu_region *regions,
			       const int *fds, size_t count);
int64_t frontend_add_mem_reg(struct frontend *frontend, const struct vu_region *region, int fd);
int64_t frontend_rem_mem_reg(struct frontend *frontend, const struct vu_region *region);

int64_t frontend_set_vring_num(struct frontend *frontend, uint32_t index, uint32_t num);
int64_t frontend_set_vring_addr(struct frontend *frontend, const struct vu_vring_addr *addr);
int64_t frontend_set_vring_base(struct frontend *frontend, uint32_t index, uint32_t base);
int frontend_get_vring_base(struct frontend *frontend, uint32_t index, uint32_t *base);
int64_t frontend_set_vring_enable(struct frontend *frontend, uint32_t index, bool enable);
/* The region of chains in flight of so many rings of so many entries; the caller owns the fd. */
int frontend_get_inflight_fd(struct frontend *frontend, uint16_t queues, uint16_t queue_size,
			     struct vu_inflight *inflight, int *fd);
int64_t frontend_set_inflight_fd(struct frontend *frontend, const struct vu_inflight *inflight,
				 int fd);
/* The dirty log; the back-end sends the description back. */
int frontend_set_log_base(struct frontend *frontend, uint64_t size, uint64_t offset, int fd);
int64_t frontend_set_log_fd(struct frontend *frontend, int fd);
/* fd -1: none is passed and VU_VRING_NOFD is set. */
int64_t frontend_set_vring_kick(struct frontend *frontend, uint32_t index, int fd);
int64_t frontend_set_vring_call(struct frontend *frontend, uint32_t index, int fd);
int64_t frontend_set_vring_err(struct frontend *frontend, uint32_t index, int fd);
