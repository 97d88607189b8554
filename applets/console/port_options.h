// SPDX-License-Identifier: Apache-2.0
// What the command line says of one port: "type=unix,path=/run/vm.console,name=shell".
#pragma once

#include "core/base.h"

enum port_type {
	PORT_STDIO,
	PORT_PTY,
	PORT_UNIX,
	PORT_TCP,
	PORT_FILE,
	PORT_FD,
	PORT_FIFO,
	PORT_NULL,
};

enum { PORT_NAME_MAX = 127 };

struct port_options {
	char *text; // what the strings below point into; owned
	enum port_type type;
	const char *path, *input, *name, *log; // NULL: not given
	bool connect;			       // of unix and tcp; else listen
	bool console, timestamp, filter, drop;
	u64 log_max; // bytes of log and of a file; 0: no limit
	unsigned log_keep;
};

// Parses the argument of --port. 0, or -EINVAL or -ENOMEM, logged.
must_check int port_options_parse(struct port_options *options, const char *text);
// The port that there is if none is given. 0 or -ENOMEM, logged.
must_check int port_options_set(struct port_options *options, enum port_type type,
				const char *path);
void port_options_fini(struct port_options *options);

// The fds that the argument of --port names, if it is of type fd: at most 2; answers how many. Nothing logged.
unsigned port_options_fds(const char *text, int fds[2]);

// "stdio", "pty", …
const char *port_type_name(enum port_type type);
