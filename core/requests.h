// SPDX-License-Identifier: Apache-2.0
// What each vhost-user request needs and does.
#pragma once

#include "core/connection.h"
#include "core/session.h"

// Handles the whole message in connection->message, closes the fds it does not keep, and replies as far as
// the protocol says so. 0, or -errno and the connection must be closed (logged). Control thread.
must_check int requests_handle(struct session *session, struct connection *connection);
