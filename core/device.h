// SPDX-License-Identifier: Apache-2.0
// All that the core knows of devices: the operations that each applet provides. No operation names
// vhost-user; the core names no device.
#pragma once

#include "core/sys.h"
#include "core/vring.h"

enum {
	DEVICE_MAX_CONFIG = 256,
	DEVICE_MAX_QUEUES = 64,
	DEVICE_MAX_QUEUE_SIZE = 32768, // VIRTIO 1.3, 2.7 "Split Virtqueues"
	DEVICE_QUEUE_SIZE = 1024,      // unless the device says otherwise
	DEVICE_MAX_OWN_FDS = 64,
};

struct device_ops;

// Embedded in the applet's own device struct; container_of leads back.
struct device {
	const struct device_ops *ops;
	int config_event_fd, broken_event_fd; // the core's
	int main_fd; // what RULE_DEVICE_FD stands for in the applet's system calls; -1: nothing
	int own_fds[DEVICE_MAX_OWN_FDS]; // any of these: RULE_OWN_FDS
	unsigned own_fd_count;
	unsigned worker_fds; // that each worker_start opens
	unsigned
		later_fds; // that are open at the same time, at most, beside what is open before a ring runs
	bool kernel_threads; // the kernel makes threads for it, as for an io_uring
};

// The applet calls this before it hands its device out.
static inline void device_init(struct device *device, const struct device_ops *ops)
{
	*device = (struct device){
		.ops = ops, .config_event_fd = -1, .broken_event_fd = -1, .main_fd = -1};
}

// From here on RULE_OWN_FDS stands for this fd too. In open or worker_start.
static inline void device_own_fd(struct device *device, int fd)
{
	assert(device->own_fd_count < DEVICE_MAX_OWN_FDS);
	device->own_fds[device->own_fd_count++] = fd;
}

// Says that what config() answers has changed, so that the front-end hears of it. Any thread.
static inline void device_config_changed(const struct device *device)
{
	sys_event_signal(device->config_event_fd);
}

// Once the workers run, all operations come from them; each belongs to one thread, as its group says. So a
// device needs no locks: what a ring's operations share with those of the group before is only read by the former.
struct device_ops {
	// ---- control, once ----

	// Required. The device's number (VIRTIO 1.3, 5 "Device Types").
	u16 type;
	// Required. Virtqueues of the device, 1 .. DEVICE_MAX_QUEUES; never changes.
	unsigned (*queue_count)(const struct device *device);
	// Optional. The largest ring that the driver may set up, a power of two; else DEVICE_QUEUE_SIZE.
	unsigned (*queue_size)(const struct device *device);
	// Required. The device type's feature bits; the core adds those of the ring and of vhost-user.
	u64 (*features)(const struct device *device);
	// Bytes of the device's own memory for each chain in flight; may be 0.
	size_t request_size;

	// Serve all queues on one worker, since they share state.
	bool one_worker;

	// Optional. All workers have been started: gives back what only that needed. Before the lockdown is complete.
	void (*started)(struct device *device);

	// ---- worker 0, no ring runs (but config: at any time, and on the control thread unless one_worker) ----

	// Optional. The driver has accepted these feature bits; 0: there is no driver any more.
	void (*negotiated)(struct device *device, u64 features);
	// Optional. Writes the configuration space; answers its length, at most DEVICE_MAX_CONFIG bytes.
	size_t (*config)(const struct device *device, u8 *config);
	// Optional. The driver writes len bytes at offset, within what config() answered. 0 or -EINVAL.
	int (*config_write)(struct device *device, size_t offset, const u8 *data, size_t len);
	// Optional. The driver resets the device, or the front-end has gone.
	void (*reset)(struct device *device);
	// Optional, for migration. Writes what the driver relies on and cannot tell us again, at most `size` bytes, which
	// must do; answers their length. With load alone.
	size_t (*save)(const struct device *device, u8 *state, size_t size);
	// Optional. Takes what save() of another process wrote, or somebody forged: all of it, or nothing and -EINVAL,
	// logged.
	int (*load)(struct device *device, const u8 *state, size_t len);

	// Optional. What the device is made of may have changed on the host, such as its size: look at it anew.
	void (*refresh)(struct device *device);

	// Optional. The process is about to end.
	void (*ending)(struct device *device);

	// ---- control, no ring runs ----

	// Optional. The first ring is to start: 0, or -errno if what the device needs is in other hands for now, which is
	// logged once; then no ring runs, and it is asked again until it has that.
	int (*activate)(struct device *device);
	// Optional. The front-end has stopped or disabled the last ring, or has gone. Follows activate, whatever that answered.
	void (*deactivate)(struct device *device);

	// ---- worker, no ring runs: at the worker's start, before a front-end's first byte, and end ----

	// Optional. 0 or -errno with the reason logged; after an error worker_stop is not called.
	int (*worker_start)(struct device *device, struct worker *worker);
	void (*worker_stop)(struct device *device, struct worker *worker);

	// ---- the ring's worker ----

	// Required. Takes and answers chains until vring_pop answers NULL. May wait for a regular file, but
	// for no peer: those are watched (worker_watch).
	void (*process_queue)(struct device *device, struct vring *vring);
	// Optional. The ring starts; process_queue follows.
	void (*queue_start)(struct device *device, struct vring *vring);
	// Optional if process_queue leaves nothing in flight. Returns when every chain that was popped has
	// been pushed.
	void (*queue_stop)(struct device *device, struct vring *vring);
};
