// SPDX-License-Identifier: Apache-2.0
// The host's side of a port: one reader and writer at a time, who may come and go.
#pragma once

#include <sys/socket.h>

#include "applets/console/terminal.h"
#include "core/listener.h"
#include "core/worker.h"

struct console;
struct port;
struct port_options;

// How we know that somebody is there.
enum host_kind {
	HOST_FIXED,   // always: stdio, fd, file, null
	HOST_POLLED,  // poll says it; inotify says when to ask: pty, fifo
	HOST_LISTENS, // unix, tcp: when a client has connected
	HOST_CALLS,   // unix, tcp: when we have
};

// One direction, watched edge-triggered, so that we remember what epoll said.
struct stream {
	int fd;
	int old_flags; // to give back to those who share the open file; -1: nobody does
	bool ready;    // the next call may do something
	bool ended;
	bool polled; // false: a regular file, which is always ready
};

struct host {
	enum host_kind kind;
	struct stream in, out; // fd -1: there is none; the same fd: a socket or pty
	struct watch in_watch, out_watch;
	bool present;
	bool out_failing; // the last write did, to what does not come and go; logged once

	struct listener listener; // of HOST_LISTENS
	struct watch listener_watch;
	bool knocked; // somebody may be waiting to be accepted

	struct sockaddr_storage address; // of HOST_CALLS
	socklen_t address_len;
	int call_fd; // a connection on its way; -1: none
	struct watch call_watch;
	int timer_fd; // for when to call again
	struct watch timer_watch;
	unsigned call_again_ms;

	const char *link;   // a symbolic link to the pty that we made, or NULL
	char pty[32];	    // the name of the pty's slave
	struct termios raw; // what every client of the pty finds
};

// host_open.c: what is wrong with a port's options that can be seen from them alone. 0 or -EINVAL, logged.
must_check int host_check(const struct port_options *options);
// Closed, and then opens what the port's options say, and says where. 0 or -errno, logged. Before the lockdown.
void host_init(struct host *host);
must_check int host_open(struct port *port, const char *link);
void host_close(struct port *port);
// What would stay behind: a socket's file, a link, if they are still ours. In the assistant as well.
void host_remove_files(const struct host *host);
// Makes host->call_fd a socket that is on its way to host->address, if not there already. 0 or -errno, nothing logged.
must_check int host_connect(struct host *host);

// host.c: the rest of its life, on the worker.
must_check int host_start(struct port *port);
void host_stop(struct port *port);
// Somebody has opened or closed a pty or fifo.
must_check int host_watch_presence(struct console *console);

// Bytes read or written; 0: none now. A host that ends or goes is settled by the caller with host_settle.
size_t host_read(struct port *port, u8 *bytes, size_t len);
size_t host_write(struct port *port, const u8 *bytes, size_t len);
void host_settle(struct port *port);

// True if output waits for this reader: it is there and reads, if perhaps slowly.
bool host_reads(const struct host *host);
