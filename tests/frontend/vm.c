// SPDX-License-Identifier: Apache-2.0
//
// Plays a front-end profile against a back-end.

#include "tests/frontend/postcopy.h"
#include "tests/frontend/track.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	INDIRECT_LEN = 16,
	PAGE = 4096,
};

static const char *const step_names[] = {
	[STEP_END] = "connect",
	[STEP_SET_OWNER] = "SET_OWNER",
	[STEP_GET_FEATURES] = "GET_FEATURES",
	[STEP_PROTOCOL_FEATURES] = "PROTOCOL_FEATURES",
	[STEP_SET_FEATURES] = "SET_FEATURES",
	[STEP_QUEUE_NUM] = "GET_QUEUE_NUM",
	[STEP_MAX_MEM_SLOTS] = "GET_MAX_MEM_SLOTS",
	[STEP_BACKEND_REQ_FD] = "SET_BACKEND_REQ_FD",
	[STEP_GET_CONFIG] = "GET_CONFIG",
	[STEP_FEATURES_OK] = "SET_STATUS FEATURES_OK",
	[STEP_DRIVER_OK] = "SET_STATUS DRIVER_OK",
	[STEP_RESET_STATUS] = "SET_STATUS 0",
	[STEP_MEM_TABLE] = "SET_MEM_TABLE",
	[STEP_ADD_REGIONS] = "ADD_MEM_REG",
	[STEP_INFLIGHT] = "INFLIGHT_FD",
	[STEP_LOG] = "SET_LOG_BASE",
	[STEP_NUM] = "SET_VRING_NUM",
	[STEP_ADDR] = "SET_VRING_ADDR",
	[STEP_BASE] = "SET_VRING_BASE",
	[STEP_CALL] = "SET_VRING_CALL",
	[STEP_KICK] = "SET_VRING_KICK",
	[STEP_ERR] = "SET_VRING_ERR",
	[STEP_ENABLE] = "SET_VRING_ENABLE",
	[STEP_DISABLE] = "SET_VRING_ENABLE 0",
	[STEP_GET_BASE] = "GET_VRING_BASE",
	[STEP_RINGS] = "rings",
};

const char *vm_step_name(enum vm_step step)
{
	return step_names[step];
}

/* What frontend_call() returns, as 0 or a negative errno. */
static int acked(int64_t answer)
{
	return answer > 0 ? -EREMOTEIO : (int)answer;
}

static bool has_protocol_feature(const struct vm *vm, unsigned bit)
{
	return vm->protocol_features & VU_BIT(bit);
}

static int get_features(struct vm *vm)
{
	int error = frontend_get_features(&vm->frontend, &vm->offered_features);

	vm->features = vm->offered_features & (vm->profile->features | vm->options.features) &
		       ~vm->options.without_features;
	if (vm->queues == 1)
		vm->features &= ~VU_BIT(VM_BLK_F_MQ);
	return error;
}

static int negotiate_protocol_features(struct vm *vm)
{
	uint64_t *offered = &vm->offered_protocol_features;
	int error;

	if (!(vm->features & VU_BIT(VM_F_PROTOCOL_FEATURES)))
		return 0;
	error = frontend_get_protocol_features(&vm->frontend, offered);
	if (error)
		return error;
	vm->protocol_features =
		*offered & vm->profile->protocol_features & ~vm->options.without_protocol_features;
	error = acked(frontend_set_protocol_features(&vm->frontend, vm->protocol_features));
	if (vm->frontend.reply_ack)
		vm->frontend.need_reply = vm->profile->need_reply;
	return error;
}

static int open_backend_channel(struct vm *vm)
{
	int fds[2], error;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -errno;
	vm->backend_fd = fds[0];
	error = acked(frontend_set_backend_req_fd(&vm->frontend, fds[1]));
	close(fds[1]);
	return error;
}

static int set_mem_table(struct vm *vm)
{
	struct vu_region regions[VM_MEMORY_REGIONS];
	int fds[VM_MEMORY_REGIONS];

	for (unsigned i = 0; i < vm->memory.count; i++) {
		regions[i] = vm->memory.regions[i].wire;
		fds[i] = vm->memory.regions[i].fd;
	}
	return acked(frontend_set_mem_table(&vm->frontend, regions, fds, vm->memory.count));
}

static int add_regions(struct vm *vm)
{
	if (!has_protocol_feature(vm, VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return set_mem_table(vm);
	for (; vm->regions_added < vm->memory.count; vm->regions_added++) {
		const struct vm_region *region = &vm->memory.regions[vm->regions_added];
		int error = acked(frontend_add_mem_reg(&vm->frontend, &region->wire, region->fd));

		if (error)
			return error;
	}
	return 0;
}

static int set_vring_addr(struct vm *vm, unsigned index)
{
	const struct vm_ring *ring = &vm->rings[index];
	const struct vu_vring_addr addr = {
		.index = index,
		.flags = vm->features & VU_BIT(VM_F_LOG_ALL) ? VU_VRING_F_LOG : 0,
		.desc = vm_memory_user_addr(&vm->memory, ring->desc_addr),
		.used = vm_memory_user_addr(&vm->memory, ring->used_addr),
		.avail = vm_memory_user_addr(&vm->memory, ring->avail_addr),
		.log = ring->used_addr,
	};

	return acked(frontend_set_vring_addr(&vm->frontend, &addr));
}

/* SET_VRING_ENABLE must only be sent if VHOST_USER_F_PROTOCOL_FEATURES has been negotiated. */
static int set_vring_enable(struct vm *vm, unsigned index, bool enable)
{
	if (!(vm->features & VU_BIT(VM_F_PROTOCOL_FEATURES)))
		return 0;
	return acked(frontend_set_vring_enable(&vm->frontend, index, enable));
}

int vm_do_ring(struct vm *vm, enum vm_step step, unsigned index)
{
	struct frontend *frontend = &vm->frontend;
	struct vm_ring *ring = &vm->rings[index];

	vm->step = step;
	switch (step) {
	case STEP_NUM:
		return acked(frontend_set_vring_num(frontend, index, ring->size));
	case STEP_ADDR:
		return set_vring_addr(vm, index);
	case STEP_BASE:
		return acked(frontend_set_vring_base(frontend, index, vm->bases[index]));
	case STEP_CALL:
		return acked(frontend_set_vring_call(frontend, index, ring->call_fd));
	case STEP_KICK:
		return acked(frontend_set_vring_kick(frontend, index, ring->kick_fd));
	case STEP_ERR:
		return acked(frontend_set_vring_err(frontend, index, ring->err_fd));
	case STEP_ENABLE:
		return set_vring_enable(vm, index, true);
	case STEP_DISABLE:
		return set_vring_enable(vm, index, false);
	case STEP_GET_BASE:
		return frontend_get_vring_base(frontend, index, &vm->bases[index]);
	default:
		return -EINVAL;
	}
}

/* The bits are added to what the device has. */
static int add_status(struct vm *vm, uint64_t bits)
{
	uint64_t status;
	int error;

	if (!has_protocol_feature(vm, VU_PROTOCOL_F_STATUS))
		return 0;
	error = frontend_get_status(&vm->frontend, &status);
	return error ? error : acked(frontend_set_status(&vm->frontend, status | bits));
}

static int do_rings(struct vm *vm, const enum vm_step *steps)
{
	int error = 0;

	for (unsigned index = 0; index < vm->queues; index++) {
		for (unsigned i = 0; !error && steps[i] != STEP_END; i++)
			error = vm_do_ring(vm, steps[i], index);
	}
	return error;
}

int vm_do(struct vm *vm, enum vm_step step)
{
	struct frontend *frontend = &vm->frontend;

	vm->step = step;
	switch (step) {
	case STEP_SET_OWNER:
		return acked(frontend_set_owner(frontend));
	case STEP_GET_FEATURES:
		return get_features(vm);
	case STEP_PROTOCOL_FEATURES:
		return negotiate_protocol_features(vm);
	case STEP_SET_FEATURES:
		return acked(frontend_set_features(frontend, vm->features));
	case STEP_QUEUE_NUM:
		return has_protocol_feature(vm, VU_PROTOCOL_F_MQ)
			       ? frontend_get_queue_num(frontend, &vm->queue_num)
			       : 0;
	case STEP_MAX_MEM_SLOTS:
		return has_protocol_feature(vm, VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
			       ? frontend_get_max_mem_slots(frontend, &vm->max_mem_slots)
			       : 0;
	case STEP_BACKEND_REQ_FD:
		return has_protocol_feature(vm, VU_PROTOCOL_F_BACKEND_REQ)
			       ? open_backend_channel(vm)
			       : 0;
	case STEP_GET_CONFIG:
		return has_protocol_feature(vm, VU_PROTOCOL_F_CONFIG)
			       ? frontend_get_config(frontend, 0, vm->profile->config_len,
						     vm->profile->config_flags, vm->config)
			       : 0;
	case STEP_FEATURES_OK:
		return add_status(vm, VM_STATUS_FEATURES_OK);
	case STEP_DRIVER_OK:
		return add_status(vm,
				  VM_STATUS_ACKNOWLEDGE | VM_STATUS_DRIVER | VM_STATUS_DRIVER_OK);
	case STEP_RESET_STATUS:
		return has_protocol_feature(vm, VU_PROTOCOL_F_STATUS)
			       ? acked(frontend_set_status(frontend, 0))
			       : 0;
	case STEP_MEM_TABLE:
		return vm->options.postcopy ? vm_share_later(vm) : set_mem_table(vm);
	case STEP_ADD_REGIONS:
		return vm->options.postcopy ? vm_share_later(vm) : add_regions(vm);
	case STEP_INFLIGHT:
		return vm_share_inflight(vm);
	case STEP_LOG:
		return vm_share_log(vm);
	case STEP_RINGS:
		return do_rings(vm, vm->profile->ring);
	default:
		return do_rings(vm, (const enum vm_step[]){step, STEP_END});
	}
}

static int do_steps(struct vm *vm, const enum vm_step *steps)
{
	int error = 0;

	for (unsigned i = 0; !error && steps[i] != STEP_END; i++)
		error = vm_do(vm, steps[i]);
	return error;
}

static struct vm_options with_defaults(const struct vm_options *options)
{
	struct vm_options filled = options ? *options : (struct vm_options){0};

	if (!filled.profile)
		filled.profile = vm_profile_find("qemu");
	if (!filled.queues)
		filled.queues = 1;
	if (!filled.queue_size)
		filled.queue_size = 128;
	if (!filled.regions)
		filled.regions = 1;
	if (!filled.memory_size)
		filled.memory_size = 64 << 20;
	if (!filled.connect_timeout_ms)
		filled.connect_timeout_ms = 5000;
	if (!filled.timeout_ms)
		filled.timeout_ms = 10000;
	return filled;
}

/* Regions lie 4 GiB apart in the guest, one after the other in the file, as QEMU's do. */
static int create_memory(struct vm *vm)
{
	uint64_t size = (vm->options.memory_size / vm->options.regions + PAGE - 1) / PAGE * PAGE;
	int fd = vm_memory_file(size * vm->options.regions);
	int index = fd;

	for (unsigned i = 0; index >= 0 && i < vm->options.regions; i++) {
		uint64_t guest_addr = (uint64_t)i << 32;

		if (vm->profile->guest_addr_is_host)
			guest_addr = VM_GUEST_ADDR_IS_HOST;
		index = vm_memory_add_file(&vm->memory, fd, i * size, guest_addr, size, 0);
	}
	if (fd >= 0)
		close(fd);
	return index < 0 ? index : 0;
}

/* Which ring features there will be is only known once the features are. */
static void fit_rings(struct vm *vm)
{
	for (unsigned i = 0; i < vm->queues; i++) {
		vm->rings[i].event_idx = vm->features & VU_BIT(VM_F_EVENT_IDX);
		if (!(vm->features & VU_BIT(VM_F_INDIRECT_DESC)))
			vm->rings[i].indirect_len = 0;
		vm_ring_set_packed(&vm->rings[i], vm->features & VU_BIT(VM_F_RING_PACKED));
		vm->bases[i] = vm_ring_base(&vm->rings[i]);
	}
}

static int create_rings(struct vm *vm)
{
	int error = 0;

	while (!error && vm->queues < vm->options.queues) {
		error = vm_ring_init(&vm->rings[vm->queues], &vm->memory, vm->options.queue_size,
				     false, INDIRECT_LEN);
		vm->queues += !error;
	}
	return error;
}

/* The connection and the profile's .connect steps. */
static int meet(struct vm *vm, const char *path)
{
	int error = (vm->options.accept ? frontend_accept : frontend_connect)(
		&vm->frontend, path, vm->options.connect_timeout_ms);

	vm->frontend.timeout_ms = vm->options.timeout_ms;
	vm->frontend.lenient = vm->options.lenient;
	if (!error)
		error = do_steps(vm, vm->profile->connect);
	if (!error)
		fit_rings(vm);
	return error;
}

int vm_connect(struct vm *vm, const char *path, const struct vm_options *options)
{
	int error;

	memset(vm, 0, sizeof(*vm));
	vm->options = with_defaults(options);
	vm->profile = vm->options.profile;
	vm->backend_fd = -1;
	vm->inflight_fd = -1;
	vm->log_fd = -1;
	vm->userfault_fd = -1;
	vm->frontend.fd = -1;
	if (vm->options.queues > VM_QUEUES || vm->options.regions > VM_MEMORY_REGIONS)
		return -EINVAL;
	error = create_memory(vm);
	if (!error)
		error = create_rings(vm);
	if (!error)
		error = meet(vm, path);
	if (error)
		vm_close(vm);
	return error;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int vm_restart(struct vm *vm, const char *path)
{
	int error;

	frontend_close(&vm->frontend);
	close_fd(&vm->backend_fd);
	vm->regions_added = 0;
	error = meet(vm, path);
	return error ? error : vm_run(vm);
}

int vm_run(struct vm *vm)
{
	return do_steps(vm, vm->profile->start);
}

int vm_start(struct vm *vm, const char *path, const struct vm_options *options)
{
	int error = vm_connect(vm, path, options);

	if (error)
		return error;
	if (vm->options.postcopy)
		error = vm_listen(vm);
	if (!error)
		error = vm_run(vm);
	if (error)
		vm_close(vm);
	return error;
}

int vm_stop(struct vm *vm)
{
	if (vm->profile->stop == VM_STOP_DISCONNECT)
		return -EOPNOTSUPP;
	return do_steps(vm, vm->profile->stopping);
}

int vm_resume(struct vm *vm)
{
	switch (vm->profile->stop) {
	case VM_STOP_BASE:
		return vm_run(vm);
	case VM_STOP_PAUSE:
		return vm_do(vm, STEP_ENABLE);
	default:
		return -EOPNOTSUPP;
	}
}

int vm_wait_config_change(struct vm *vm)
{
	struct frontend_message message;
	struct frontend channel = {0};
	int error;

	frontend_attach(&channel, vm->backend_fd);
	channel.timeout_ms = vm->frontend.timeout_ms;
	error = frontend_receive(&channel, &message);
	if (error)
		return error;
	frontend_close_fds(&message);
	if (message.header.request != VU_BACKEND_CONFIG_CHANGE_MSG || message.header.size)
		return -EPROTO;
	return vm_do(vm, STEP_GET_CONFIG);
}

void vm_close(struct vm *vm)
{
	frontend_close(&vm->frontend);
	close_fd(&vm->backend_fd);
	close_fd(&vm->inflight_fd);
	close_fd(&vm->log_fd);
	close_fd(&vm->userfault_fd);
	while (vm->queues)
		vm_ring_free(&vm->rings[--vm->queues]);
	vm_memory_free(&vm->memory);
}
