// SPDX-License-Identifier: Apache-2.0
// Moves and checks the device's state. What comes in may be forged: the header is checked here, the rest by the device.
#include "core/device_state.h"

#include <string.h>

#include "core/log.h"
#include "core/sys.h"

static_assert(sizeof(struct device_state_header) == 16, "it goes from process to process");

static void finish(struct device_state *state, int result)
{
	if (state->watched)
		event_loop_remove(&state->worker->loop, state->fd, &state->ready);
	state->watched = false;
	close_fd(&state->fd);
	state->unapplied = false;
	state->result = result;
}

static struct device_state_header make_header(const struct device *device, size_t len)
{
	return (struct device_state_header){
		.magic = DEVICE_STATE_MAGIC,
		.version = le16_of(DEVICE_STATE_VERSION),
		.type = le16_of(device->ops->type),
		.queue_count = le32_of(device->ops->queue_count(device)),
		.len = le32_of((u32)len),
	};
}

static void make_state(struct device_state *state)
{
	const struct device *device = state->device;
	struct device_state_header header;
	size_t len = 0;

	if (device->ops->save)
		len = device->ops->save(device, state->bytes + sizeof(header),
					sizeof(state->bytes) - sizeof(header));
	assert(len <= sizeof(state->bytes) - sizeof(header));
	header = make_header(device, len);
	memcpy(state->bytes, &header, sizeof(header));
	state->len = sizeof(header) + len;
}

// A device that had fewer queues may have been moved here: its driver uses no more than there were.
static int check_header(const struct device_state *state, const struct device_state_header *header)
{
	const struct device_ops *ops = state->device->ops;
	unsigned version = le16_get(header->version), type = le16_get(header->type);
	unsigned queues = le32_get(header->queue_count), own = ops->queue_count(state->device);

	if (memcmp(header->magic, DEVICE_STATE_MAGIC, sizeof(header->magic)) != 0)
		return log_errno(-EINVAL, "the device state is none of ours");
	if (version != DEVICE_STATE_VERSION)
		return log_errno(-EINVAL, "the device state is of version %u, not %u", version,
				 DEVICE_STATE_VERSION);
	if (type != ops->type)
		return log_errno(-EINVAL, "the device state is of a device of type %u, not %u",
				 type, ops->type);
	if (queues == 0 || queues > own)
		return log_errno(-EINVAL, "the device state is of %u queues; we have %u", queues,
				 own);
	if (le32_get(header->len) != state->len - sizeof(*header))
		return log_errno(-EINVAL, "the device state is of %u bytes, but %zu came",
				 le32_get(header->len), state->len - sizeof(*header));
	return 0;
}

static int apply(struct device_state *state)
{
	const struct device_ops *ops = state->device->ops;
	struct device_state_header header;
	size_t len = state->len - sizeof(header);
	int error;

	if (state->len < sizeof(header))
		return log_errno(-EINVAL, "the device state ends after %zu bytes", state->len);
	memcpy(&header, state->bytes, sizeof(header));
	error = check_header(state, &header);
	if (error)
		return error;
	if (ops->load)
		return ops->load(state->device, state->bytes + sizeof(header), len);
	return len == 0 ? 0 : log_errno(-EINVAL, "the device state has %zu bytes too many", len);
}

// True if there may be more to read.
static bool have_read(struct device_state *state, size_t len)
{
	state->len += len;
	if (len == 0) {
		finish(state, 0);
		state->unapplied = true;
	} else if (state->len == sizeof(state->bytes)) {
		finish(state, log_errno(-EFBIG, "the device state is too long"));
	}
	return state->fd >= 0;
}

// True if there is more to write.
static bool have_written(struct device_state *state, size_t len)
{
	state->written += len;
	if (state->written == state->len)
		finish(state, 0);
	return len > 0 && state->fd >= 0;
}

// Moves what can be moved by one call; true if another may move more. Whoever else has the fd may have made it a blocking one:
// a signal ends that call (worker_call), which is not repeated.
static bool move(struct device_state *state)
{
	ssize_t len;

	if (state->loading)
		len = read(state->fd, state->bytes + state->len, sizeof(state->bytes) - state->len);
	else
		len = write(state->fd, state->bytes + state->written, state->len - state->written);
	if (len >= 0)
		return state->loading ? have_read(state, (size_t)len)
				      : have_written(state, (size_t)len);
	if (errno != EAGAIN && errno != EINTR)
		finish(state, log_errno(-errno, "the device state cannot be %s",
					state->loading ? "read" : "written"));
	return false;
}

static void ready(struct watch *watch, u32 events)
{
	(void)events;
	move(container_of(watch, struct device_state, ready));
}

struct transfer {
	struct device_state *state;
	bool load;
	int fd;
};

static void begin(void *context)
{
	const struct transfer *transfer = context;
	struct device_state *state = transfer->state;
	int error;

	finish(state, 0); // the one before
	state->fd = transfer->fd;
	state->loading = transfer->load;
	state->len = 0;
	state->written = 0;
	if (!state->loading)
		make_state(state);
	error = event_loop_add(&state->worker->loop, state->fd, state->loading ? EPOLLIN : EPOLLOUT,
			       &state->ready);
	state->watched = error == 0;
	if (error == -EPERM) // a regular file, which never makes one wait
		while (move(state))
			;
	else if (error)
		finish(state, log_errno(error, "cannot wait for the device state"));
}

static void check(void *context)
{
	struct device_state *state = context;

	while (state->fd >= 0 && move(state))
		;
	if (state->fd >= 0)
		finish(state, log_errno(-EAGAIN, "the device state was not %s to its end",
					state->loading ? "sent" : "taken"));
	if (state->unapplied)
		finish(state, apply(state));
}

static void cancel(void *context)
{
	struct device_state *state = context;

	if (state->unapplied)
		log_warning("the device state is thrown away: nobody asked whether it is good");
	finish(state, -ENOENT);
}

void device_state_init(struct device_state *state, struct device *device, struct worker *worker)
{
	// member by member: the bytes are untouched until there is a transfer
	state->device = device;
	state->worker = worker;
	state->begun = false;
	state->fd = -1;
	state->watched = false;
	state->unapplied = false;
	state->ready.ready = ready;
}

void device_state_transfer(struct device_state *state, bool load, int fd)
{
	struct transfer transfer = {.state = state, .load = load, .fd = fd};

	state->begun = true;
	state->by_socket = sys_is_unix_socket(fd);
	worker_call(state->worker, begin, &transfer);
}

bool device_state_check(struct device_state *state)
{
	if (!state->begun) {
		log_error("there was no transfer of the device state");
		return false;
	}
	worker_call(state->worker, check, state);
	return state->result == 0;
}

void device_state_cancel(struct device_state *state)
{
	if (!state->begun)
		return;
	worker_call(state->worker, cancel, state);
	state->begun = false;
}

void device_state_cancel_socket(struct device_state *state)
{
	if (state->begun && state->by_socket)
		device_state_cancel(state);
}
