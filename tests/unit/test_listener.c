// SPDX-License-Identifier: Apache-2.0
// Tests of core/listener.c.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/listener.h"

static struct listener listener;
static const char *path;
static unsigned fds_before;

static int setup(void **state)
{
	(void)state;
	fds_before = unit_open_fds();
	listener = (struct listener){.fd = -1, .connected_fd = -1, .keeper_fd = -1};
	path = unit_path("socket");
	unlink(path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	listener_close(&listener);
	return unit_open_fds() == fds_before ? 0 : -1;
}

static int open_path(void)
{
	return listener_open_path(&listener, path, FILE_ACCESS(0600));
}

static struct sockaddr_un address_of(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
	return address;
}

static int new_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

// A client's socket that is connected to `path`, or -1.
static int call(void)
{
	struct sockaddr_un address = address_of(path);
	int fd = new_socket(SOCK_STREAM);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

// A socket bound to `path`.
static int bound_socket(int type)
{
	struct sockaddr_un address = address_of(path);
	int fd = new_socket(type);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static bool path_exists(void)
{
	return access(path, F_OK) == 0;
}

static void expect_connected(int fd, int client)
{
	char byte;

	assert_true(fd >= 0);
	assert_int_equal(write(client, "x", 1), 1);
	assert_int_equal(read(fd, &byte, 1), 1);
	close(fd);
	close(client);
}

TEST(clients_are_accepted_one_after_the_other)
{
	int clients[2];

	assert_int_equal(open_path(), 0);
	assert_int_equal(listener_accept(&listener), -EAGAIN);
	clients[0] = call();
	clients[1] = call();
	expect_connected(listener_accept(&listener), clients[0]);
	expect_connected(listener_accept(&listener), clients[1]);
	assert_int_equal(listener_accept(&listener), -EAGAIN);
}

TEST(abstract_socket_has_a_nul_before_its_name_and_no_file)
{
	char name[64];
	struct sockaddr_un address;
	int client = new_socket(SOCK_STREAM);

	snprintf(name, sizeof(name), "@vhost-multi-unit-%d", (int)getpid());
	assert_int_equal(listener_open_path(&listener, name, FILE_ACCESS(0600)), 0);
	assert_int_not_equal(access(name, F_OK), 0);
	address = address_of(name);
	address.sun_path[0] = '\0';
	assert_int_equal(
		connect(client, (struct sockaddr *)&address,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
		0);
	expect_connected(listener_accept(&listener), client);
}

TEST(accepted_socket_neither_blocks_nor_is_inherited)
{
	int client, fd;

	assert_int_equal(open_path(), 0);
	client = call();
	fd = listener_accept(&listener);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(listener.fd, F_GETFD) & FD_CLOEXEC);
	expect_connected(fd, client);
}

TEST(client_that_has_gone_again_does_no_harm)
{
	int fd, client;

	assert_int_equal(open_path(), 0);
	close(call());
	fd = listener_accept(&listener);
	assert_true(fd >= 0 || fd == -EAGAIN);
	close_fd(&fd);
	client = call();
	expect_connected(listener_accept(&listener), client);
}

TEST(socket_file_has_the_permissions_asked_for_whatever_the_umask)
{
	const mode_t modes[] = {0600, 0660, 0666, 0700, 0777};
	mode_t before = umask(0077);
	struct stat file;

	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(listener_open_path(&listener, path, FILE_ACCESS(modes[i])), 0);
		assert_int_equal(stat(path, &file), 0);
		assert_int_equal(file.st_mode & 0777, modes[i]);
		listener_close(&listener);
	}
	assert_int_equal(umask(before), 0077); // and that is as it was
}

TEST(closing_removes_the_socket_file)
{
	assert_int_equal(open_path(), 0);
	assert_true(path_exists());
	listener_close(&listener);
	assert_false(path_exists());
}

// As one does to let a front-end of another user in.
TEST(closing_removes_the_socket_file_whatever_its_permissions_are_by_then)
{
	assert_int_equal(open_path(), 0);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(chown(path, getuid(), getgid()), 0);
	listener_close(&listener);
	assert_false(path_exists());
}

TEST(file_of_a_process_that_has_ended_is_replaced)
{
	int client;

	close(bound_socket(SOCK_STREAM));
	assert_true(path_exists());
	assert_int_equal(open_path(), 0);
	client = call();
	expect_connected(listener_accept(&listener), client);
}

TEST(socket_that_another_process_listens_on_is_left_alone)
{
	int other = bound_socket(SOCK_STREAM);

	assert_int_equal(listen(other, 1), 0);
	assert_int_equal(open_path(), -EADDRINUSE);
	close(call());
	assert_true(path_exists());
	close(other);
}

TEST(socket_whose_backlog_is_full_is_left_alone)
{
	int other = bound_socket(SOCK_STREAM), clients[2];

	assert_int_equal(listen(other, 0), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct sockaddr_un address = address_of(path);

		clients[i] = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
		if (connect(clients[i], (struct sockaddr *)&address, sizeof(address)) != 0)
			assert_int_equal(errno, EAGAIN);
	}
	assert_int_equal(open_path(), -EADDRINUSE);
	assert_true(path_exists());
	close(clients[0]);
	close(clients[1]);
	close(other);
}

TEST(socket_of_another_kind_is_left_alone)
{
	int other = bound_socket(SOCK_DGRAM);

	assert_true(open_path() < 0);
	assert_true(path_exists());
	close(other);
}

TEST(file_that_is_no_socket_is_left_alone)
{
	char text[9] = "";
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "precious", 8), 8);
	assert_int_equal(open_path(), -EEXIST);
	listener_close(&listener);
	assert_int_equal(pread(fd, text, 8, 0), 8);
	assert_string_equal(text, "precious");
	assert_true(path_exists());
	close(fd);
}

TEST(symlink_is_left_alone)
{
	assert_int_equal(symlink("somewhere-else", path), 0);
	assert_int_equal(open_path(), -EEXIST);
	assert_int_equal(unlink(path), 0);
}

TEST(missing_folder_is_told)
{
	path = unit_path("missing/socket");
	assert_int_equal(open_path(), -ENOENT);
}

// A path of exactly `len` bytes.
static const char *path_of_len(size_t len)
{
	static char text[256];
	size_t start = (size_t)snprintf(text, sizeof(text), "%s", unit_path("s"));

	memset(text + start, 's', len - start);
	text[len] = '\0';
	return text;
}

TEST(longest_path_is_taken_and_a_longer_one_told)
{
	path = path_of_len(107);
	assert_int_equal(open_path(), 0);
	assert_true(path_exists());
	listener_close(&listener);
	path = path_of_len(108);
	assert_int_equal(open_path(), -ENAMETOOLONG);
	path = "";
	assert_int_equal(open_path(), -ENAMETOOLONG);
	assert_int_equal(listener_open_client(&listener, path_of_len(108)), -ENAMETOOLONG);
}

TEST(file_that_is_not_ours_any_more_is_not_removed)
{
	assert_int_equal(open_path(), 0);
	assert_int_equal(rename(path, unit_path("elsewhere")), 0);
	close(bound_socket(SOCK_STREAM));
	listener_close(&listener);
	assert_true(path_exists());
}

// ---- inherited sockets

TEST(inherited_listening_socket_is_told_by_what_it_is_and_its_file_stays)
{
	int fd = bound_socket(SOCK_STREAM | SOCK_NONBLOCK), client;

	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(listener_open_fd(&listener, fd), 0);
	assert_int_equal(listener_accept(&listener), -EAGAIN);
	client = call();
	expect_connected(listener_accept(&listener), client);
	listener_close(&listener);
	assert_true(path_exists());
}

TEST(inherited_socket_tells_where_it_listens)
{
	const struct sockaddr_un any = {.sun_family = AF_UNIX};
	int named = bound_socket(SOCK_STREAM), abstract = new_socket(SOCK_STREAM);

	assert_null(listener_path_of_fd(named));
	assert_int_equal(listen(named, 1), 0);
	assert_string_equal(listener_path_of_fd(named), path);
	assert_int_equal(bind(abstract, (const struct sockaddr *)&any, sizeof(any.sun_family)), 0);
	assert_int_equal(listen(abstract, 1), 0);
	assert_null(listener_path_of_fd(abstract));
	assert_null(listener_path_of_fd(-1));
	close(named);
	close(abstract);
}

TEST(path_that_is_cleared_can_be_used)
{
	struct listener beside;

	close(bound_socket(SOCK_STREAM));
	assert_int_equal(listener_clear_path(path), 0);
	assert_false(path_exists());
	unit_capture(STDERR_FILENO);
	assert_int_equal(listener_open_path(&beside, unit_path("beside"), FILE_ACCESS(0600)), 0);
	assert_string_equal(unit_captured(), ""); // our own lock is not in its way
	listener_close(&beside);
	assert_int_equal(listener_open_path(&listener, path, FILE_ACCESS(0600)), 0);
	assert_int_equal(listener_clear_path(path), -EADDRINUSE);
	assert_true(path_exists());
}

TEST(inherited_listening_socket_that_blocks_does_not_make_us_wait)
{
	int fd = bound_socket(SOCK_STREAM);

	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(listener_open_fd(&listener, fd), 0);
	alarm(10); // ends the test if it waits
	assert_int_equal(listener_accept(&listener), -EAGAIN);
	alarm(0);
}

TEST(inherited_connected_socket_is_the_only_front_end)
{
	int sockets[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(listener_open_fd(&listener, sockets[0]), 0);
	expect_connected(listener_accept(&listener), sockets[1]);
	assert_int_equal(listener_accept(&listener), -ENOTCONN);
}

TEST(inherited_fd_that_is_no_stream_socket_is_refused)
{
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);
	int other = new_socket(SOCK_DGRAM);
	int internet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(listener_open_fd(&listener, file), -ENOTSOCK);
	assert_int_equal(listener_open_fd(&listener, other), -ENOTSOCK);
	assert_int_equal(listener_open_fd(&listener, 987), -ENOTSOCK);
	if (internet >= 0)
		assert_int_equal(listener_open_fd(&listener, internet), -ENOTSOCK);
	close_fd(&internet);
	close(other);
	close(file);
}

// ---- we call

TEST(peer_is_called_until_it_is_there)
{
	int other, fd;

	assert_int_equal(listener_open_client(&listener, path), 0);
	assert_int_equal(listener_accept(&listener), -EAGAIN); // no file
	other = bound_socket(SOCK_STREAM);
	assert_int_equal(listener_accept(&listener), -EAGAIN); // nobody listens
	assert_int_equal(listen(other, 1), 0);
	fd = listener_accept(&listener);
	expect_connected(fd, accept4(other, NULL, NULL, SOCK_CLOEXEC));
	fd = listener_accept(&listener); // and again, if it hangs up
	expect_connected(fd, accept4(other, NULL, NULL, SOCK_CLOEXEC));
	close(other);
}

TEST(file_of_the_peer_is_not_removed)
{
	int other = bound_socket(SOCK_STREAM);

	assert_int_equal(listener_open_client(&listener, path), 0);
	listener_close(&listener);
	assert_true(path_exists());
	close(other);
}

TEST(file_that_is_no_socket_cannot_be_called_and_is_left_alone)
{
	close(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(listener_open_client(&listener, path), 0);
	assert_true(listener_accept(&listener) < 0);
	assert_true(path_exists());
}

#define LISTENER_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LISTENER_TEST(clients_are_accepted_one_after_the_other),
		LISTENER_TEST(abstract_socket_has_a_nul_before_its_name_and_no_file),
		LISTENER_TEST(accepted_socket_neither_blocks_nor_is_inherited),
		LISTENER_TEST(client_that_has_gone_again_does_no_harm),
		LISTENER_TEST(socket_file_has_the_permissions_asked_for_whatever_the_umask),
		LISTENER_TEST(closing_removes_the_socket_file),
		LISTENER_TEST(closing_removes_the_socket_file_whatever_its_permissions_are_by_then),
		LISTENER_TEST(file_of_a_process_that_has_ended_is_replaced),
		LISTENER_TEST(socket_that_another_process_listens_on_is_left_alone),
		LISTENER_TEST(socket_whose_backlog_is_full_is_left_alone),
		LISTENER_TEST(socket_of_another_kind_is_left_alone),
		LISTENER_TEST(file_that_is_no_socket_is_left_alone),
		LISTENER_TEST(symlink_is_left_alone),
		LISTENER_TEST(missing_folder_is_told),
		LISTENER_TEST(longest_path_is_taken_and_a_longer_one_told),
		LISTENER_TEST(file_that_is_not_ours_any_more_is_not_removed),
		LISTENER_TEST(inherited_listening_socket_is_told_by_what_it_is_and_its_file_stays),
		LISTENER_TEST(inherited_socket_tells_where_it_listens),
		LISTENER_TEST(path_that_is_cleared_can_be_used),
		LISTENER_TEST(inherited_listening_socket_that_blocks_does_not_make_us_wait),
		LISTENER_TEST(inherited_connected_socket_is_the_only_front_end),
		LISTENER_TEST(inherited_fd_that_is_no_stream_socket_is_refused),
		LISTENER_TEST(peer_is_called_until_it_is_there),
		LISTENER_TEST(file_of_the_peer_is_not_removed),
		LISTENER_TEST(file_that_is_no_socket_cannot_be_called_and_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
