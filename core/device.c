// SPDX-License-Identifier: Apache-2.0
// Carries the control thread's calls of device operations to the workers.
#include <string.h>

#include "core/device_setup.h"
#include "core/log.h"

// An operation's arguments and what it answered.
struct device_call {
	struct device *device;
	struct worker *worker;
	u64 features;
	u8 *config;
	const u8 *data;
	size_t offset, len;
	int error;
};

unsigned device_worker_count(const struct device *device, unsigned wanted)
{
	if (device->ops->one_worker)
		return 1;
	return min_uint(wanted, device->ops->queue_count(device));
}

static void worker_starts(void *context)
{
	struct device_call *call = context;

	call->error = call->device->ops->worker_start(call->device, call->worker);
}

int device_worker_start(struct device *device, struct worker *worker)
{
	struct device_call call = {.device = device, .worker = worker};

	if (device->ops->worker_start)
		worker_call(worker, worker_starts, &call);
	return call.error;
}

static void worker_stops(void *context)
{
	struct device_call *call = context;

	call->device->ops->worker_stop(call->device, call->worker);
}

void device_worker_stop(struct device *device, struct worker *worker)
{
	struct device_call call = {.device = device, .worker = worker};

	if (device->ops->worker_stop)
		worker_call(worker, worker_stops, &call);
}

static void negotiated(void *context)
{
	struct device_call *call = context;

	call->device->ops->negotiated(call->device, call->features);
}

void device_negotiated(struct device *device, struct worker *worker, u64 features)
{
	struct device_call call = {.device = device, .features = features};

	if (device->ops->negotiated)
		worker_call(worker, negotiated, &call);
}

static void reset(void *context)
{
	struct device_call *call = context;

	call->device->ops->reset(call->device);
}

void device_reset(struct device *device, struct worker *worker)
{
	struct device_call call = {.device = device};

	if (device->ops->reset)
		worker_call(worker, reset, &call);
}

static void read_config(void *context)
{
	struct device_call *call = context;

	call->len = call->device->ops->config(call->device, call->config);
}

static void refresh(void *context)
{
	struct device_call *call = context;

	call->device->ops->refresh(call->device);
}

void device_refresh(struct device *device, struct worker *worker)
{
	struct device_call call = {.device = device};

	if (device->ops->refresh)
		worker_call(worker, refresh, &call);
}

void device_started(struct device *device)
{
	if (device->ops->started)
		device->ops->started(device);
}

static void ending(void *context)
{
	struct device_call *call = context;

	call->device->ops->ending(call->device);
}

void device_ending(struct device *device, struct worker *worker)
{
	struct device_call call = {.device = device};

	if (device->ops->ending)
		worker_call(worker, ending, &call);
}

size_t device_config(struct device *device, struct worker *worker, u8 *config)
{
	struct device_call call = {.device = device, .config = config};

	memset(config, 0, DEVICE_MAX_CONFIG);
	if (device->ops->config && device->ops->one_worker)
		worker_call(worker, read_config, &call);
	else if (device->ops->config)
		read_config(
			&call); // only written while no ring runs, and a busy worker need not be waited for
	return call.len;
}

static void write_config(void *context)
{
	struct device_call *call = context;

	call->error =
		call->device->ops->config_write(call->device, call->offset, call->data, call->len);
}

int device_config_write(struct device *device, struct worker *worker, size_t offset, const u8 *data,
			size_t len)
{
	struct device_call call = {.device = device, .data = data, .offset = offset, .len = len};

	if (!device->ops->config_write)
		return log_errno(-EINVAL, "the device has no configuration to write");
	worker_call(worker, write_config, &call);
	return call.error;
}

int device_activate(struct device *device)
{
	return device->ops->activate ? device->ops->activate(device) : 0;
}

void device_deactivate(struct device *device)
{
	if (device->ops->deactivate)
		device->ops->deactivate(device);
}
