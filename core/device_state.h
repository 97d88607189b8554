// SPDX-License-Identifier: Apache-2.0
// The device's own state on its way to another process, or from one (vhost-user.rst, "Migrating back-end state"). The
// bytes are moved by worker 0, to or from whatever pipe, socket or file the front-end gave for it.
#pragma once

#include "core/device.h"
#include "core/endian.h"

enum {
	DEVICE_STATE_MAX = 64 * 1024, // bytes, with the header
	DEVICE_STATE_VERSION = 1,
};

#define DEVICE_STATE_MAGIC "VMDS"

// Goes before what the device's save() wrote.
struct device_state_header {
	u8 magic[4];
	le16 version;
	le16 type; // of the device
	le32 queue_count;
	le32 len; // of what follows
};

// Worker 0 owns all of it, but for `begun` and `by_socket`; it is reached by the functions below alone.
struct device_state {
	struct device *device;
	struct worker *worker; // worker 0
	bool begun;	       // there is a transfer, ended or not; the control thread's
	bool by_socket;	       // it goes through one; the control thread's, too
	bool loading;
	bool unapplied; // all has been read, and device_state_check() has yet to hand it to the device
	int fd;		// -1: no transfer is under way
	int result;	// of the last one: 0 or -errno
	struct watch ready;
	bool watched;
	size_t len, written; // of bytes
	u8 bytes[DEVICE_STATE_MAX];
};

void device_state_init(struct device_state *state, struct device *device, struct worker *worker);

// Begins to write the device's state to the fd, or to read it from there; takes over the fd, which is nonblocking. No ring
// runs until device_state_cancel().
void device_state_transfer(struct device_state *state, bool load, int fd);

// True if the last transfer is done and went well. One that is still under way is tried once more, then given up. What was
// read is applied now, as a whole or not at all, while the control thread waits: it looks at the device between its messages.
must_check bool device_state_check(struct device_state *state);

// Gives up what is under way and forgets how the last transfer went.
void device_state_cancel(struct device_state *state);

// The same, of a transfer that goes through a socket alone.
void device_state_cancel_socket(struct device_state *state);
