// SPDX-License-Identifier: Apache-2.0
// Unix sockets: making the file, telling stale from live, accepting, calling.
#include "core/listener.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/helper.h"
#include "core/log.h"
#include "core/sys.h"

enum { BACKLOG = 16 };
enum { LOCK_TRIES = 500, LOCK_PAUSE_US = 10000 }; // five seconds, where starts take milliseconds
enum { KEEPER_ANSWER = 'a', KEEPER_CALL = 'c', KEEPER_REMOVE = 'r' };
#ifndef SO_PASSPIDFD
enum { SO_PASSPIDFD = 76 }; // since Linux 6.5; older kernels refuse it, and older headers lack it
#endif

static void listener_init(struct listener *listener, const char *path)
{
	*listener = (struct listener){.fd = -1, .connected_fd = -1, .path = path, .keeper_fd = -1};
}

// unix(7): an abstract name begins with a byte of zero, for which people write @, and has no file.
static bool is_abstract(const char *path)
{
	return path[0] == '@';
}

bool listener_has_file(const struct listener *listener)
{
	return listener->path && !listener->connects && !is_abstract(listener->path);
}

struct address {
	struct sockaddr_un name;
	socklen_t len;
	const char *text; // as it was given
};

static int make_address(const char *path, struct address *address)
{
	size_t len = strlen(path), most = sizeof(address->name.sun_path) - 1;

	*address = (struct address){
		.name.sun_family = AF_UNIX, .len = sizeof(address->name), .text = path};
	if (len == 0 || len > most)
		return log_errno(
			-ENAMETOOLONG,
			"socket path of %zu bytes: it must have 1 to %zu; use a shorter one, "
			"or pass an open socket with --fd",
			len, most);
	memcpy(address->name.sun_path, path, len);
	if (!is_abstract(path))
		return 0;
	if (len == 1)
		return log_errno(-EINVAL, "socket @: an abstract socket needs a name behind the @");
	address->name.sun_path[0] = '\0';
	address->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return 0;
}

static int open_socket(void)
{
	int fd = sys_int(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));

	return fd < 0 ? log_errno(fd, "cannot make a socket") : fd;
}

static int try_connect(const struct address *address)
{
	cleanup_fd int fd = open_socket();
	int error;

	if (fd < 0)
		return fd;
	error = sys_int(connect(fd, (const struct sockaddr *)&address->name, address->len));
	return error ? error : take_fd(&fd);
}

// The folder of the socket file, locked by flock(2); -1 with errno set. flock takes whatever can be opened to be read.
static int open_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	size_t len = slash ? (size_t)(slash - path) + 1 : 1;

	snprintf(folder, sizeof(folder), "%.*s", (int)len, slash ? path : ".");
	return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool working_folder_is_ours; // nobody else starts there

void listener_own_working_folder(void)
{
	working_folder_is_ours = true;
}

static bool folder_is_ours(const char *path)
{
	return working_folder_is_ours && *path != '/';
}

// Whoever may read the folder can hold this lock, so it is not waited for without end.
static int wait_for_lock(int folder)
{
	int error = sys_int(flock(folder, LOCK_EX | LOCK_NB));

	for (unsigned i = 0; error == -EWOULDBLOCK && i < LOCK_TRIES; i++) {
		usleep(LOCK_PAUSE_US);
		error = sys_int(flock(folder, LOCK_EX | LOCK_NB));
	}
	return error;
}

// Between a look at who listens and the file in its place no other start may do the same, else one removes what the other has just
// made.
static int lock_folder(const char *path)
{
	int fd, error;

	if (folder_is_ours(path))
		return -1;
	fd = open_folder(path);
	error = fd < 0 ? -errno : wait_for_lock(fd);
	if (error && error != -ENOENT && error != -ENOTDIR) // which is said when the socket is made
		log_warning(
			"cannot lock the folder of %s (%s): if another process is started on the same "
			"path right now, one may remove the other's socket",
			path, strerror(-error));
	return fd;
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
static int remove_stale(const struct address *address)
{
	struct stat file;
	int fd;

	if (lstat(address->text, &file) != 0)
		return errno == ENOENT ? 0 : log_errno(-errno, "cannot look at %s", address->text);
	if (!S_ISSOCK(file.st_mode))
		return log_errno(-EEXIST,
				 "%s exists and is not a socket; remove it or choose another "
				 "--socket",
				 address->text);
	fd = try_connect(address);
	if (fd >= 0 || fd == -EAGAIN) {
		int error = refuse_live(fd, address->text);

		close_fd(&fd);
		return error;
	}
	if (fd == -ENOENT)
		return 0; // its keeper has removed it just now
	if (fd != -ECONNREFUSED)
		return log_errno(fd, "cannot find out who listens on %s; choose another --socket",
				 address->text);
	log_info("replacing %s, which a process left that has ended", address->text);
	if (unlink(address->text) != 0 && errno != ENOENT)
		return log_errno(-errno, "cannot remove %s", address->text);
	return 0;
}

// The file, which is noted so that it is removed whatever fails from here on, becomes theirs for whom it is.
static int give_file(struct listener *listener, const struct address *address,
		     const struct file_access *access)
{
	struct stat file;

	if (!listener_has_file(listener))
		return 0;
	if (lstat(address->text, &file) == 0) {
		listener->device = file.st_dev;
		listener->inode = file.st_ino;
		listener->made = file.st_mtim;
	}
	return file_access_give(access, address->text, S_IFSOCK, &file);
}

static int bind_and_listen(struct listener *listener, const struct address *address,
			   const struct file_access *access)
{
	mode_t before = umask((mode_t)(0777 & ~access->mode));
	int error =
		sys_int(bind(listener->fd, (const struct sockaddr *)&address->name, address->len));

	umask(before);
	if (error == -EADDRINUSE)
		return refuse_live(-1, address->text);
	if (error)
		return log_errno(error,
				 "cannot make the socket %s; does its folder exist, and may we "
				 "write there?",
				 address->text);
	error = give_file(listener, address, access);
	if (error)
		return error;
	error = sys_int(listen(listener->fd, BACKLOG));
	return error ? log_errno(error, "cannot listen on %s", address->text) : 0;
}

static int make_and_listen(struct listener *listener, const struct address *address,
			   const struct file_access *access)
{
	int error = listener_has_file(listener) ? remove_stale(address) : 0;

	if (error)
		return error;
	listener->fd = open_socket();
	if (listener->fd < 0)
		return listener->fd;
	error = bind_and_listen(listener, address, access);
	if (error)
		listener_close(listener);
	return error;
}

// Of an abstract name nothing can be left.
int listener_clear_path(const char *path)
{
	struct address address;
	int error = make_address(path, &address);
	cleanup_fd int fd = -1;

	if (error)
		return error;
	fd = is_abstract(path) ? try_connect(&address) : lock_folder(path);
	if (is_abstract(path))
		return fd >= 0 || fd == -EAGAIN ? refuse_live(fd, address.text) : 0;
	return remove_stale(&address);
}

int listener_open_path(struct listener *listener, const char *path,
		       const struct file_access *access)
{
	struct address address;
	int error = make_address(path, &address), folder = -1;

	listener_init(listener, path);
	if (error)
		return error;
	if (listener_has_file(listener))
		folder = lock_folder(path);
	error = make_and_listen(listener, &address, access);
	close_fd(&folder); // and with it the lock
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
	struct address address;

	listener_init(listener, path);
	listener->connects = true;
	return make_address(path, &address);
}

static int call_directly(const struct listener *listener)
{
	struct address address;
	int fd = make_address(listener->path, &address);

	return fd ? fd : try_connect(&address);
}

int listener_wait_keeper(const struct listener *listener)
{
	int answer =
		listener->keeper_fd < 0 ? -ENODATA : helper_ask(listener->keeper_fd, KEEPER_ANSWER);

	return answer == -ENODATA ? 0 : answer;
}

static void remove_file(const struct listener *listener);

void listener_keeper_do(const struct listener *listener, int socket, u8 command)
{
	cleanup_fd int peer = -ENODATA;

	if (command == KEEPER_CALL && listener->connects)
		peer = call_directly(listener);
	else if (command == KEEPER_REMOVE && !listener->connects)
		remove_file(listener);
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

static bool file_is_ours(const struct listener *listener)
{
	struct stat file;

	return listener_has_file(listener) && lstat(listener->path, &file) == 0 &&
	       file.st_dev == listener->device && file.st_ino == listener->inode &&
	       file.st_mtim.tv_sec == listener->made.tv_sec &&
	       file.st_mtim.tv_nsec == listener->made.tv_nsec;
}

// While we listen nobody takes our place.
static void remove_file(const struct listener *listener)
{
	if (file_is_ours(listener))
		unlink(listener->path);
}

int listener_open_folder(const struct listener *listener)
{
	return listener_has_file(listener) && !folder_is_ours(listener->path)
		       ? open_folder(listener->path)
		       : -1;
}

void listener_remove_left_file(const struct listener *listener, int folder)
{
	if (!file_is_ours(listener))
		return;
	if (folder >= 0)
		(void)!wait_for_lock(folder); // without it the file goes as well
	remove_file(listener);
}

// The file first: who finds it without anybody behind it may put another in its place. Who has connected meanwhile sees us go.
void listener_close(struct listener *listener)
{
	bool made = listener_has_file(listener) && listener->fd >= 0;

	if (made && listener->keeper_fd >= 0)
		(void)!helper_ask(listener->keeper_fd, KEEPER_REMOVE);
	else if (made)
		remove_file(listener);
	close_fd(&listener->fd);
	close_fd(&listener->connected_fd);
	close_fd(&listener->keeper_fd);
}
