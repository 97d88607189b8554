// SPDX-License-Identifier: Apache-2.0
// Runs a server beside the test.
#include "tests/unit/serve.h"

#include <signal.h>
#include <string.h>
#include <time.h>

enum { END_MS = 20000, SIGNAL_AGAIN_MS = 500 };

static void *serve(void *context)
{
	struct unit_server *unit = context;

	sem_post(&unit->running); // a signal that comes earlier would be lost to ThreadSanitizer
	unit->result = server_serve(&unit->server);
	return NULL;
}

void unit_server_start(struct unit_server *unit, struct device *device)
{
	assert_int_equal(server_init(&unit->server, device, &unit->listener, &unit->options), 0);
	assert_int_equal(sem_init(&unit->running, 0, 0), 0);
	assert_int_equal(pthread_create(&unit->thread, NULL, serve, unit), 0);
	sem_wait(&unit->running);
}

const char *unit_server_listen(struct unit_server *unit, struct device *device)
{
	const char *path = unit_path("socket");

	unit->options = (struct server_options){.workers = 1};
	assert_int_equal(listener_open_path(&unit->listener, path, FILE_ACCESS(0600)), 0);
	unit_server_start(unit, device);
	return path;
}

static bool ends_within(const struct unit_server *unit, long ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += ms % 1000 * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_timedjoin_np(unit->thread, NULL, &until) == 0;
}

static int finish(struct unit_server *unit)
{
	listener_close(&unit->listener);
	server_fini(&unit->server);
	return unit->result;
}

int unit_server_join(struct unit_server *unit)
{
	assert_true(ends_within(unit, END_MS));
	return finish(unit);
}

// A signal to a thread that has only just begun is lost under ThreadSanitizer, so it is sent until it is heard.
int unit_server_stop(struct unit_server *unit)
{
	long waited = 0;

	do {
		assert_true(waited < END_MS);
		// NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread,cert-pos44-c): it has a handler
		pthread_kill(unit->thread, SIGTERM);
		waited += SIGNAL_AGAIN_MS;
	} while (!ends_within(unit, SIGNAL_AGAIN_MS));
	return finish(unit);
}

struct unit_server unit_server;
struct echo unit_echo;
static unsigned fds_before;

int unit_server_setup(void **state)
{
	(void)state;
	fds_before = unit_open_fds();
	memset(&unit_server, 0, sizeof(unit_server));
	unit_server.options.workers = 2;
	echo_init(&unit_echo, 4, ECHO_AT_ONCE);
	return 0;
}

int unit_server_teardown(void **state)
{
	(void)state;
	return unit_open_fds() == fds_before && unit_echo.worker_starts == unit_echo.worker_stops &&
			       unit_echo.wrong_thread == 0
		       ? 0
		       : -1;
}
