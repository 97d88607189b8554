// SPDX-License-Identifier: Apache-2.0
// Clients come and go, bytes move: the host's side of a port while the worker runs.
#include "applets/console/host.h"

#include <sys/ioctl.h>
#include <sys/timerfd.h>

#include "applets/console/assistant.h"
#include "applets/console/console.h"
#include "core/log.h"
#include "core/sys.h"

enum { CALL_AGAIN_FIRST_MS = 100, CALL_AGAIN_MOST_MS = 2000 };
enum { GONE = EPOLLHUP | EPOLLERR, STREAM_EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };

static struct port *port_of(struct host *host)
{
	return container_of(host, struct port, host);
}

static bool is_socket(const struct host *host)
{
	return host->kind == HOST_LISTENS || host->kind == HOST_CALLS;
}

bool host_reads(const struct host *host)
{
	return host->present && host->out.fd >= 0 && !host->out.ended;
}

// ---- bytes ----

static bool may_come_back(const struct port *port)
{
	return port->host.kind == HOST_POLLED || port->options.type == PORT_FIFO;
}

// The call said that there is no more: for now, or for good.
static void note_end(const struct port *port, struct stream *stream, long result)
{
	stream->ready = false;
	stream->ended = result != -EAGAIN && !may_come_back(port);
}

size_t host_read(struct port *port, u8 *bytes, size_t len)
{
	struct stream *in = &port->host.in;
	long got;

	if (in->fd < 0 || !in->ready || in->ended)
		return 0;
	got = sys(read(in->fd, bytes, len));
	if (got > 0)
		return (size_t)got;
	note_end(port, in, got);
	return 0;
}

// What is full may have room again.
static bool is_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

// That clients of a socket, a pty or a fifo go is as it should be. What we were started with does not come back.
static void complain(struct port *port, int error)
{
	bool *failing = &port->host.out_failing;

	if (port->host.kind != HOST_FIXED || may_come_back(port) || error == -EAGAIN || *failing)
		return;
	*failing = true;
	if (is_full(error))
		log_errno(error,
			  "port %u: cannot write to its %s: output is lost until there is room",
			  port->id, port_type_name(port->options.type));
	else
		log_errno(
			error,
			"port %u: cannot write to its %s any more: output is lost; start anew with "
			"another, or with log=FILE as well",
			port->id, port_type_name(port->options.type));
}

// A disk that is nearly full takes a part of each buffer, which does not count.
static void note_room(struct port *port, bool all_written)
{
	if (!port->host.out_failing || !all_written)
		return;
	port->host.out_failing = false;
	log_info("port %u: its %s can be written again", port->id,
		 port_type_name(port->options.type));
}

size_t host_write(struct port *port, const u8 *bytes, size_t len)
{
	struct stream *out = &port->host.out;
	long written;

	if (!out->ready)
		return 0;
	written = sys(write(out->fd, bytes, len));
	if (written < 0)
		complain(port, (int)written);
	if (is_full((int)written))
		return len; // lost, as in a log: the guest goes on
	if (written > 0) {
		note_room(port, (size_t)written == len);
		return (size_t)written;
	}
	note_end(port, out, written);
	return 0;
}

static int watch_stream(struct port *port, struct stream *stream, struct watch *watch)
{
	int error;

	stream->ready = true;
	if (stream->fd < 0)
		return 0;
	error = worker_watch(port->console->worker, stream->fd, STREAM_EVENTS, watch);
	stream->polled = error == 0;
	return error == -EPERM ? 0 : error; // what cannot be watched never makes wait
}

static int watch_streams(struct port *port)
{
	struct host *host = &port->host;
	int error = watch_stream(port, &host->in, &host->in_watch);

	if (error)
		return log_errno(error, "port %u: cannot watch its input", port->id);
	if (host->out.fd != host->in.fd)
		error = watch_stream(port, &host->out, &host->out_watch);
	else
		host->out.ready = true;
	return error ? log_errno(error, "port %u: cannot watch its output", port->id) : 0;
}

static void unwatch_streams(struct port *port)
{
	struct host *host = &port->host;

	if (host->in.polled)
		worker_unwatch(port->console->worker, host->in.fd, &host->in_watch);
	if (host->out.polled)
		worker_unwatch(port->console->worker, host->out.fd, &host->out_watch);
	host->in.polled = false;
	host->out.polled = false;
}

// ---- clients ----

static void join(struct port *port)
{
	port->host.in.ended = false;
	port->host.out.ended = false;
	port->host.present = true;
	log_debug("port %u: somebody is there", port->id);
	port_joined(port);
}

// What a client of a pty has not read, or how it has set the terminal, is not for the next one.
static void clean_pty(const struct host *host)
{
	ioctl(host->out.fd, TCFLSH, TCOFLUSH);
	ioctl(host->out.fd, TCSETSF, &host->raw);
}

static void leave(struct port *port)
{
	port->host.present = false;
	log_debug("port %u: nobody is there any more", port->id);
	if (port->options.type == PORT_PTY)
		clean_pty(&port->host);
	port_left(port);
}

static void call_later(struct host *host)
{
	const struct itimerspec when = {.it_value.tv_sec = host->call_again_ms / 1000,
					.it_value.tv_nsec =
						(long)(host->call_again_ms % 1000) * 1000000};
	int error = sys_int(timerfd_settime(host->timer_fd, 0, &when, NULL));

	assert(error == 0);
	host->call_again_ms = min_uint(2 * host->call_again_ms, CALL_AGAIN_MOST_MS);
}

static void hang_up(struct port *port)
{
	struct host *host = &port->host;

	unwatch_streams(port);
	close_fd(&host->in.fd);
	host->out.fd = -1;
	leave(port);
	if (host->kind == HOST_CALLS)
		call_later(host);
}

// Takes over a connected socket.
static void adopt(struct port *port, int fd)
{
	struct host *host = &port->host;

	host->in.fd = fd;
	host->out.fd = fd;
	if (watch_streams(port)) {
		close_fd(&host->in.fd);
		host->out.fd = -1;
		return;
	}
	join(port);
}

// The next client, once the one before has gone or at least does not talk both ways any more.
static void accept_next(struct port *port)
{
	struct host *host = &port->host;
	int fd;

	if (!host->knocked || (host->present && !host->in.ended && !host->out.ended))
		return;
	fd = listener_accept(&host->listener);
	host->knocked = fd >= 0;
	if (fd < 0)
		return;
	if (host->present)
		hang_up(port);
	adopt(port, fd);
}

static void listener_ready(struct watch *watch, u32 events)
{
	struct host *host = container_of(watch, struct host, listener_watch);

	(void)events;
	host->knocked = true;
	accept_next(port_of(host));
}

// A pty whose slave nobody has opened hangs up; a fifo without a reader is in error. Neither tells when that ends, but inotify
// does, and to watch it anew makes epoll say how it is.
static void note_presence(struct port *port, u32 events)
{
	bool there = !(events & GONE);

	if (port->host.kind != HOST_POLLED || there == port->host.present)
		return;
	if (there)
		join(port);
	else
		leave(port);
}

static void in_ready(struct watch *watch, u32 events)
{
	struct host *host = container_of(watch, struct host, in_watch);
	struct port *port = port_of(host);

	if (events & (EPOLLIN | EPOLLRDHUP | GONE))
		host->in.ready = true;
	if (host->in.fd == host->out.fd && events & (EPOLLOUT | GONE))
		host->out.ready = true;
	if (is_socket(host) && events & GONE)
		host->out.ended = true;
	if (host->in.fd == host->out.fd)
		note_presence(port, events);
	if (host->in.ready)
		port_readable(port);
	if (host->out.ready)
		port_writable(port);
	host_settle(port);
}

static void out_ready(struct watch *watch, u32 events)
{
	struct host *host = container_of(watch, struct host, out_watch);

	host->out.ready = true;
	note_presence(port_of(host), events);
	port_writable(port_of(host));
	host_settle(port_of(host));
}

void host_settle(struct port *port)
{
	struct host *host = &port->host;

	if (is_socket(host) && host->present && host->in.ended && host->out.ended)
		hang_up(port);
	if (host->kind == HOST_LISTENS)
		accept_next(port);
}

static void presence_changed(struct watch *watch, u32 events)
{
	struct console *console = container_of(watch, struct console, presence);
	u8 ignored[4096];

	(void)events;
	while (sys(read(console->presence_fd, ignored, sizeof(ignored))) > 0)
		; // that something happened is all that counts
	for (unsigned i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];

		if (port->host.kind != HOST_POLLED)
			continue;
		unwatch_streams(port);
		if (watch_streams(port))
			return; // logged; it looks as if nobody were there
	}
}

int host_watch_presence(struct console *console)
{
	int error;

	if (console->presence_fd < 0)
		return 0;
	console->presence.ready = presence_changed;
	error = worker_watch(console->worker, console->presence_fd, EPOLLIN | EPOLLET,
			     &console->presence);
	return error ? log_errno(error, "cannot watch who opens a pty") : 0;
}

// ---- calling ----

static void called(struct watch *watch, u32 events)
{
	struct host *host = container_of(watch, struct host, call_watch);
	struct port *port = port_of(host);

	worker_unwatch(port->console->worker, host->call_fd, &host->call_watch);
	if (!(events & GONE)) {
		host->call_again_ms = CALL_AGAIN_FIRST_MS;
		adopt(port, take_fd(&host->call_fd));
		return;
	}
	close_fd(&host->call_fd);
	call_later(host);
}

// Whether the connection is there at once or not, epoll says when it is.
static void call_peer(struct port *port)
{
	struct host *host = &port->host;
	int fd = assistant_call(port->console, port->id);
	int error = fd;

	if (fd >= 0)
		error = worker_watch(port->console->worker, fd, EPOLLOUT, &host->call_watch);
	host->call_fd = fd;
	if (error == 0)
		return;
	log_debug("port %u: cannot call %s: errno %d", port->id, port->options.path, -error);
	close_fd(&host->call_fd);
	call_later(host);
}

static void time_to_call(struct watch *watch, u32 events)
{
	struct host *host = container_of(watch, struct host, timer_watch);

	(void)events; // edge-triggered and never read
	if (!host->present && host->call_fd < 0)
		call_peer(port_of(host));
}

// ---- start and stop ----

static int start_socket(struct port *port)
{
	struct host *host = &port->host;
	struct worker *worker = port->console->worker;
	int error;

	if (host->kind == HOST_LISTENS) {
		error = worker_watch(worker, host->listener.fd, EPOLLIN | EPOLLET,
				     &host->listener_watch);
		return error ? log_errno(error, "port %u: cannot watch its socket", port->id) : 0;
	}
	host->call_again_ms = CALL_AGAIN_FIRST_MS;
	error = worker_watch(worker, host->timer_fd, EPOLLIN | EPOLLET, &host->timer_watch);
	if (error)
		return log_errno(error, "port %u: cannot watch a timer", port->id);
	call_peer(port);
	return 0;
}

int host_start(struct port *port)
{
	struct host *host = &port->host;
	int error;

	host->in_watch.ready = in_ready;
	host->out_watch.ready = out_ready;
	host->listener_watch.ready = listener_ready;
	host->call_watch.ready = called;
	host->timer_watch.ready = time_to_call;
	if (is_socket(host))
		return start_socket(port);
	error = watch_streams(port);
	if (error)
		return error;
	if (host->kind == HOST_FIXED)
		join(port);
	host_settle(port);
	return 0;
}

void host_stop(struct port *port)
{
	struct host *host = &port->host;
	struct worker *worker = port->console->worker;

	unwatch_streams(port);
	if (host->kind == HOST_LISTENS)
		worker_unwatch(worker, host->listener.fd, &host->listener_watch);
	if (host->kind != HOST_CALLS)
		return;
	worker_unwatch(worker, host->timer_fd, &host->timer_watch);
	if (host->call_fd >= 0)
		worker_unwatch(worker, host->call_fd, &host->call_watch);
}
