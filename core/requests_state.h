// SPDX-License-Identifier: Apache-2.0
// The requests about the device as a whole: its reset, its status, its state; see struct request for what a handler is.
#pragma once

#include "core/request.h"

int request_reset_owner(struct session *session, struct message *message, struct reply *reply);
int request_reset_device(struct session *session, struct message *message, struct reply *reply);
int request_set_status(struct session *session, struct message *message, struct reply *reply);
int request_get_status(struct session *session, struct message *message, struct reply *reply);
int request_set_device_state_fd(struct session *session, struct message *message,
				struct reply *reply);
int request_check_device_state(struct session *session, struct message *message,
			       struct reply *reply);
