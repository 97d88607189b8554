// SPDX-License-Identifier: Apache-2.0
// What an applet is: a name, options, and a device. One per device type, listed in a generated table.
#pragma once

#include "applets/options.h"
#include "core/device.h"

// What the command line says to an applet.
struct applet_arguments {
	const void *values; // of the applet's options; they outlive the device
	const char *socket; // the path that we listen on for front-ends, or NULL
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

	// Opens all that the device needs, as the command line says. 0 and *device, or -errno with the reason
	// logged. Control thread, before the lockdown.
	int (*open)(const struct applet_arguments *arguments, struct device **device);
	// The workers have ended. Control thread.
	void (*close)(struct device *device);
};
