// SPDX-License-Identifier: Apache-2.0
// Serves one device: starts the workers, takes one front-end after the other, ends on a signal.
#pragma once

#include "core/connection.h"
#include "core/listener.h"
#include "core/session.h"

enum { SERVER_MAX_WORKERS = 64 };

struct server_options {
	unsigned workers;	 // wanted; never more than the device has queues
	const int *cpus;	 // worker i runs on cpus[i % cpu_count]
	unsigned cpu_count;	 // 0: anywhere
	bool exit_on_disconnect; // serve one front-end and end
	u64 ring_features;	 // as session_init
};

struct server {
	struct device *device;
	struct listener *listener;
	bool exit_on_disconnect;
	struct worker workers[SERVER_MAX_WORKERS];
	unsigned worker_count;
	struct session session;
	struct connection connection;
	struct event_loop loop;
	struct watch listener_watch, connection_watch, config_watch, broken_watch, signal_watch,
		fault_watch, peer_watch;
	int fault_event_fd;
	int peer_fd; // a pidfd of the front-end's process; -1: unknown, or ended
	bool peer_has_ended;
	bool listener_watched, told_of_waiting;
	int call_back_ms; // until a peer that we call is called again
	u64 call_at_ns;
	bool ended;
	bool leaving; // the front-end is being let go
	int result;   // of the last connection: 0, or -errno if the front-end broke the protocol
};

// SIGTERM and SIGINT end server_serve from here on, even if they come before it is called, and SIGHUP has the device look at
// what it is made of, if it can do that. To be called before anything is made that must not stay behind, such as a socket file.
void server_catch_signals(void);

// How many fds there will be at once, at most, beside those that are open before server_init.
unsigned server_more_fds(const struct device *device, const struct server_options *options);

// Starts the workers and the device on them, and reserves all memory. Device and listener stay the caller's.
// Signals are caught from here on, so there is one server in a process. 0 or -errno, logged.
must_check int server_init(struct server *server, struct device *device, struct listener *listener,
			   const struct server_options *options);

// Offers postcopy by this fd of postcopy_open, which is the server's from here on. Before server_serve.
void server_offer_postcopy(struct server *server, int userfault_fd);

// Serves until SIGTERM, SIGINT, or the last front-end has gone. A front-end that disconnects, even in the middle
// of a message, is no error: 0. -errno if the only front-end broke the protocol, or none can be had.
must_check int server_serve(struct server *server);

// Finishes what is in flight and lets go of the front-end. All that a process needs to do that then ends.
void server_drain(struct server *server);

// Runs the function on each worker in turn.
void server_on_workers(struct server *server, void (*function)(void *context), void *context);

// The system calls that the control thread makes from server_serve on.
extern const struct syscall_rule server_rules[];
extern const size_t server_rule_count;

// Drains, ends the workers and gives everything back.
void server_fini(struct server *server);
