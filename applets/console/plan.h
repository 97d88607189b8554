// SPDX-License-Identifier: Apache-2.0
// Which ports there are to be: the command line's, or the one that there is without it.
#pragma once

#include "applets/applet.h"
#include "applets/console/console.h"

struct console_options {
	struct option_list ports;
	const char *link, *size;
	u64 replay;
	unsigned resize_order;
};

// What is wrong with the options, before anything is opened. 0 or -EINVAL, logged.
must_check int plan_check(const struct applet_arguments *arguments);

// Makes the console's ports, which are closed as yet, with what is said of each. 0, or -EINVAL or -ENOMEM, logged.
must_check int plan_make(struct console *console, const struct applet_arguments *arguments);
