// SPDX-License-Identifier: Apache-2.0
// The requests of postcopy, and its part of those that share guest memory; see struct request for what a handler is.
#pragma once

#include "core/request.h"

int request_postcopy_advise(struct session *session, struct message *message, struct reply *reply);
int request_postcopy_listen(struct session *session, struct message *message, struct reply *reply);
int request_postcopy_end(struct session *session, struct message *message, struct reply *reply);

// QEMU gives its word by the last request that it has sent, which is this one if the slots have not changed.
int request_none(struct session *session, struct message *message, struct reply *reply);

// True if a request that shares memory carries no memory, but the front-end's word that it will bring what is missing.
bool postcopy_is_word(const struct session *session, const struct message *message);

// Takes that word: rings may touch memory. -ECANCELED, logged, if it says otherwise.
must_check int postcopy_take_word(struct session *session, const struct message *message);

// Registers the region of memory that the answer names by its guest address, and puts into the answer where it is mapped here. 0 or -errno, logged.
must_check int postcopy_share(struct session *session, const struct guest_memory *memory,
			      struct vhost_user_region *answer);
