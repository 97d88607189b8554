// SPDX-License-Identifier: Apache-2.0
// Handlers of the requests that have us keep track, in memory that outlives us: of what was written, and of chains in flight.
#pragma once

#include "core/request.h"

int request_set_log_base(struct session *session, struct message *message, struct reply *reply);
int request_set_log_fd(struct session *session, struct message *message, struct reply *reply);
int request_get_inflight_fd(struct session *session, struct message *message, struct reply *reply);
int request_set_inflight_fd(struct session *session, struct message *message, struct reply *reply);
