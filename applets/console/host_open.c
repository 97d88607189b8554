// SPDX-License-Identifier: Apache-2.0
// Opens what a port's output goes to and its input comes from, by type.
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include "applets/console/console.h"
#include "core/log.h"
#include "core/process.h"
#include "core/sys.h"

enum { TCP_BACKLOG = 4 };

static bool is_regular(int fd)
{
	struct stat file;

	return fstat(fd, &file) == 0 && S_ISREG(file.st_mode);
}

// ---- fds that we were started with ----

// Opens the same file anew, for an O_NONBLOCK of our own; what cannot be opened anew (a socket) shares it with others.
static int reopen(struct stream *stream, int fd, int access)
{
	char path[32];
	int flags = process_was_closed(fd) ? -EBADF : sys_int(fcntl(fd, F_GETFL));

	if (flags < 0)
		return flags;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	stream->fd = is_regular(fd)
			     ? -1
			     : sys_int(open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
	if (stream->fd >= 0)
		return 0;
	stream->fd = sys_int(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	if (stream->fd < 0)
		return stream->fd;
	if (is_regular(fd) || flags & O_NONBLOCK)
		return 0;
	stream->old_flags = flags;
	return sys_int(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

static void close_stream(struct stream *stream)
{
	if (stream->fd >= 0 && stream->old_flags >= 0)
		fcntl(stream->fd, F_SETFL, stream->old_flags);
	close_fd(&stream->fd);
}

static int open_stdio(struct port *port)
{
	struct host *host = &port->host;
	int error = reopen(&host->in, STDIN_FILENO, O_RDONLY);

	if (!error)
		error = reopen(&host->out, STDOUT_FILENO, O_WRONLY);
	if (error)
		return log_errno(error, "port %u: cannot use standard input and output", port->id);
	if (isatty(STDIN_FILENO))
		return terminal_open(&port->console->terminal, STDIN_FILENO);
	return 0;
}

static int parse_fd(const char *text)
{
	char *end;
	unsigned long fd = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || fd > INT_MAX)
		return log_errno(-EINVAL, "--port type=fd: %s is no file descriptor's number",
				 text);
	return (int)fd;
}

static int use_fd(struct port *port, struct stream *stream, const char *text, int access)
{
	int fd = parse_fd(text);
	int error = fd < 0 ? fd : reopen(stream, fd, access);

	if (fd >= 0 && error)
		return log_errno(error, "port %u: cannot use fd %d", port->id, fd);
	return error;
}

// Without input=, what is written to is read from as well if it can be.
static int open_fd(struct port *port)
{
	struct host *host = &port->host;
	const char *path = port->options.path, *input = port->options.input;
	int access = O_WRONLY, error = 0;

	if (path && !input && parse_fd(path) >= 0 &&
	    (fcntl(parse_fd(path), F_GETFL) & O_ACCMODE) == O_RDWR)
		access = O_RDWR;
	if (path)
		error = use_fd(port, &host->out, path, access);
	if (!error && input)
		error = use_fd(port, &host->in, input, O_RDONLY);
	if (!error && access == O_RDWR && !is_regular(host->out.fd))
		host->in.fd = host->out.fd;
	return error;
}

// ---- files and fifos ----

static int open_input(struct port *port, int flags)
{
	const char *path = port->options.input;

	if (!path)
		return 0;
	port->host.in.fd = sys_int(open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
	return port->host.in.fd < 0
		       ? log_errno(port->host.in.fd, "port %u: cannot open %s", port->id, path)
		       : 0;
}

static int open_log(const struct port *port, struct log_file *log, const char *path)
{
	const struct port_options *options = &port->options;
	const struct log_file_options wanted = {.path = path,
						.timestamp = options->timestamp,
						.max = options->log_max,
						.keep = options->log_keep ? options->log_keep : 1};

	return log_file_open(log, &wanted);
}

static int open_file(struct port *port)
{
	int error = open_log(port, &port->file, port->options.path);

	return error ? error : open_input(port, O_RDONLY);
}

static int make_fifo(const struct file_access *access, const char *path)
{
	struct stat file;
	mode_t before = umask((mode_t)(0777 & ~access->mode));
	int error = sys_int(mkfifo(path, access->mode));

	umask(before);
	if (!error)
		return file_access_give(access, path, S_IFIFO, &file);
	if (error != -EEXIST)
		return log_errno(error, "cannot make the fifo %s", path);
	if (stat(path, &file) != 0 || !S_ISFIFO(file.st_mode))
		return log_errno(-EINVAL, "%s is no fifo", path);
	return 0;
}

// The writing end of a fifo can only be opened while somebody reads; then it stays open for all readers to come.
static int open_fifo_to_write(const char *path)
{
	cleanup_fd int reader = sys_int(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	int fd = reader < 0 ? reader : sys_int(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC));

	return fd < 0 ? log_errno(fd, "cannot open the fifo %s", path) : fd;
}

// inotify tells when to look whether somebody is there.
static int tell_presence(struct port *port, const char *path)
{
	struct console *console = port->console;
	int error;

	if (console->presence_fd < 0)
		console->presence_fd = sys_int(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	error = console->presence_fd < 0 ? console->presence_fd
					 : sys_int(inotify_add_watch(console->presence_fd, path,
								     IN_OPEN | IN_CLOSE));
	return error < 0 ? log_errno(error, "port %u: cannot watch who opens %s", port->id, path)
			 : 0;
}

static int open_fifo(struct port *port)
{
	const char *path = port->options.path, *input = port->options.input;
	const struct file_access *access = &port->console->access;
	int error = input ? make_fifo(access, input) : 0;

	if (!error)
		error = open_input(port, O_RDONLY);
	if (!error && path)
		error = make_fifo(access, path);
	if (error || !path)
		return error;
	port->host.kind = HOST_POLLED;
	port->host.out.fd = open_fifo_to_write(path);
	return port->host.out.fd < 0 ? port->host.out.fd : tell_presence(port, path);
}

// ---- ptys ----

// A link that a process left which was killed may be replaced; anything else may not.
static int remove_old_link(const char *path)
{
	char target[8] = "";
	long len = readlink(path, target, sizeof(target));

	if (len < 0 && errno == ENOENT)
		return 0;
	if (len < (long)sizeof(target) || memcmp(target, "/dev/pts", sizeof(target)) != 0)
		return log_errno(-EEXIST, "%s exists and is no link to a pty; choose another",
				 path);
	return unlink(path) == 0 ? 0 : log_errno(-errno, "cannot remove %s", path);
}

static int make_link(struct host *host, const char *path, const struct file_access *access)
{
	int error = path ? remove_old_link(path) : 0;
	struct stat file;

	if (error || !path)
		return error;
	if (symlink(host->pty, path) != 0)
		return log_errno(-errno, "cannot make the link %s", path);
	host->link = path;
	return file_access_give(access, path, S_IFLNK, &file);
}

void host_remove_files(const struct host *host)
{
	char target[sizeof(host->pty)] = "";

	if (host->listener.path)
		listener_remove_left_file(&host->listener, -1);
	if (host->link && readlink(host->link, target, sizeof(target) - 1) > 0 &&
	    strcmp(target, host->pty) == 0)
		unlink(host->link);
}

static int make_pty(struct host *host)
{
	host->out.fd = sys_int(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
	if (host->out.fd < 0)
		return host->out.fd;
	return -ptsname_r(host->out.fd, host->pty, sizeof(host->pty));
}

// Raw, since a slave that echoes would send the guest its own output back. Only a slave that has been closed hangs up.
static int prepare_pty(struct host *host)
{
	int slave;

	if (unlockpt(host->out.fd) != 0 || tcgetattr(host->out.fd, &host->raw) != 0)
		return -errno;
	cfmakeraw(&host->raw);
	if (tcsetattr(host->out.fd, TCSANOW, &host->raw) != 0)
		return -errno;
	slave = ioctl(host->out.fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	close(slave);
	return 0;
}

static int open_pty(struct port *port, const char *link)
{
	struct host *host = &port->host;
	int error;

	host->kind = HOST_POLLED;
	error = make_pty(host);
	if (error)
		return log_errno(error, "port %u: cannot make a pty", port->id);
	// before it is unlocked, so that nobody has opened it who may not
	error = file_access_set(&port->console->access, host->pty, S_IFCHR);
	if (error)
		return error;
	error = prepare_pty(host);
	if (error)
		return log_errno(error, "port %u: cannot prepare %s", port->id, host->pty);
	host->in.fd = host->out.fd;
	error = make_link(host, port->options.path ? port->options.path : link,
			  &port->console->access);
	return error ? error : tell_presence(port, host->pty);
}

// ---- sockets ----

// "HOST:PORT", "[HOST]:PORT" with an IPv6 address, or "PORT" of 127.0.0.1. Numbers only: nobody is asked for names.
static int parse_tcp(struct host *host, const char *text)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&host->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&host->address;
	const char *colon = strrchr(text, ':'), *number = colon ? colon + 1 : text;
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool bracketed = len > 2 && text[0] == '[' && colon[-1] == ']';
	char name[INET6_ADDRSTRLEN] = "127.0.0.1", *end;
	unsigned long port = strtoul(number, &end, 10);

	if (*number < '0' || *number > '9' || *end || port == 0 || port > UINT16_MAX ||
	    len >= sizeof(name))
		return -EINVAL;
	if (colon)
		snprintf(name, sizeof(name), "%.*s", (int)len - 2 * bracketed, text + bracketed);
	*v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((u16)port)};
	host->address_len = sizeof(*v6);
	if (bracketed)
		return inet_pton(AF_INET6, name, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
	*v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((u16)port)};
	host->address_len = sizeof(*v4);
	return inet_pton(AF_INET, name, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

static bool is_loopback(const struct host *host)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&host->address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&host->address;

	if (host->address.ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int new_socket(int family)
{
	return sys_int(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

static int listen_tcp(struct host *host)
{
	const int on = 1;
	int fd = new_socket(host->address.ss_family), error;

	host->listener.fd = fd;
	if (fd < 0)
		return fd;
	// clients inherit these: a byte that is typed goes out at once, and a host that vanished is noticed
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	error = sys_int(bind(fd, (const struct sockaddr *)&host->address, host->address_len));
	return error ? error : sys_int(listen(fd, TCP_BACKLOG));
}

static int open_timer(struct host *host)
{
	host->kind = HOST_CALLS;
	host->timer_fd = sys_int(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	return host->timer_fd < 0 ? log_errno(host->timer_fd, "cannot make a timer") : 0;
}

static int open_tcp(struct port *port)
{
	struct host *host = &port->host;
	const char *path = port->options.path;
	int error = parse_tcp(host, path);

	assert(error == 0); // host_check has seen to it
	if (port->options.connect)
		return open_timer(host);
	if (!is_loopback(host))
		log_warning("port %u: whoever can reach %s has the guest's console; nothing "
			    "is encrypted",
			    port->id, path);
	host->kind = HOST_LISTENS;
	error = listen_tcp(host);
	return error ? log_errno(error, "port %u: cannot listen on %s", port->id, path) : 0;
}

static int open_unix(struct port *port)
{
	struct host *host = &port->host;
	struct sockaddr_un *address = (struct sockaddr_un *)&host->address;
	const char *path = port->options.path;

	if (!port->options.connect) {
		host->kind = HOST_LISTENS;
		return listener_open_path(&host->listener, path, &port->console->access);
	}
	if (strlen(path) >= sizeof(address->sun_path))
		return log_errno(-ENAMETOOLONG, "port %u: %s is longer than %zu bytes", port->id,
				 path, sizeof(address->sun_path) - 1);
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, strlen(path) + 1);
	host->address_len = sizeof(*address);
	return open_timer(host);
}

int host_connect(struct host *host)
{
	const int on = 1;
	int fd = new_socket(host->address.ss_family), error;

	host->call_fd = fd;
	if (fd < 0)
		return fd;
	if (host->address.ss_family != AF_UNIX) {
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	error = sys_int(connect(fd, (const struct sockaddr *)&host->address, host->address_len));
	return error == -EINPROGRESS ? 0 : error;
}

// ---- all types ----

static int open_type(struct port *port, const char *link)
{
	switch (port->options.type) {
	case PORT_STDIO:
		return open_stdio(port);
	case PORT_PTY:
		return open_pty(port, link);
	case PORT_UNIX:
		return open_unix(port);
	case PORT_TCP:
		return open_tcp(port);
	case PORT_FILE:
		return open_file(port);
	case PORT_FD:
		return open_fd(port);
	case PORT_FIFO:
		return open_fifo(port);
	case PORT_NULL:
		return 0;
	}
	return -EINVAL;
}

int host_check(const struct port_options *options)
{
	struct host host;

	if (options->type == PORT_TCP && parse_tcp(&host, options->path))
		return log_errno(-EINVAL,
				 "--port type=tcp,path=%s: not like 127.0.0.1:4000, [::1]:4000 or "
				 "4000",
				 options->path);
	if (options->type == PORT_FD && ((options->path && parse_fd(options->path) < 0) ||
					 (options->input && parse_fd(options->input) < 0)))
		return -EINVAL;
	return 0;
}

static void say_where(const struct port *port)
{
	const struct port_options *options = &port->options;
	const char *where = options->path ? options->path : options->input;

	if (options->type == PORT_PTY)
		log_info("port %u: pty %s%s%s", port->id, port->host.pty,
			 port->host.link ? ", linked to by " : "",
			 port->host.link ? port->host.link : "");
	else
		log_info("port %u: %s%s%s%s", port->id, port_type_name(options->type),
			 port->host.kind == HOST_CALLS ? " calling" : "", where ? " " : "",
			 where ? where : "");
}

void host_init(struct host *host)
{
	*host = (struct host){.kind = HOST_FIXED,
			      .in = {.fd = -1, .old_flags = -1},
			      .out = {.fd = -1, .old_flags = -1},
			      .listener = {.fd = -1, .connected_fd = -1, .keeper_fd = -1},
			      .call_fd = -1,
			      .timer_fd = -1};
}

int host_open(struct port *port, const char *link)
{
	int error = open_type(port, link);

	if (!error && port->options.log)
		error = open_log(port, &port->log, port->options.log);
	if (error)
		return error;
	say_where(port);
	return 0;
}

void host_close(struct port *port)
{
	struct host *host = &port->host;

	if (host->in.fd != host->out.fd)
		close_stream(&host->in);
	close_stream(&host->out);
	host->in.fd = -1;
	close_fd(&host->listener.fd);
	close_fd(&host->call_fd);
	close_fd(&host->timer_fd);
	host_remove_files(host);
}
