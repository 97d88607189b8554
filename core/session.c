// SPDX-License-Identifier: Apache-2.0
// The state that one front-end builds up, and its end.
#include "core/session.h"

#include "core/connection.h"
#include "core/device_setup.h"
#include "core/log.h"

static int init_queues(struct session *session, struct worker *workers, unsigned worker_count)
{
	const struct device_ops *ops = session->device->ops;
	unsigned wanted = ops->queue_count(session->device);
	unsigned max_size = ops->queue_size ? ops->queue_size(session->device) : DEVICE_QUEUE_SIZE;

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

int session_init(struct session *session, struct device *device, struct worker *workers,
		 unsigned worker_count)
{
	int error;

	session->device = device;
	session->workers = workers;
	session->queues = NULL;
	session->queue_count = 0;
	session->memory.count = 0; // the regions behind it stay untouched
	session->next_memory.count = 0;
	session->config_changed = false;
	session->backend_fd = -1;
	session->features = 0;
	session->protocol_features = 0;
	error = init_queues(session, workers, worker_count);
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
}

u64 session_offered_features(const struct session *session)
{
	return session->device->ops->features(session->device) | BIT64(VIRTIO_F_VERSION_1) |
	       BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX) |
	       BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
}

u64 session_offered_protocol_features(const struct session *session)
{
	u64 features = BIT64(VHOST_USER_PROTOCOL_F_MQ) | BIT64(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
		       BIT64(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
		       BIT64(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
		       BIT64(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);

	if (session->device->ops->config)
		features |= BIT64(VHOST_USER_PROTOCOL_F_CONFIG);
	return features;
}

// vhost-user.rst, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG; "Suspended device state": not before a ring runs.
static void tell_config_change(struct session *session)
{
	if (!session->config_changed || session->backend_fd < 0 || !session_is_running(session))
		return;
	session->config_changed = false;
	connection_notify(session->backend_fd, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
}

void session_start_queues(struct session *session)
{
	for (unsigned i = 0; session->features && i < session->queue_count; i++)
		queue_start(&session->queues[i], &session->memory, session->features);
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

void session_reset(struct session *session)
{
	session_stop_queues(session);
	for (unsigned i = 0; i < session->queue_count; i++)
		queue_reset(&session->queues[i]);
	guest_memory_clear(&session->memory);
	close_fd(&session->backend_fd);
	session->features = 0;
	session->protocol_features = 0;
	session->config_changed = false;
	device_negotiated(session->device, session->workers, 0);
	device_reset(session->device, session->workers);
}

void session_config_changed(struct session *session)
{
	session->config_changed = true;
	tell_config_change(session);
}
