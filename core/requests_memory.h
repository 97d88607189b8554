// SPDX-License-Identifier: Apache-2.0
// The requests that share guest memory; see struct request for what a handler is.
#pragma once

#include "core/request.h"

int request_set_mem_table(struct session *session, struct message *message, struct reply *reply);
int request_get_max_mem_slots(struct session *session, struct message *message,
			      struct reply *reply);
int request_add_mem_reg(struct session *session, struct message *message, struct reply *reply);
int request_rem_mem_reg(struct session *session, struct message *message, struct reply *reply);
