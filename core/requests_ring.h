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

// Takes the message's one fd, by which we signal the front-end or, if `kick`, it us: the caller's then, and never blocking. 0, or
// -EINVAL if it is none for that, logged.
must_check int request_take_event_fd(struct message *message, const char *name, bool kick, int *fd);
