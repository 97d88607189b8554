// SPDX-License-Identifier: Apache-2.0
// The requests that set up one ring; see struct request for what a handler is.
#pragma once

#include "core/request.h"

int request_set_vring_num(struct session *session, struct message *message, struct reply *reply);
int request_set_vring_addr(struct session *session, struct message *message, struct reply *reply);
int request_set_vring_base(struct session *session, struct message *message, struct reply *reply);
int request_get_vring_base(struct session *session, struct message *message, struct reply *reply);
int request_set_vring_kick(struct session *session, struct message *message, struct reply *reply);
int request_set_vring_call(struct session *session, struct message *message, struct reply *reply);
int request_set_vring_err(struct session *session, struct message *message, struct reply *reply);
int request_set_vring_enable(struct session *session, struct message *message, struct reply *reply);

// What a front-end may send to notify, or be notified: an eventfd; but for kicks also a pipe; to be called also a unix socket.
enum notification_fd { NOTIFICATION_KICK, NOTIFICATION_CALL, NOTIFICATION_OTHER };

// Takes the message's one fd, which is of this kind: the caller's then, and never blocking. 0, or
// -EINVAL if it is none for that, logged.
must_check int request_take_event_fd(struct message *message, const char *name,
				     enum notification_fd kind, int *fd);
