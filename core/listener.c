// SPDX-License-Identifier: Apache-2.0
// Unix sockets: making the file, telling stale from live, accepting, calling.
#include "core/listener.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/helper.h"
#include "core/log.h"
#include "core/sys.h"

enum { BACKLOG = 16 };
enum { KEEPER_ANSWER = 'a', KEEPER_CALL = 'c', KEEPER_REMOVE = 'r' };
#ifndef SO_PASSPIDFD
enum { SO_PASSPIDFD = 76 }; // since Linux 6.5; older kernels refuse it, and older headers lack it
#endif

static void listener_init(struct listener *listener, const char *path)
{
	*listener = (struct listener){.fd = -1, .connected_fd = -1, .path = path, .keeper_fd = -1};
}

static int make_address(const char *path, struct sockaddr_un *address)
{
	size_t len = strlen(path);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (len == 0 || len >= sizeof(address->sun_path))
		return log_errno(
			-ENAMETOOLONG,
			"socket path of %zu bytes: it must have 1 to %zu; use a shorter one, "
			"or pass an open socket with --fd",
			len, sizeof(address->sun_path) - 1);
	memcpy(address->sun_path, path, len);
	return 0;
}

static int open_socket(void)
{
	int fd = sys_int(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));

	return fd < 0 ? log_errno(fd, "cannot make a socket") : fd;
}

static int try_connect(const struct sockaddr_un *address)
{
	cleanup_fd int fd = open_socket();
	int error;

	if (fd < 0)
		return fd;
	error = sys_int(connect(fd, (const struct sockaddr *)address, sizeof(*address)));
	return error ? error : take_fd(&fd);
}

// `fd` is connected to who listens at the path, or the kernel says that somebody does whose backlog is full (-EAGAIN).
static int refuse_live(int fd, const char *path)
{
	struct ucred peer = {.pid = 0};
	socklen_t len = sizeof(peer);

	if (fd >= 0)
		(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	if (peer.pid == getpid())
		return log_errno(-EADDRINUSE,
				 "%s is asked for twice: --socket and each port need "
				 "a path of their own",
				 path);
	if (peer.pid > 0)
		return log_errno(-EADDRINUSE,
				 "process %d listens on %s; stop it or choose another path",
				 (int)peer.pid, path);
	return log_errno(-EADDRINUSE,
			 "another process listens on %s; stop it or choose another "
			 "path",
			 path);
}

// Somebody listens at the path, nobody does, or it is no socket at all.
static int remove_stale(const struct sockaddr_un *address)
{
	struct stat file;
	int fd;

	if (lstat(address->sun_path, &file) != 0)
		return errno == ENOENT ? 0
				       : log_errno(-errno, "cannot look at %s", address->sun_path);
	if (!S_ISSOCK(file.st_mode))
		return log_errno(-EEXIST,
				 "%s exists and is not a socket; remove it or choose another "
				 "--socket",
				 address->sun_path);
	fd = try_connect(address);
	if (fd >= 0 || fd == -EAGAIN) {
		int error = refuse_live(fd, address->sun_path);

		close_fd(&fd);
		return error;
	}
	if (fd == -ENOENT)
		return 0; // its keeper has removed it just now
	if (fd != -ECONNREFUSED)
		return log_errno(fd, "cannot find out who listens on %s; choose another --socket",
				 address->sun_path);
	log_info("replacing %s, which a process left that has ended", address->sun_path);
	if (unlink(address->sun_path) != 0 && errno != ENOENT)
		return log_errno(-errno, "cannot remove %s", address->sun_path);
	return 0;
}

static int bind_and_listen(struct listener *listener, const struct sockaddr_un *address,
			   const struct file_access *access)
{
	struct stat file;
	mode_t before = umask((mode_t)(0777 & ~access->mode));
	int error = sys_int(bind(listener->fd, (const struct sockaddr *)address, sizeof(*address)));

	umask(before);
	if (error)
		return log_errno(error,
				 "cannot make the socket %s; does its folder exist, and may we "
				 "write there?",
				 address->sun_path);
	if (lstat(address->sun_path, &file) == 0) { // to remove it, whatever fails from here on
		listener->device = file.st_dev;
		listener->inode = file.st_ino;
		listener->made = file.st_mtim;
	}
	error = file_access_give(access, address->sun_path, S_IFSOCK, &file);
	if (error)
		return error;
	error = sys_int(listen(listener->fd, BACKLOG));
	return error ? log_errno(error, "cannot listen on %s", address->sun_path) : 0;
}

int listener_clear_path(const char *path)
{
	struct sockaddr_un address;
	int error = make_address(path, &address);

	return error ? error : remove_stale(&address);
}

int listener_open_path(struct listener *listener, const char *path,
		       const struct file_access *access)
{
	struct sockaddr_un address;
	int error = make_address(path, &address);

	listener_init(listener, path);
	if (!error)
		error = remove_stale(&address);
	if (error)
		return error;
	listener->fd = open_socket();
	if (listener->fd < 0)
		return listener->fd;
	error = bind_and_listen(listener, &address, access);
	if (error)
		listener_close(listener);
	return error;
}

static bool socket_option_is(int fd, int option, int wanted)
{
	int value;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 && value == wanted;
}

// Who made the socket may have asked for more than fds with each message; we take nothing but fds.
static void refuse_extras(int fd)
{
	static const int extras[] = {SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD};
	const int off = 0;

	for (size_t i = 0; i < ARRAY_SIZE(extras); i++)
		(void)setsockopt(fd, SOL_SOCKET, extras[i], &off, sizeof(off));
}

static int make_nonblocking(int fd)
{
	int flags = sys_int(fcntl(fd, F_GETFL));

	if (flags >= 0)
		flags = sys_int(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
	return flags < 0 ? log_errno(flags, "--fd %d cannot be made nonblocking", fd) : 0;
}

int listener_open_fd(struct listener *listener, int fd)
{
	listener_init(listener, NULL);
	if (!socket_option_is(fd, SO_DOMAIN, AF_UNIX) ||
	    !socket_option_is(fd, SO_TYPE, SOCK_STREAM))
		return log_errno(-ENOTSOCK, "--fd %d is not an open unix stream socket", fd);
	refuse_extras(fd);
	if (!socket_option_is(fd, SO_ACCEPTCONN, 1)) {
		listener->connected_fd = fd; // as it is, since others may share it
		return 0;
	}
	listener->fd = fd;
	return make_nonblocking(fd);
}

const char *listener_path_of_fd(int fd)
{
	static struct sockaddr_un address;
	socklen_t len = sizeof(address) - 1; // for the NUL that a path need not have

	address = (struct sockaddr_un){0};
	if (!socket_option_is(fd, SO_ACCEPTCONN, 1) ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0 ||
	    address.sun_family != AF_UNIX || !address.sun_path[0])
		return NULL;
	return address.sun_path;
}

int listener_open_client(struct listener *listener, const char *path)
{
	struct sockaddr_un address;

	listener_init(listener, path);
	listener->connects = true;
	return make_address(path, &address);
}

static int call_directly(const struct listener *listener)
{
	struct sockaddr_un address;
	int fd = make_address(listener->path, &address);

	return fd ? fd : try_connect(&address);
}

int listener_wait_keeper(const struct listener *listener)
{
	int answer =
		listener->keeper_fd < 0 ? -ENODATA : helper_ask(listener->keeper_fd, KEEPER_ANSWER);

	return answer == -ENODATA ? 0 : answer;
}

void listener_keeper_do(const struct listener *listener, int socket, u8 command)
{
	cleanup_fd int peer = -ENODATA;

	if (command == KEEPER_CALL && listener->connects)
		peer = call_directly(listener);
	else if (command == KEEPER_REMOVE && !listener->connects)
		listener_remove_file(listener);
	else if (command != KEEPER_ANSWER)
		peer = -EPERM; // we never ask for it: who does has taken over the other process
	helper_answer(socket, peer);
}

static int call_peer(const struct listener *listener)
{
	int fd = listener->keeper_fd >= 0 ? helper_ask(listener->keeper_fd, KEEPER_CALL)
					  : call_directly(listener);

	return fd == -ENOENT || fd == -ECONNREFUSED ? -EAGAIN : fd;
}

static int accept_next(const struct listener *listener)
{
	int fd = sys_int(accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));

	return fd == -ECONNABORTED ? -EAGAIN : fd;
}

int listener_accept(struct listener *listener)
{
	int fd;

	if (listener->connected_fd >= 0)
		return take_fd(&listener->connected_fd);
	if (!listener->connects && listener->fd < 0)
		return -ENOTCONN;
	fd = listener->connects ? call_peer(listener) : accept_next(listener);
	if (fd < 0 && fd != -EAGAIN)
		log_errno(fd, "cannot %s", listener->connects ? "call the front-end" : "accept");
	return fd;
}

void listener_remove_file(const struct listener *listener)
{
	struct stat file;

	if (!listener->connects && lstat(listener->path, &file) == 0 &&
	    file.st_dev == listener->device && file.st_ino == listener->inode &&
	    file.st_mtim.tv_sec == listener->made.tv_sec &&
	    file.st_mtim.tv_nsec == listener->made.tv_nsec)
		unlink(listener->path);
}

void listener_close(struct listener *listener)
{
	bool made = listener->path && !listener->connects && listener->fd >= 0;

	close_fd(&listener->fd); // first: nobody is to connect to who will not accept
	close_fd(&listener->connected_fd);
	if (made && listener->keeper_fd >= 0)
		(void)!helper_ask(listener->keeper_fd, KEEPER_REMOVE);
	else if (made)
		listener_remove_file(listener);
	close_fd(&listener->keeper_fd);
}
