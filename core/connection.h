// SPDX-License-Identifier: Apache-2.0
// The connected socket: takes messages in, whatever pieces they come in, with their fds; sends replies.
// Control thread. Never blocks.
#pragma once

#include "core/message.h"

enum {
	MESSAGE_MAX_FDS =
		253, // what the kernel passes at once (SCM_MAX_FD), so that we can refuse and close all
};

// One message. Its fds belong to it until message_take_fd; message_close_fds closes the rest.
struct message {
	struct vhost_user_header header;
	union vhost_user_payload payload; // zero beyond what was received
	int fds[MESSAGE_MAX_FDS];
	unsigned fd_count; // as received
};

// The caller owns the fd from here on; -1 if it was taken or never there.
int message_take_fd(struct message *message, unsigned index);
void message_close_fds(struct message *message);

struct connection {
	int fd; // -1: not connected; owned
	struct message message;
	size_t received; // bytes of the message so far, header included
};

// Takes over a connected stream socket.
void connection_open(struct connection *connection, int fd);
void connection_close(struct connection *connection);
static inline bool connection_is_open(const struct connection *connection)
{
	return connection->fd >= 0;
}

// False once the front-end has gone, even if there are still messages of its to be received.
bool connection_has_peer(const struct connection *connection);

// Receives on. 1: connection->message is whole, its fds to be closed by the caller before the next receive;
// 0: not yet, wait until the socket is readable; -ENOTCONN: the front-end has gone; else the stream cannot be
// trusted or read (-EPROTO, -errno; logged) and the connection must be closed.
must_check int connection_receive(struct connection *connection);

// Sends a reply to `request` with `len` bytes of payload, and an fd of the caller's unless it is -1, whole or not at all.
// A front-end that lets its replies pile up until the socket is full is given up: -EAGAIN, logged; -ENOTCONN: it has gone.
must_check int connection_reply(struct connection *connection, u32 request, const void *payload,
				size_t len, int fd);

// Sends a request of ours, without payload and without wish for a reply, to the socket that the front-end gave us
// for that. Given up silently if the front-end does not read: it is no more than a hint.
void connection_notify(int fd, u32 request);
