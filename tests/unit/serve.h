// SPDX-License-Identifier: Apache-2.0
// A whole server on a thread of its own, for tests that are its front-end.
#pragma once

#include <semaphore.h>

#include "core/server.h"
#include "tests/unit/echo.h"

struct unit_server {
	struct server server;
	struct listener listener; // opened by the test
	struct server_options options;
	pthread_t thread;
	sem_t running;
	int result; // of server_serve
};

// Listens on unit_path("socket") with one worker, for any number of front-ends; answers the path.
const char *unit_server_listen(struct unit_server *unit, struct device *device);

// Serves on unit->listener with unit->options.
void unit_server_start(struct unit_server *unit, struct device *device);

// Ends the server by SIGTERM, or waits until it has ended by itself, and gives everything back; answers what
// server_serve did.
int unit_server_stop(struct unit_server *unit);
int unit_server_join(struct unit_server *unit);

// For tests of the server itself: around each of them two workers and a device of four rings, which are not started. Whatever
// the test did, afterwards no fd is left, every worker has ended, and nothing ran where it should not.
extern struct unit_server unit_server;
extern struct echo unit_echo;
int unit_server_setup(void **state);
int unit_server_teardown(void **state);
