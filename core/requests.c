// SPDX-License-Identifier: Apache-2.0
// The table of requests (vhost-user.rst, "Front-end message types") and the dispatcher that enforces its columns.
//
// The front-end is an adversary. A handler runs only after its row holds: payload size, fds, ring index and
// negotiated feature are checked, and the rings are stopped as the row says. A handler that fails changes
// nothing. Every fd that it does not take is closed.
#include "core/requests.h"

#include <inttypes.h>
#include <string.h>

#include "core/device_setup.h"
#include "core/log.h"
#include "core/requests_memory.h"
#include "core/requests_postcopy.h"
#include "core/requests_ring.h"
#include "core/requests_state.h"
#include "core/requests_track.h"
#include "core/sys.h"

static int get_features(struct session *session, struct message *message, struct reply *reply)
{
	(void)message;
	return reply_u64(reply, session_offered_features(session));
}

// vhost-user.rst, "Ring states": without VHOST_USER_F_PROTOCOL_FEATURES all rings are enabled from the start, with it
// each by its message, which may have come already.
static void enable_by_feature(struct session *session, u64 features)
{
	const u64 bit = BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
	bool was_off = session->negotiated && !(session->features & bit);

	for (unsigned i = 0; i < session->queue_count; i++)
		if (!(features & bit))
			session->queues[i].enabled = true;
		else if (was_off)
			session->queues[i].enabled = false;
}

// vhost-user.rst, "Migration": a front-end turns logging on and off while rings run.
static bool is_log_change(const struct session *session, u64 features)
{
	return session->negotiated &&
	       ((features ^ session->features) & ~BIT64(VHOST_F_LOG_ALL)) == 0;
}

// VIRTIO 1.3, 2.2.3 "Legacy Interface: A Note on Feature Bits", 2.4.3 "Legacy Interfaces: A Note on Virtqueue Endianness": firmware
// may drive a transitional device so. What the guest's byte order is, the front-end knows, and refuses what is not the host's; ours
// then has to be that of modern drivers, too. All that differs beside that is in the front-end.
static bool is_legacy(u64 features)
{
	return !(features & BIT64(VIRTIO_F_VERSION_1));
}

static bool legacy_is_possible(u64 features)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && features <= UINT32_MAX;
}

static int accept_features(struct session *session, u64 features)
{
	u64 unknown = features & ~session_offered_features(session);

	if (unknown)
		return log_errno(-EINVAL, "SET_FEATURES: bits %#" PRIx64 " were not offered",
				 unknown);
	if (is_legacy(features) && !legacy_is_possible(features))
		return log_errno(-EINVAL,
				 "SET_FEATURES: %#" PRIx64
				 " lacks VIRTIO_F_VERSION_1, and what a legacy "
				 "driver cannot do is among them, or this host is big-endian",
				 features);
	if (is_log_change(session, features)) {
		session_stop_queues(session); // they go on with it
		session->features = features;
		return 0;
	}
	if (session_is_running(session))
		return log_errno(-EBUSY, "SET_FEATURES: cannot change while a ring runs");
	enable_by_feature(session, features);
	session->negotiated = true;
	session->channel_is_new = false;
	session->features = features;
	device_negotiated(session->device, session->workers, features & ~BIT64(VHOST_F_LOG_ALL));
	return 0;
}

static int set_features(struct session *session, struct message *message, struct reply *reply)
{
	int error = accept_features(session, message->payload.u64);

	(void)reply;
	session->features_refused = error && error != -EBUSY; // the ones in force stay so
	return error;
}

static int get_protocol_features(struct session *session, struct message *message,
				 struct reply *reply)
{
	(void)message;
	return reply_u64(reply, session_offered_protocol_features(session));
}

static int set_protocol_features(struct session *session, struct message *message,
				 struct reply *reply)
{
	const u64 with_region = BIT64(VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT);
	const u64 region = BIT64(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
	u64 unknown = message->payload.u64 & ~session_offered_protocol_features(session);

	(void)reply;
	if (unknown)
		return log_errno(-EINVAL,
				 "SET_PROTOCOL_FEATURES: bits %#" PRIx64 " were not offered",
				 unknown);
	// vhost-user.rst, VHOST_USER_GET_VRING_BASE
	if (message->payload.u64 & with_region && !(message->payload.u64 & region))
		return log_errno(-EINVAL, "SET_PROTOCOL_FEATURES: GET_VRING_BASE_INFLIGHT without "
					  "INFLIGHT_SHMFD");
	session->protocol_features = message->payload.u64;
	if (!(session->protocol_features & BIT64(VHOST_USER_PROTOCOL_F_BACKEND_REQ)))
		close_fd(&session->backend_fd);
	return 0;
}

// vhost-user.rst, VHOST_USER_SET_OWNER: a session begins. A front-end that keeps its connection may have another device on it now
// (docs/adr/0009-when-a-driver-is-new.md).
static int set_owner(struct session *session, struct message *message, struct reply *reply)
{
	(void)message;
	(void)reply;
	if (session->owned)
		session_begin_anew(session);
	session->owned = true;
	session->channel_is_new = false;
	return 0;
}

static int get_queue_num(struct session *session, struct message *message, struct reply *reply)
{
	(void)message;
	return reply_u64(reply, session->queue_count);
}

// vhost-user.rst, VHOST_USER_SET_BACKEND_REQ_FD: the channel for requests of ours. User Mode Linux does not take
// interrupts from a back-end that refuses it.
static int set_backend_req_fd(struct session *session, struct message *message, struct reply *reply)
{
	(void)reply;
	if (!sys_is_unix_socket(message->fds[0]))
		return log_errno(-ENOTSOCK,
				 "SET_BACKEND_REQ_FD: the file descriptor is no unix socket");
	close_fd(&session->backend_fd);
	session->backend_fd = message_take_fd(message, 0);
	session->channel_is_new = true;
	return 0;
}

// vhost-user.rst, VHOST_USER_GET_CONFIG: the same header and the bytes asked for, zero beyond the device's
// configuration; an empty payload says that it could not be read.
static int get_config(struct session *session, struct message *message, struct reply *reply)
{
	const struct vhost_user_config *asked = &message->payload.config;
	struct vhost_user_config *answer = &reply->payload.config;
	const size_t header_len = offsetof(struct vhost_user_config, data);
	u8 config[DEVICE_MAX_CONFIG + VHOST_USER_MAX_CONFIG] = {0};

	reply->wanted = true;
	if (asked->size == 0 || asked->size > VHOST_USER_MAX_CONFIG ||
	    asked->offset > DEVICE_MAX_CONFIG || message->header.size < header_len + asked->size) {
		log_error("GET_CONFIG: %u bytes at %u cannot be read", asked->size, asked->offset);
		return 0;
	}
	device_config(session->device, session->workers, config);
	*answer = (struct vhost_user_config){
		.offset = asked->offset, .size = asked->size, .flags = asked->flags};
	memcpy(answer->data, config + asked->offset, asked->size);
	reply->len = header_len + asked->size;
	return 0;
}

// vhost-user.rst, VHOST_USER_SET_CONFIG. Front-ends disagree on which of the flags 0 and 1 means "writable".
static int set_config(struct session *session, struct message *message, struct reply *reply)
{
	const struct vhost_user_config *asked = &message->payload.config;
	u8 config[DEVICE_MAX_CONFIG];
	size_t config_len = device_config(session->device, session->workers, config);
	u64 end = (u64)asked->offset + asked->size;

	(void)reply;
	if (asked->size == 0 || end > config_len || asked->flags > 1 ||
	    message->header.size < offsetof(struct vhost_user_config, data) + asked->size)
		return log_errno(-EINVAL,
				 "SET_CONFIG: %u bytes at %u with flags %#x cannot be written",
				 asked->size, asked->offset, asked->flags);
	return device_config_write(session->device, session->workers, asked->offset, asked->data,
				   asked->size);
}

#define PAYLOAD(member) \
	.payload_min = sizeof(((union vhost_user_payload *)0)->member), \
	.payload_max = sizeof(((union vhost_user_payload *)0)->member)
#define PAYLOAD_BETWEEN(min, max) .payload_min = (min), .payload_max = (max)
// With or without the padding at its end.
#define PAYLOAD_INFLIGHT \
	PAYLOAD_BETWEEN(offsetof(struct vhost_user_inflight, queue_size) + sizeof(u16), \
			sizeof(struct vhost_user_inflight))
// A region, or no more than a front-end's word that it will bring what is missing.
#define PAYLOAD_REGION PAYLOAD_BETWEEN(sizeof(u64), sizeof(struct vhost_user_single_region))
#define NEEDS(feature) .needs = BIT64(VHOST_USER_PROTOCOL_F_##feature)
#define ROW(request, handler) [VHOST_USER_##request] = {.name = #request, .handle = (handler)

// clang-format off
static const struct request request_table[] = {
	ROW(GET_FEATURES, get_features)},
	ROW(SET_FEATURES, set_features), PAYLOAD(u64)},
	ROW(SET_OWNER, set_owner)},
	ROW(RESET_OWNER, request_reset_owner), .rings = RINGS_ALL_PAUSED},
	ROW(SET_MEM_TABLE, request_set_mem_table),
		PAYLOAD_BETWEEN(offsetof(struct vhost_user_memory, regions), sizeof(struct vhost_user_memory)),
		.fds_max = VHOST_USER_MAX_REGIONS, .rings = RINGS_ALL_PAUSED},
	ROW(SET_LOG_BASE, request_set_log_base), NEEDS(LOG_SHMFD), PAYLOAD(log), .fds_min = 1, .fds_max = 1,
		.rings = RINGS_ALL_PAUSED},
	ROW(SET_LOG_FD, request_set_log_fd), .fds_min = 1, .fds_max = 1, .rings = RINGS_ALL_PAUSED},
	ROW(SET_VRING_NUM, request_set_vring_num), PAYLOAD(state), .index = INDEX_STATE, .rings = RING_STOPPED},
	ROW(SET_VRING_ADDR, request_set_vring_addr), PAYLOAD(addr), .index = INDEX_STATE, .rings = RING_PAUSED},
	ROW(SET_VRING_BASE, request_set_vring_base), PAYLOAD(state), .index = INDEX_STATE, .rings = RING_STOPPED},
	ROW(GET_VRING_BASE, request_get_vring_base), PAYLOAD(state), .index = INDEX_STATE, .rings = RING_PAUSED},
	ROW(SET_VRING_KICK, request_set_vring_kick), PAYLOAD(u64), .fds_max = 1, .index = INDEX_FD,
		.rings = RING_PAUSED},
	ROW(SET_VRING_CALL, request_set_vring_call), PAYLOAD(u64), .fds_max = 1, .index = INDEX_FD},
	ROW(SET_VRING_ERR, request_set_vring_err), PAYLOAD(u64), .fds_max = 1, .index = INDEX_FD},
	ROW(GET_PROTOCOL_FEATURES, get_protocol_features)},
	ROW(SET_PROTOCOL_FEATURES, set_protocol_features), PAYLOAD(u64)},
	ROW(GET_QUEUE_NUM, get_queue_num), NEEDS(MQ)},
	ROW(SET_VRING_ENABLE, request_set_vring_enable), PAYLOAD(state), .index = INDEX_STATE, .rings = RING_PAUSED},
	ROW(SET_BACKEND_REQ_FD, set_backend_req_fd), NEEDS(BACKEND_REQ), .fds_min = 1, .fds_max = 1},
	ROW(GET_CONFIG, get_config), NEEDS(CONFIG),
		PAYLOAD_BETWEEN(offsetof(struct vhost_user_config, data), sizeof(struct vhost_user_config))},
	ROW(SET_CONFIG, set_config), NEEDS(CONFIG), .rings = RINGS_ALL_PAUSED,
		PAYLOAD_BETWEEN(offsetof(struct vhost_user_config, data), sizeof(struct vhost_user_config))},
	ROW(GET_INFLIGHT_FD, request_get_inflight_fd), NEEDS(INFLIGHT_SHMFD), PAYLOAD_INFLIGHT, .rings = RINGS_ALL_PAUSED},
	ROW(SET_INFLIGHT_FD, request_set_inflight_fd), NEEDS(INFLIGHT_SHMFD), PAYLOAD_INFLIGHT, .fds_min = 1, .fds_max = 1,
		.rings = RINGS_ALL_PAUSED},
	ROW(RESET_DEVICE, request_reset_device), NEEDS(RESET_DEVICE), .rings = RINGS_ALL_PAUSED},
	ROW(GET_MAX_MEM_SLOTS, request_get_max_mem_slots), NEEDS(CONFIGURE_MEM_SLOTS)},
	ROW(ADD_MEM_REG, request_add_mem_reg), NEEDS(CONFIGURE_MEM_SLOTS), PAYLOAD_REGION, .fds_max = 1,
		.rings = RINGS_ALL_PAUSED},
	ROW(REM_MEM_REG, request_rem_mem_reg), NEEDS(CONFIGURE_MEM_SLOTS), PAYLOAD_REGION, .fds_max = 1,
		.rings = RINGS_ALL_PAUSED},
	ROW(NONE, request_none), NEEDS(PAGEFAULT), PAYLOAD(u64)},
	ROW(POSTCOPY_ADVISE, request_postcopy_advise), NEEDS(PAGEFAULT)},
	ROW(POSTCOPY_LISTEN, request_postcopy_listen), NEEDS(PAGEFAULT), .rings = RINGS_ALL_PAUSED},
	ROW(POSTCOPY_END, request_postcopy_end), NEEDS(PAGEFAULT)},
	ROW(SET_STATUS, request_set_status), NEEDS(STATUS), PAYLOAD(u64)},
	ROW(GET_STATUS, request_get_status), NEEDS(STATUS)},
	ROW(SET_DEVICE_STATE_FD, request_set_device_state_fd), NEEDS(DEVICE_STATE), PAYLOAD(transfer),
		.fds_min = 1, .fds_max = 1},
	ROW(CHECK_DEVICE_STATE, request_check_device_state), NEEDS(DEVICE_STATE)},
};
// clang-format on

static const struct request *find_request(u32 number)
{
	if (number >= ARRAY_SIZE(request_table) || !request_table[number].handle)
		return NULL;
	return &request_table[number];
}

static u64 message_index(const struct request *request, const struct message *message)
{
	if (request->index == INDEX_FD)
		return message->payload.u64 & ~(u64)VHOST_USER_VRING_NO_FD;
	return message->payload.state.index;
}

// The ring that the message is about, or NULL if it is about none, or its index is none of ours.
static struct queue *message_queue(struct session *session, const struct request *request,
				   const struct message *message)
{
	u64 index = message_index(request, message);

	if (request->index == INDEX_NONE || index >= session->queue_count)
		return NULL;
	return &session->queues[index];
}

static int check_row(struct session *session, const struct request *request,
		     const struct message *message)
{
	u32 size = message->header.size;

	if (size < request->payload_min || size > request->payload_max)
		return log_errno(-EINVAL, "%s: %u bytes of payload, not %u to %u", request->name,
				 size, request->payload_min, request->payload_max);
	if (message->fd_count < request->fds_min || message->fd_count > request->fds_max)
		return log_errno(-EINVAL, "%s: %u file descriptors, not %u to %u", request->name,
				 message->fd_count, request->fds_min, request->fds_max);
	if ((session->protocol_features & request->needs) != request->needs)
		return log_errno(-EINVAL, "%s: its protocol feature was not negotiated",
				 request->name);
	if (request->index != INDEX_NONE && !message_queue(session, request, message))
		return log_errno(-EINVAL, "%s: ring %#" PRIx64 " is none of the %u", request->name,
				 message_index(request, message), session->queue_count);
	return 0;
}

// Brings the rings into the state that the row demands.
static int prepare_rings(struct session *session, const struct request *request,
			 const struct message *message)
{
	struct queue *queue = message_queue(session, request, message);

	assert(queue || request->index == INDEX_NONE); // check_row
	switch (request->rings) {
	case RINGS_ANY:
		break;
	case RING_STOPPED:
		if (queue->running)
			return log_errno(-EBUSY, "%s: ring %u runs", request->name,
					 queue->vring.index);
		break;
	case RING_PAUSED:
		queue_stop(queue);
		break;
	case RINGS_ALL_PAUSED:
		session_stop_queues(session);
		break;
	}
	return 0;
}

static int run_request(struct session *session, struct message *message, struct reply *reply)
{
	const struct request *request = find_request(message->header.request);
	int error;

	if (!request)
		return log_errno(-EOPNOTSUPP, "request %u is not supported",
				 message->header.request);
	error = check_row(session, request, message);
	if (!error)
		error = prepare_rings(session, request, message);
	if (!error)
		error = request->handle(session, message, reply);
	log_debug("%s: %u bytes, %u fds: %d", request->name, message->header.size,
		  message->fd_count, error);
	session_start_queues(session);
	return error;
}

// A message about a ring that cannot start may be believed, yet it has not done what it was for. Not so one about all rings: the
// front-end may still be on its way to say where a ring is.
static bool leaves_ring_stuck(struct session *session, const struct message *message)
{
	const struct request *request = find_request(message->header.request);
	const struct queue *queue = request ? message_queue(session, request, message) : NULL;

	return queue && queue_is_stuck(queue);
}

// vhost-user.rst, "Communication" and VHOST_USER_PROTOCOL_F_REPLY_ACK: requests with a reply of their own send just
// that; of the others, those that ask for it get 0 or 1. A request that fails unasked ends the connection.
static int respond(struct session *session, struct connection *connection,
		   const struct reply *reply, int error)
{
	const struct vhost_user_header *header = &connection->message.header;
	bool asked = header->flags & VHOST_USER_NEED_REPLY &&
		     session->protocol_features & BIT64(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	u64 ack = error || leaves_ring_stuck(session, &connection->message);

	if (!error && reply->wanted)
		return connection_reply(connection, header->request, &reply->payload, reply->len,
					reply->fd);
	if (asked)
		return connection_reply(connection, header->request, &ack, sizeof(ack), -1);
	return error;
}

int requests_handle(struct session *session, struct connection *connection)
{
	struct message *message = &connection->message;
	struct reply reply = {.wanted = false, .fd = -1};
	int error = run_request(session, message, &reply);

	message_close_fds(message);
	return respond(session, connection, &reply, error);
}
