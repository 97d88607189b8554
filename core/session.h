// SPDX-License-Identifier: Apache-2.0
// One front-end as the device sees it: negotiated features, shared memory, rings. It outlives connections:
// a new front-end finds it reset. Control thread.
#pragma once

#include "core/device_state.h"
#include "core/postcopy.h"
#include "core/queue.h"

struct session {
	struct device *device;
	u64 ring_features; // offered beside what always is: of RING_PACKED and IN_ORDER
	struct worker *workers;
	struct queue *queues;
	unsigned queue_count;
	struct guest_memory memory;
	struct guest_memory next_memory; // a table that is being received, kept here for its size
	struct postcopy postcopy;
	struct dirty_log log;
	int inflight_fd; // the region that we hand out; sealed, as long as any that we can serve
	struct shared_map inflight; // the region in use
	bool config_changed;	    // and the front-end has not been told
	bool ring_broke;	    // and the front-end does not know that
	bool active;		    // the device has what its rings need to run
	bool memory_seen;	    // this front-end has shared memory with us
	bool rings_seen;	    // and run a ring
	bool held_up;		    // it lacks that for now: session_start_queues asks it again
	int backend_fd;		    // socket for requests of ours to the front-end; -1: none; owned
	bool channel_is_new;	    // backend_fd came after the last owner, and before its driver
	bool owned;		    // SET_OWNER has come
	bool negotiated;	    // the driver has accepted features, if only none
	u64 features;		    // which
	u64 driver_features;	    // those with which a ring ran last
	bool driver_in_doubt;	    // no ring that runs has told whether the driver is a new one
	u64 protocol_features;	    // accepted by the front-end
	bool features_refused;	    // the last SET_FEATURES
	u8 status;		    // the front-end's part of the device status
	struct device_state state;
};

// Reserves the device's queues, queue i on worker i % worker_count. 0 or -ENOMEM (logged).
must_check int session_init(struct session *session, struct device *device, struct worker *workers,
			    unsigned worker_count, u64 ring_features);
void session_fini(struct session *session);

// Bytes of the region of chains in flight for that many rings, of any size that we serve.
u64 session_inflight_len(const struct session *session, unsigned queue_count);

// Has each ring keep its chains in flight in its part of session->inflight. No ring runs.
void session_attach_inflight(struct session *session, unsigned queue_count);

// Feature bits that the driver may accept, and protocol feature bits that the front-end may.
u64 session_offered_features(const struct session *session);
u64 session_offered_protocol_features(const struct session *session);

// Starts each ring that has all it needs and does not run yet, if the device can be active.
void session_start_queues(struct session *session);
// Waits no longer for memory that the front-end has not brought yet (core/postcopy.h).
void session_abandon_memory(struct session *session);

// Takes all rings back; what the front-end said stays, so that session_start_queues goes on where they were.
void session_stop_queues(struct session *session);
bool session_is_running(const struct session *session);
// vhost-user.rst, "Suspended device state": no ring runs, nor does the front-end want one to.
bool session_is_suspended(const struct session *session);

// The front-end has gone: stop, unmap, forget.
void session_reset(struct session *session);

// The front-end has another device on the same connection: as above, but for what it has said of that one already, which is the
// protocol features and maybe its channel.
void session_begin_anew(struct session *session);

// Closes the sockets that the front-end has given us: it does not need them any more, and its own end of the connection may be among
// them, or on its way through one, so that it would never be closed.
void session_drop_sockets(struct session *session);

// Whatever rings are set up next is no news of the driver.
void session_forget_driver(struct session *session);

// What the device is made of may have changed: it looks, with all rings stopped for a moment.
void session_refresh(struct session *session);

// The device's configuration has changed: the front-end is told, if it listens to that and a ring runs.
void session_config_changed(struct session *session);

// A ring may have broken: as above, once the driver is ok.
void session_ring_broke(struct session *session);
bool session_has_broken_ring(const struct session *session);
