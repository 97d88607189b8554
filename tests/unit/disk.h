// SPDX-License-Identifier: Apache-2.0
// The blk applet as it is shipped, served by a whole server, with a virtual machine that uses it.
#pragma once

#include "applets/applet.h"
#include "tests/frontend/blk.h"
#include "tests/unit/serve.h"

struct unit_disk {
	const struct applet *applet;
	void *values; // of its options
	struct device *device;
	struct unit_server server;
	struct vm vm;
	struct vm_disk disk;
	char path[160]; // of the socket
};

// Opens the device by these words of a command line, ended by NULL: 0 or what the applet answers.
int unit_disk_try(struct unit_disk *disk, const char *const *words);

// The same, which must succeed, and serves it; connects a virtual machine as `options` say (NULL: the defaults, in
// little memory).
void unit_disk_open(struct unit_disk *disk, const char *const *words,
		    const struct vm_options *options);
#define UNIT_DISK_OPEN(disk, options, ...) \
	unit_disk_open(disk, (const char *const[]){__VA_ARGS__, NULL}, options)

void unit_disk_connect(struct unit_disk *disk, const struct vm_options *options);

// Whether this host lets us make an io_uring.
bool unit_disk_has_uring(void);

// Ends what is open.
void unit_disk_close(struct unit_disk *disk);

// The configuration space as the device has it now: asked over the socket if it is served.
struct vm_blk_config unit_disk_config(struct unit_disk *disk);

// Sends a chain of any shape and waits for it: the used length, or a negative errno.
int64_t unit_disk_chain(struct unit_disk *disk, const struct vm_buffer *buffers, unsigned count);

// Asserts that the file at `path` holds `len` bytes of unit_byte's pattern at `offset`, or of zeroes.
void unit_expect_pattern(const char *path, u64 offset, u64 len);
void unit_expect_zeroes(const char *path, u64 offset, u64 len);
