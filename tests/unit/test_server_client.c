// SPDX-License-Identifier: Apache-2.0
// Tests of core/server.c as a client: it calls the front-end that listens.
#include "tests/unit/serve.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "tests/frontend/frontend.h"

static int accept_call(int fd)
{
	return accept4(fd, NULL, NULL, SOCK_CLOEXEC);
}

static int listen_late(const char *path, bool late)
{
	const struct timespec while_ = {.tv_nsec = 30000000};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	unlink(path);
	if (late)
		nanosleep(&while_, NULL);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void expect_served(int fd)
{
	struct frontend frontend;
	u64 features;

	assert_true(fd >= 0);
	frontend_attach(&frontend, fd);
	assert_int_equal(frontend_get_features(&frontend, &features), 0);
	assert_true(features & ECHO_FEATURE);
	frontend_close(&frontend);
}

TEST(peer_is_called_until_it_listens_and_again_when_it_hangs_up)
{
	const char *path = unit_path("peer");
	int peer;

	assert_int_equal(listener_open_client(&unit_server.listener, path), 0);
	unit_server_start(&unit_server, &unit_echo.device);
	peer = listen_late(path, true);
	for (unsigned i = 0; i < 3; i++)
		expect_served(accept_call(peer));
	close(peer);
	assert_int_equal(unit_server_stop(&unit_server), 0);
	assert_int_equal(unlink(path), 0); // the peer's file is not ours
}

TEST(peer_is_called_once_if_one_front_end_is_wanted)
{
	const char *path = unit_path("peer");
	int peer = listen_late(path, false);

	unit_server.options.exit_on_disconnect = true;
	assert_int_equal(listener_open_client(&unit_server.listener, path), 0);
	unit_server_start(&unit_server, &unit_echo.device);
	expect_served(accept_call(peer));
	assert_int_equal(unit_server_join(&unit_server), 0);
	close(peer);
	unlink(path);
}

TEST(signal_ends_a_server_whose_peer_is_not_there)
{
	assert_int_equal(listener_open_client(&unit_server.listener, unit_path("nobody")), 0);
	unit_server_start(&unit_server, &unit_echo.device);
	assert_int_equal(unit_server_stop(&unit_server), 0);
}

#define CLIENT_TEST(name) RUN_WITH(unit_server_setup, name, unit_server_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLIENT_TEST(peer_is_called_until_it_listens_and_again_when_it_hangs_up),
		CLIENT_TEST(peer_is_called_once_if_one_front_end_is_wanted),
		CLIENT_TEST(signal_ends_a_server_whose_peer_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
