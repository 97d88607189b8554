// SPDX-License-Identifier: Apache-2.0
// What an applet is: a name, options, and a device. One per device type, listed in a generated table.
#pragma once

#include "applets/options.h"
#include "core/device.h"
#include "core/file_access.h"
#include "seccomp/rule.h"

// What the command line says to an applet.
struct applet_arguments {
	const void *values; // of the applet's options; they outlive the device
	const char *socket; // the path that we listen on for front-ends, or NULL
	const char
		*front_end; // the path of the socket by which they come, whoever made it, or NULL
	struct file_access access; // of all that is made for others: sockets, ptys, fifos, links

	// For a process that the applet forks in `open`, to do what the lockdown takes from ours: gives up all but these
	// system calls. 0, or -errno, logged: then it must end. With lock_context.
	int (*lock_helper)(void *context, const struct syscall_rule *rules, size_t count);
	void *lock_context;
};

struct applet {
	const char *name;	  // "blk"; its symlink is "vhost-blk"
	const char *summary;	  // one line
	const char *backend_type; // of vhost-user.json: "block"
	const char *capabilities; // the JSON strings in the features list of --print-capabilities
	const char *examples;	  // lines for --help, each ending in a newline
	const struct option *options;
	size_t option_count;
	size_t values_size; // bytes of the struct that the options' values go to

	// The system calls that the device makes on its workers after open, each with its reason; RULE_DEVICE_FD stands
	// for device->main_fd. device NULL: all that it ever may. *count: how many.
	const struct syscall_rule *(*rules)(const struct device *device, size_t *count);

	// Optional. The fds that the options name, which the process was started with: at most `most` to fds; answers how many.
	unsigned (*inherited_fds)(const void *values, int *fds, unsigned most);

	// Optional. Says what is wrong with the options, before anything is opened: what can be seen from them alone. 0, or -EINVAL,
	// logged. Only the values and the socket's path are there.
	int (*check)(const struct applet_arguments *arguments);

	// Opens all that the device needs, as the command line says. 0 and *device, or -errno with the reason
	// logged. Control thread, before the lockdown.
	int (*open)(const struct applet_arguments *arguments, struct device **device);
	// The workers have ended. Control thread.
	void (*close)(struct device *device);
};
