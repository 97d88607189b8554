// SPDX-License-Identifier: Apache-2.0
// The state that one front-end builds up, and its end.
#include "core/session.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "core/connection.h"
#include "core/device_setup.h"
#include "core/log.h"
#include "core/memory_fault.h"
#include "core/sys.h"

static unsigned queue_max_size(const struct device *device)
{
	return device->ops->queue_size ? device->ops->queue_size(device) : DEVICE_QUEUE_SIZE;
}

static int init_queues(struct session *session, struct worker *workers, unsigned worker_count)
{
	const struct device_ops *ops = session->device->ops;
	unsigned wanted = ops->queue_count(session->device);
	unsigned max_size = queue_max_size(session->device);

	assert(wanted > 0 && wanted <= DEVICE_MAX_QUEUES);
	session->queues = calloc(wanted, sizeof(*session->queues));
	if (!session->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < wanted; i++) {
		int error = queue_init(&session->queues[i], session->device, i, max_size,
				       &workers[i % worker_count]);

		if (error)
			return error;
		session->queue_count++;
	}
	return 0;
}

u64 session_inflight_len(const struct session *session, unsigned queue_count)
{
	return queue_count * inflight_len(queue_max_size(session->device));
}

// Made before the lockdown, for all front-ends to come; it takes no memory before it is used. Whoever gets it cannot change
// its size.
static int make_inflight_region(struct session *session)
{
	u64 len = session_inflight_len(session, session->queue_count);
	int fd = sys_int(memfd_create("vhost-multi-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING));

	if (fd < 0)
		return fd;
	session->inflight_fd = fd;
	if (ftruncate(fd, (off_t)len) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return -errno;
	return 0;
}

void session_attach_inflight(struct session *session, unsigned queue_count)
{
	u64 len = queue_count ? session->inflight.len / queue_count : 0;

	for (unsigned i = 0; i < session->queue_count; i++) {
		bool has_part = i < queue_count;

		inflight_attach(&session->queues[i].vring.inflight,
				has_part ? session->inflight.bytes + i * len : NULL,
				has_part ? len : 0);
	}
}

// Member by member: the regions behind memory.count stay untouched.
static void clear(struct session *session)
{
	session->queues = NULL;
	session->queue_count = 0;
	session->memory.count = 0;
	session->next_memory.count = 0;
	session->config_changed = false;
	session->ring_broke = false;
	session->postcopy = (struct postcopy){.fd = -1};
	session->log = (struct dirty_log){.event_fd = -1};
	session->inflight = (struct shared_map){0};
	session->inflight_fd = -1;
	session->active = false;
	session->held_up = false;
	session->memory_seen = false;
	session->rings_seen = false;
	session->backend_fd = -1;
	session->channel_is_new = false;
	session->owned = false;
	session->negotiated = false;
	session->features = 0;
	session->driver_features = 0;
	session->driver_in_doubt = true;
	session->protocol_features = 0;
	session->features_refused = false;
	session->status = 0;
}

int session_init(struct session *session, struct device *device, struct worker *workers,
		 unsigned worker_count, u64 ring_features)
{
	int error;

	clear(session);
	session->device = device;
	session->workers = workers;
	session->ring_features = ring_features;
	device_state_init(&session->state, device, workers);
	error = init_queues(session, workers, worker_count);
	if (!error)
		error = make_inflight_region(session);
	memory_fault_watch(MEMORY_FAULT_LOG, &session->log.map);
	memory_fault_watch(MEMORY_FAULT_INFLIGHT, &session->inflight);
	if (error) {
		session_fini(session);
		return log_errno(
			error, "cannot reserve the memory of the rings; use fewer or smaller ones");
	}
	return 0;
}

void session_fini(struct session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++)
		queue_fini(&session->queues[i]);
	free(session->queues);
	session->queues = NULL;
	session->queue_count = 0;
	close_fd(&session->inflight_fd);
	close_fd(&session->postcopy.fd);
}

u64 session_offered_features(const struct session *session)
{
	return session->device->ops->features(session->device) | session->ring_features |
	       BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_F_INDIRECT_DESC) |
	       BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VHOST_F_LOG_ALL) |
	       BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
}

u64 session_offered_protocol_features(const struct session *session)
{
	u64 features =
		BIT64(VHOST_USER_PROTOCOL_F_MQ) | BIT64(VHOST_USER_PROTOCOL_F_LOG_SHMFD) |
		BIT64(VHOST_USER_PROTOCOL_F_REPLY_ACK) | BIT64(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
		BIT64(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
		BIT64(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
		BIT64(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
		BIT64(VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) |
		BIT64(VHOST_USER_PROTOCOL_F_STATUS) | BIT64(VHOST_USER_PROTOCOL_F_DEVICE_STATE);

	if (session->device->ops->config)
		features |= BIT64(VHOST_USER_PROTOCOL_F_CONFIG);
	if (session->postcopy.fd >= 0)
		features |= BIT64(VHOST_USER_PROTOCOL_F_PAGEFAULT);
	return features;
}

bool session_has_broken_ring(const struct session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++)
		if (queue_is_broken(&session->queues[i]))
			return true;
	return false;
}

static bool driver_is_ok(const struct session *session)
{
	return session->protocol_features & BIT64(VHOST_USER_PROTOCOL_F_STATUS) &&
	       session->status & VIRTIO_STATUS_DRIVER_OK;
}

// vhost-user.rst, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG; "Suspended device state": not before a ring runs.
static void tell_config_change(struct session *session)
{
	bool can_be_told = session->backend_fd >= 0 &&
			   session->protocol_features & BIT64(VHOST_USER_PROTOCOL_F_CONFIG) &&
			   session_is_running(session);

	// VIRTIO 1.3, 2.1.2 "Device Requirements: Device Status Field": DEVICE_NEEDS_RESET is told so, once
	if (session->ring_broke && can_be_told && driver_is_ok(session)) {
		session->ring_broke = false;
		session->config_changed |=
			session_has_broken_ring(session); // it may have been set up anew
	}
	if (!session->config_changed || !can_be_told)
		return;
	session->config_changed = false;
	connection_notify(session->backend_fd, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
}

// Those of the driver itself; the front-end's one comes and goes meanwhile.
static u64 driver_features(const struct session *session)
{
	return session->features & ~BIT64(VHOST_F_LOG_ALL);
}

// vhost-user.rst, "Migration": what is written is logged once the front-end has said both where to and that it should be.
static const struct dirty_log *wanted_log(const struct session *session)
{
	bool wanted =
		session->features & BIT64(VHOST_F_LOG_ALL) && dirty_log_is_open(&session->log);

	return wanted ? &session->log : NULL;
}

bool session_is_suspended(const struct session *session)
{
	for (unsigned i = 0; session->negotiated && i < session->queue_count; i++)
		if (session->queues[i].started && session->queues[i].enabled)
			return false;
	return true;
}

// Makes the device active exactly while it is not suspended, as far as it can be.
static void follow_suspension(struct session *session)
{
	if (!session_is_suspended(session)) {
		if (!session->active)
			session->active = device_activate(session->device) == 0;
		session->held_up = !session->active;
	} else if (session->active || session->held_up) {
		device_deactivate(session->device);
		session->active = false;
		session->held_up = false;
	}
}

void session_forget_driver(struct session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++)
		queue_forget_driver(&session->queues[i]);
}

// What the driver before has left in the device is not this one's. No ring has taken anything for it yet.
static void reset_for_new_driver(struct session *session)
{
	log_debug("the driver is a new one: the device is reset");
	session_stop_queues(session);
	session_forget_driver(session);
	device_reset(session->device, session->workers);
	device_negotiated(session->device, session->workers, driver_features(session));
}

// docs/adr/0009-when-a-driver-is-new.md: a pause looks like a reset until rings start again. The first of them that tells decides,
// for as long as one runs.
static void look_for_new_driver(struct session *session)
{
	unsigned count[QUEUE_DRIVER_NEW + 1] = {0}, before = 0;

	if (session_is_suspended(session))
		session->driver_in_doubt = true;
	if (session_is_suspended(session) || !session->driver_in_doubt)
		return;
	for (unsigned i = 0; i < session->queue_count; i++) {
		count[queue_driver(&session->queues[i])]++;
		before += session->queues[i].has_before;
	}
	if (before > 0 && session->driver_features != driver_features(session))
		count[QUEUE_DRIVER_NEW]++;
	if (count[QUEUE_DRIVER_NEW] > 0)
		reset_for_new_driver(session);
	session->driver_features = driver_features(session);
	if (count[QUEUE_DRIVER_NEW] + count[QUEUE_DRIVER_SAME] > 0 || before == 0)
		session->driver_in_doubt = false;
}

#define SHARE_IT "QEMU: -object memory-backend-memfd,share=on; Cloud Hypervisor: --memory shared=on"

// A driver has written its rings before they run, so what it writes to is not what we see; unless nobody has written yet, as in a
// test.
static void look_for_driver(struct session *session)
{
	session->memory_seen |= session->memory.count > 0;
	if (session->rings_seen || !session_is_running(session))
		return;
	session->rings_seen = true;
	if (guest_memory_is_blank(&session->memory) && session->postcopy.fd < 0)
		log_warning("all of the guest's memory was empty when it was shared; if no request "
			    "comes, the front-end has it for itself alone (" SHARE_IT ")");
}

// How it looks when a front-end that could not share memory gives up.
static void look_back(const struct session *session)
{
	if (session->features && !session->memory_seen)
		log_warning("the front-end negotiated features, but has shared no memory; the "
			    "guest's must be shared (" SHARE_IT ")");
}

void session_start_queues(struct session *session)
{
	const struct dirty_log *log = wanted_log(session);

	if (session->state.begun && !session_is_suspended(session))
		device_state_cancel(&session->state);
	follow_suspension(session);
	look_for_new_driver(session);
	if (session->postcopy.awaited)
		return; // no memory may be touched before the front-end has said so
	for (unsigned i = 0; session->active && i < session->queue_count; i++)
		queue_start(&session->queues[i], &session->memory, log, session->features);
	look_for_driver(session);
	tell_config_change(session);
}

void session_stop_queues(struct session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++)
		queue_stop(&session->queues[i]);
}

bool session_is_running(const struct session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++)
		if (session->queues[i].running)
			return true;
	return false;
}

void session_abandon_memory(struct session *session)
{
	postcopy_abandon(&session->postcopy, &session->memory);
}

static void forget_all(struct session *session)
{
	look_back(session);
	session->memory_seen = false;
	session->rings_seen = false;
	session_stop_queues(session);
	device_state_cancel(&session->state);
	for (unsigned i = 0; i < session->queue_count; i++)
		queue_reset(&session->queues[i]);
	follow_suspension(session);
	postcopy_end(&session->postcopy, &session->memory);
	guest_memory_clear(&session->memory);
	dirty_log_close(&session->log);
	session_attach_inflight(session, 0);
	shared_map_close(&session->inflight);
	session->negotiated = false;
	session->features = 0;
	session->features_refused = false;
	session->status = 0;
	session->config_changed = false;
	session->ring_broke = false;
	device_negotiated(session->device, session->workers, 0);
	device_reset(session->device, session->workers);
}

void session_reset(struct session *session)
{
	forget_all(session);
	close_fd(&session->backend_fd);
	session->protocol_features = 0;
	session->owned = false;
	session->channel_is_new = false;
}

// Owners that are announced before any of them has brought a driver or memory are those of one device's queues, one each.
static bool has_begun(const struct session *session)
{
	return session->negotiated || session->memory.count > 0 || session->state.begun ||
	       dirty_log_is_open(&session->log) || session->inflight.bytes;
}

void session_begin_anew(struct session *session)
{
	if (!session->channel_is_new)
		close_fd(&session->backend_fd);
	if (!has_begun(session))
		return;
	forget_all(session);
	log_info("the front-end begins anew, with another device on the same connection");
}

void session_drop_sockets(struct session *session)
{
	session_stop_queues(session);
	for (unsigned i = 0; i < session->queue_count; i++)
		if (sys_is_unix_socket(session->queues[i].vring.call_fd))
			queue_set_call_fd(&session->queues[i], -1);
	close_fd(&session->backend_fd);
	device_state_cancel_socket(&session->state);
	session_start_queues(session);
}

void session_refresh(struct session *session)
{
	if (!session->device->ops->refresh) {
		log_info("SIGHUP: this device has nothing to look at anew");
		return;
	}
	session_stop_queues(session);
	device_refresh(session->device, session->workers);
	session_start_queues(session);
}

void session_config_changed(struct session *session)
{
	session->config_changed = true;
	tell_config_change(session);
}

void session_ring_broke(struct session *session)
{
	session->ring_broke = true;
	tell_config_change(session);
}
