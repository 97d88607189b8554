// SPDX-License-Identifier: Apache-2.0
//
// The requests of vhost-user, one function each.

#include "tests/frontend/frontend.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static uint32_t flags_for(const struct frontend *frontend, uint32_t request)
{
	bool ask = request < 64 && (frontend->need_reply & VU_BIT(request));

	/* Whether this request's own answer is owed is not clear: the front-ends do not ask. */
	if (request == VU_SET_PROTOCOL_FEATURES && !frontend->reply_ack)
		ask = false;
	return ask ? VU_VERSION | VU_NEED_REPLY : VU_VERSION;
}

int64_t frontend_call(struct frontend *frontend, uint32_t request, const void *payload,
		      uint32_t size, const int *fds, size_t fd_count)
{
	uint32_t flags = flags_for(frontend, request);
	struct frontend_message reply;
	int error = frontend_send(frontend, request, flags, payload, size, fds, fd_count);

	if (error || !(flags & VU_NEED_REPLY) || !frontend->reply_ack)
		return error;
	error = frontend_receive_reply(frontend, request, &reply);
	if (error)
		return error;
	if (reply.header.size != sizeof(uint64_t))
		return -EPROTO;
	return reply.payload.u64 > INT64_MAX ? INT64_MAX : (int64_t)reply.payload.u64;
}

int frontend_ask(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
		 void *reply, uint32_t reply_size)
{
	struct frontend_message message;
	int error = frontend_send(frontend, request, flags_for(frontend, request), payload, size,
				  NULL, 0);

	if (!error)
		error = frontend_receive_reply(frontend, request, &message);
	if (error)
		return error;
	if (message.header.size != reply_size)
		return -EPROTO;
	memcpy(reply, &message.payload, reply_size);
	return 0;
}

static int ask_u64(struct frontend *frontend, uint32_t request, uint64_t *value)
{
	return frontend_ask(frontend, request, NULL, 0, value, sizeof(*value));
}

static int64_t call_empty(struct frontend *frontend, uint32_t request)
{
	return frontend_call(frontend, request, NULL, 0, NULL, 0);
}

static int64_t call_u64(struct frontend *frontend, uint32_t request, uint64_t value)
{
	return frontend_call(frontend, request, &value, sizeof(value), NULL, 0);
}

int frontend_get_features(struct frontend *frontend, uint64_t *features)
{
	return ask_u64(frontend, VU_GET_FEATURES, features);
}

int64_t frontend_set_features(struct frontend *frontend, uint64_t features)
{
	return call_u64(frontend, VU_SET_FEATURES, features);
}

int frontend_get_protocol_features(struct frontend *frontend, uint64_t *features)
{
	return ask_u64(frontend, VU_GET_PROTOCOL_FEATURES, features);
}

int64_t frontend_set_protocol_features(struct frontend *frontend, uint64_t features)
{
	int64_t answer = call_u64(frontend, VU_SET_PROTOCOL_FEATURES, features);

	if (answer == 0)
		frontend->reply_ack = features & VU_BIT(VU_PROTOCOL_F_REPLY_ACK);
	return answer;
}

int64_t frontend_set_owner(struct frontend *frontend)
{
	return call_empty(frontend, VU_SET_OWNER);
}

int64_t frontend_reset_owner(struct frontend *frontend)
{
	return call_empty(frontend, VU_RESET_OWNER);
}

int64_t frontend_reset_device(struct frontend *frontend)
{
	return call_empty(frontend, VU_RESET_DEVICE);
}

int frontend_get_queue_num(struct frontend *frontend, uint64_t *queues)
{
	return ask_u64(frontend, VU_GET_QUEUE_NUM, queues);
}

int frontend_get_max_mem_slots(struct frontend *frontend, uint64_t *slots)
{
	return ask_u64(frontend, VU_GET_MAX_MEM_SLOTS, slots);
}

int64_t frontend_set_backend_req_fd(struct frontend *frontend, int fd)
{
	return frontend_call(frontend, VU_SET_BACKEND_REQ_FD, NULL, 0, &fd, 1);
}

int64_t frontend_set_status(struct frontend *frontend, uint64_t status)
{
	return call_u64(frontend, VU_SET_STATUS, status);
}

int frontend_get_status(struct frontend *frontend, uint64_t *status)
{
	return ask_u64(frontend, VU_GET_STATUS, status);
}

int frontend_set_device_state_fd(struct frontend *frontend, uint32_t direction, uint32_t phase,
				 int fd, uint64_t *answer)
{
	const struct vu_transfer transfer = {.direction = direction, .phase = phase};
	struct frontend_message reply;
	int error = frontend_send(frontend, VU_SET_DEVICE_STATE_FD,
				  flags_for(frontend, VU_SET_DEVICE_STATE_FD), &transfer,
				  sizeof(transfer), &fd, 1);

	if (!error)
		error = frontend_receive_reply(frontend, VU_SET_DEVICE_STATE_FD, &reply);
	if (error)
		return error;
	*answer = reply.payload.u64;
	return reply.header.size == sizeof(*answer) ? 0 : -EPROTO;
}

int frontend_check_device_state(struct frontend *frontend, uint64_t *answer)
{
	return ask_u64(frontend, VU_CHECK_DEVICE_STATE, answer);
}

int frontend_get_config(struct frontend *frontend, uint32_t offset, uint32_t size, uint32_t flags,
			void *data)
{
	struct vu_config config = {.offset = offset, .size = size, .flags = flags};
	uint32_t length = (uint32_t)offsetof(struct vu_config, data) + size;
	struct frontend_message reply;
	int error;

	if (size > VU_CONFIG_MAX)
		return -EINVAL;
	error = frontend_send(frontend, VU_GET_CONFIG, flags_for(frontend, VU_GET_CONFIG), &config,
			      length, NULL, 0);
	if (!error)
		error = frontend_receive_reply(frontend, VU_GET_CONFIG, &reply);
	if (error)
		return error;
	if (reply.header.size == 0)
		return -EREMOTEIO;
	if (reply.header.size != length || reply.payload.config.offset != offset ||
	    reply.payload.config.size != size)
		return -EPROTO;
	memcpy(data, reply.payload.config.data, size);
	return 0;
}

int64_t frontend_set_config(struct frontend *frontend, uint32_t offset, uint32_t size,
			    uint32_t flags, const void *data)
{
	struct vu_config config = {.offset = offset, .size = size, .flags = flags};

	if (size > VU_CONFIG_MAX)
		return -EINVAL;
	memcpy(config.data, data, size);
	return frontend_call(frontend, VU_SET_CONFIG, &config,
			     (uint32_t)offsetof(struct vu_config, data) + size, NULL, 0);
}

int64_t frontend_set_mem_table(struct frontend *frontend, const struct vu_region *regions,
			       const int *fds, size_t count)
{
	struct vu_mem_table table = {.count = (uint32_t)count};
	size_t len = count * sizeof(*regions);

	if (len > sizeof(table.regions))
		return -EINVAL;
	memcpy(table.regions, regions, len);
	return frontend_call(frontend, VU_SET_MEM_TABLE, &table,
			     (uint32_t)(offsetof(struct vu_mem_table, regions) + len), fds, count);
}

static int64_t call_region(struct frontend *frontend, uint32_t request,
			   const struct vu_region *region, const int *fds, size_t fd_count)
{
	struct vu_single_region single = {.region = *region};

	return frontend_call(frontend, request, &single, sizeof(single), fds, fd_count);
}

int64_t frontend_add_mem_reg(struct frontend *frontend, const struct vu_region *region, int fd)
{
	return call_region(frontend, VU_ADD_MEM_REG, region, &fd, 1);
}

int64_t frontend_rem_mem_reg(struct frontend *frontend, const struct vu_region *region)
{
	return call_region(frontend, VU_REM_MEM_REG, region, NULL, 0);
}

static int64_t call_vring_state(struct frontend *frontend, uint32_t request, uint32_t index,
				uint32_t num)
{
	struct vu_vring_state state = {.index = index, .num = num};

	return frontend_call(frontend, request, &state, sizeof(state), NULL, 0);
}

int64_t frontend_set_vring_num(struct frontend *frontend, uint32_t index, uint32_t num)
{
	return call_vring_state(frontend, VU_SET_VRING_NUM, index, num);
}

int64_t frontend_set_vring_addr(struct frontend *frontend, const struct vu_vring_addr *addr)
{
	return frontend_call(frontend, VU_SET_VRING_ADDR, addr, sizeof(*addr), NULL, 0);
}

int64_t frontend_set_vring_base(struct frontend *frontend, uint32_t index, uint32_t base)
{
	return call_vring_state(frontend, VU_SET_VRING_BASE, index, base);
}

int frontend_get_vring_base(struct frontend *frontend, uint32_t index, uint32_t *base)
{
	struct vu_vring_state state = {.index = index};
	int error = frontend_ask(frontend, VU_GET_VRING_BASE, &state, sizeof(state), &state,
				 sizeof(state));

	if (error)
		return error;
	*base = state.num;
	return state.index == index ? 0 : -EPROTO;
}

int64_t frontend_set_vring_enable(struct frontend *frontend, uint32_t index, bool enable)
{
	return call_vring_state(frontend, VU_SET_VRING_ENABLE, index, enable);
}

int frontend_get_inflight_fd(struct frontend *frontend, uint16_t queues, uint16_t queue_size,
			     struct vu_inflight *inflight, int *fd)
{
	const struct vu_inflight asked = {.queue_count = queues, .queue_size = queue_size};
	struct frontend_message reply;
	int error = frontend_send(frontend, VU_GET_INFLIGHT_FD, VU_VERSION, &asked, sizeof(asked),
				  NULL, 0);

	if (!error)
		error = frontend_receive(frontend, &reply);
	if (error)
		return error;
	memcpy(inflight, &reply.payload, sizeof(*inflight));
	if (reply.header.request != VU_GET_INFLIGHT_FD ||
	    reply.header.flags != (VU_VERSION | VU_REPLY) || reply.header.size != sizeof(asked) ||
	    inflight->queue_count != queues || inflight->queue_size != queue_size ||
	    reply.fd_count != 1) {
		frontend_close_fds(&reply);
		return -EPROTO;
	}
	*fd = reply.fds[0];
	return 0;
}

int64_t frontend_set_inflight_fd(struct frontend *frontend, const struct vu_inflight *inflight,
				 int fd)
{
	return frontend_call(frontend, VU_SET_INFLIGHT_FD, inflight, sizeof(*inflight), &fd, 1);
}

int frontend_set_log_base(struct frontend *frontend, uint64_t size, uint64_t offset, int fd)
{
	const struct vu_log log = {.size = size, .offset = offset};
	struct frontend_message reply;
	int error = frontend_send(frontend, VU_SET_LOG_BASE, VU_VERSION, &log, sizeof(log), &fd, 1);

	if (!error)
		error = frontend_receive_reply(frontend, VU_SET_LOG_BASE, &reply);
	if (error)
		return error;
	return reply.header.size == sizeof(log) && memcmp(&reply.payload, &log, sizeof(log)) == 0
		       ? 0
		       : -EPROTO;
}

int64_t frontend_set_log_fd(struct frontend *frontend, int fd)
{
	return frontend_call(frontend, VU_SET_LOG_FD, NULL, 0, &fd, 1);
}

static int64_t call_vring_fd(struct frontend *frontend, uint32_t request, uint32_t index, int fd)
{
	uint64_t payload = fd < 0 ? index | VU_VRING_NOFD : index;

	return frontend_call(frontend, request, &payload, sizeof(payload), &fd, fd < 0 ? 0 : 1);
}

int64_t frontend_set_vring_kick(struct frontend *frontend, uint32_t index, int fd)
{
	return call_vring_fd(frontend, VU_SET_VRING_KICK, index, fd);
}

int64_t frontend_set_vring_call(struct frontend *frontend, uint32_t index, int fd)
{
	return call_vring_fd(frontend, VU_SET_VRING_CALL, index, fd);
}

int64_t frontend_set_vring_err(struct frontend *frontend, uint32_t index, int fd)
{
	return call_vring_fd(frontend, VU_SET_VRING_ERR, index, fd);
}
