// SPDX-License-Identifier: Apache-2.0
// How the control thread calls a device: each operation on the worker that it belongs to, and only if the device
// has it. All return when it has run.
#pragma once

#include "core/device.h"

// How many of the wanted workers the device can use, at least 1.
unsigned device_worker_count(const struct device *device, unsigned wanted);

// 0 or -errno, logged.
must_check int device_worker_start(struct device *device, struct worker *worker);
void device_worker_stop(struct device *device, struct worker *worker);

// These run on `worker`, which is worker 0.
void device_negotiated(struct device *device, struct worker *worker, u64 features);
void device_reset(struct device *device, struct worker *worker);
void device_refresh(struct device *device, struct worker *worker);
void device_ending(struct device *device, struct worker *worker);
// Fills in DEVICE_MAX_CONFIG bytes, zero behind the configuration; answers its length, 0 if there is none.
size_t device_config(struct device *device, struct worker *worker, u8 *config);
// The range lies within the configuration. 0 or -EINVAL.
must_check int device_config_write(struct device *device, struct worker *worker, size_t offset,
				   const u8 *data, size_t len);

// These run on the control thread.
void device_started(struct device *device);
must_check int device_activate(struct device *device);
void device_deactivate(struct device *device);
