// SPDX-License-Identifier: Apache-2.0
// The dirty log and the region of chains in flight (vhost-user.rst, "Migration", "Inflight I/O tracking"). All rings are
// paused while these run.
#include "core/requests_track.h"

#include <inttypes.h>
#include <string.h>

#include "core/log.h"
#include "core/requests_ring.h"

// The old log is in use until the new one has taken its place. Front-ends expect the description back.
int request_set_log_base(struct session *session, struct message *message, struct reply *reply)
{
	const struct vhost_user_log *log = &message->payload.log;
	int error = dirty_log_open(&session->log, log->size, log->offset, message->fds[0]);

	if (error)
		return error;
	reply->wanted = true;
	reply->len = sizeof(*log);
	reply->payload.log = *log;
	return 0;
}

int request_set_log_fd(struct session *session, struct message *message, struct reply *reply)
{
	int fd, error = request_take_event_fd(message, "SET_LOG_FD", NOTIFICATION_OTHER, &fd);

	(void)reply;
	if (error)
		return error;
	close_fd(&session->log.event_fd);
	session->log.event_fd = fd;
	return 0;
}

// What is said here of the rings' size need not be what the driver chooses: SET_VRING_NUM tells that.
static int check_inflight(const struct session *session, const char *name,
			  const struct vhost_user_inflight *asked)
{
	if (asked->queue_count == 0 || asked->queue_count > session->queue_count)
		return log_errno(-EINVAL, "%s: %u rings, not 1 to %u", name, asked->queue_count,
				 session->queue_count);
	if (asked->queue_size == 0 || asked->queue_size > DEVICE_MAX_QUEUE_SIZE)
		return log_errno(-EINVAL, "%s: rings of %u entries, not 1 to %u", name,
				 asked->queue_size, DEVICE_MAX_QUEUE_SIZE);
	return 0;
}

// A part whose version is zero has never been used. What lies behind is not touched, since that would take memory.
static void make_unused(const struct shared_map *map, unsigned queue_count)
{
	for (unsigned i = 0; i < queue_count; i++)
		memset(map->bytes + i * (map->len / queue_count), 0, INFLIGHT_HEAD_LEN);
}

// It may be the one in use, which the rings then begin anew. Nothing is in flight, unless it is left in another process's region.
static void forget_old_use(struct session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++) {
		struct inflight *inflight = &session->queues[i].vring.inflight;

		if (!inflight_next_left(inflight) && !inflight->fresh)
			inflight_forget(inflight);
	}
}

// vhost-user.rst, VHOST_USER_GET_INFLIGHT_FD: there is one region, whoever asks. It has room for the largest rings that we
// serve, since a front-end may ask before it knows how large its driver's are.
int request_get_inflight_fd(struct session *session, struct message *message, struct reply *reply)
{
	struct vhost_user_inflight *answer = &reply->payload.inflight;
	struct shared_map map;
	int error = check_inflight(session, "GET_INFLIGHT_FD", &message->payload.inflight);

	if (error)
		return error;
	*answer = message->payload.inflight;
	answer->size = session_inflight_len(session, answer->queue_count);
	answer->offset = 0;
	error = shared_map_open(&map, "inflight region", answer->size, 0, session->inflight_fd);
	if (error)
		return error;
	make_unused(&map, answer->queue_count);
	forget_old_use(session);
	shared_map_close(&map);
	reply->wanted = true;
	reply->len = message->header.size;
	reply->fd = session->inflight_fd;
	return 0;
}

// vhost-user.rst, VHOST_USER_SET_INFLIGHT_FD: the region of this process or of one before. What of it belongs to a ring follows
// from its length alone, since back-ends differ in how they divide it.
int request_set_inflight_fd(struct session *session, struct message *message, struct reply *reply)
{
	const struct vhost_user_inflight *asked = &message->payload.inflight;
	struct shared_map map;
	int error = check_inflight(session, "SET_INFLIGHT_FD", asked);

	(void)reply;
	if (!error &&
	    asked->size / asked->queue_count < inflight_least_len(asked->queue_size, false))
		error = log_errno(-EINVAL,
				  "SET_INFLIGHT_FD: %#" PRIx64
				  " bytes are too few for %u rings of %u",
				  asked->size, asked->queue_count, asked->queue_size);
	if (!error &&
	    (asked->offset % sizeof(u64) || asked->size / asked->queue_count % sizeof(u64)))
		error = log_errno(-EINVAL,
				  "SET_INFLIGHT_FD: %#" PRIx64 " bytes at %#" PRIx64
				  " are not aligned",
				  asked->size, asked->offset);
	if (!error)
		error = shared_map_open(&map, "inflight region", asked->size, asked->offset,
					message->fds[0]);
	if (error)
		return error;
	session_attach_inflight(session, 0);
	shared_map_close(&session->inflight);
	session->inflight = map;
	session_attach_inflight(session, asked->queue_count);
	return 0;
}
