// SPDX-License-Identifier: Apache-2.0
// The command line of the process.
#pragma once

#include "applets/common.h"
#include "core/server.h"
#include "jail/options.h"

// What the exit status tells.
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_DEVICE = 3,   // the device could not be opened
	EXIT_SOCKET = 4,   // the socket could not
	EXIT_SANDBOX = 5,  // the sandbox did not come up to what was asked
	EXIT_PROTOCOL = 6, // the only front-end broke the protocol
	EXIT_NO_APPLET = 127,
};

struct invocation {
	const struct applet *applet; // NULL: none was named
	struct common_options common;
	u64 common_given; // which of them
	bool jailed;	  // by the word `jail` in front of the applet
	struct jail_options jail;
	void *values; // of the applet's options
	char log_name[64];
	int cpus[SERVER_MAX_WORKERS];
	unsigned cpu_count;
};

// Reads the command line into *invocation, all zero before; its values are the caller's to free. What can be wrong with it is found
// here, before anything is opened. Answers EXIT_OK or why not, logged; *serves becomes true if a device is to be served, which it is
// not if something was only to be printed.
must_check int command_line_read(struct invocation *invocation, char **arguments, int count,
				 bool *serves);
