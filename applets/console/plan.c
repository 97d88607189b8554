// SPDX-License-Identifier: Apache-2.0
// Parses --port, and finds what the ports cannot have in common.
#include "applets/console/plan.h"

#include <stdio.h>
#include <string.h>

#include "core/log.h"

// Without --port: the terminal if we have it, else a socket beside the front-end's.
static int default_port(struct port_options *options, const char *socket)
{
	char path[128];

	if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp())
		return port_options_set(options, PORT_STDIO, NULL);
	if (!socket)
		return log_errno(-EINVAL,
				 "needs --port type=…, since there is neither a terminal nor "
				 "--socket PATH to name a socket after");
	if ((size_t)snprintf(path, sizeof(path), "%s.console", socket) >= sizeof(path))
		return log_errno(-ENAMETOOLONG, "%s.console is too long; use --port type=…",
				 socket);
	return port_options_set(options, PORT_UNIX, path);
}

static int parse_ports(struct console *console, const struct applet_arguments *arguments)
{
	const struct option_list *list =
		&((const struct console_options *)arguments->values)->ports;
	int error = 0;

	console->port_count = list->count ? list->count : 1;
	console->ports = calloc(console->port_count, sizeof(*console->ports));
	if (!console->ports)
		return log_errno(-ENOMEM, "cannot make %u ports", console->port_count);
	for (unsigned i = 0; i < console->port_count; i++)
		port_init(&console->ports[i], console, i);
	if (list->count == 0)
		return default_port(&console->ports[0].options, arguments->socket);
	for (unsigned i = 0; i < list->count && !error; i++)
		error = port_options_parse(&console->ports[i].options, list->items[i]);
	return error;
}

static bool same_name(const struct port_options *a, const struct port_options *b)
{
	return a->name && b->name && strcmp(a->name, b->name) == 0;
}

// The name in the file system that a port makes, NULL: none.
static const char *made_by(const struct port_options *port)
{
	bool makes = (port->type == PORT_UNIX && !port->connect) || port->type == PORT_PTY ||
		     port->type == PORT_FIFO;

	return makes ? port->path : NULL;
}

static bool same_path(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

// The terminal is there once, the guest finds ports by their names, and clients find them by their paths.
static int check_pair(const struct port *port, const struct port *other)
{
	const struct port_options *a = &port->options, *b = &other->options;

	if (a->type == PORT_STDIO && b->type == PORT_STDIO)
		return log_errno(-EINVAL, "--port type=stdio: only once, please");
	if (same_name(a, b))
		return log_errno(-EINVAL, "--port name=%s: only once, please", a->name);
	if (same_path(made_by(a), made_by(b)))
		return log_errno(-EINVAL, "--port path=%s: ports %u and %u need paths of their own",
				 a->path, other->id, port->id);
	return 0;
}

static int check_ports(const struct console *console, const char *socket)
{
	int error = 0;

	for (unsigned i = 0; i < console->port_count && !error; i++) {
		const struct port *port = &console->ports[i];

		error = host_check(&port->options);
		if (!error && same_path(made_by(&port->options), socket))
			return log_errno(-EINVAL, "--port path=%s is --socket's; choose another",
					 socket);
		for (unsigned j = 0; j < i && !error; j++)
			error = check_pair(port, &console->ports[j]);
	}
	return error;
}

static int check_link(const struct console *console, const char *link)
{
	for (unsigned i = 0; link && i < console->port_count; i++) {
		const struct port_options *port = &console->ports[i].options;

		if (port->type != PORT_PTY)
			continue;
		if (port->path)
			log_warning("--link %s has no effect: port %u, the first pty, says path=%s",
				    link, i, port->path);
		return 0;
	}
	return link ? log_errno(-EINVAL, "--link %s: no port is of type pty", link) : 0;
}

// Unless it is said which ports are consoles, the first one is.
static void choose_consoles(struct console *console)
{
	bool chosen = false;

	for (unsigned i = 0; i < console->port_count; i++) {
		console->ports[i].is_console = console->ports[i].options.console;
		chosen = chosen || console->ports[i].is_console;
	}
	if (!chosen)
		console->ports[0].is_console = true;
}

int plan_make(struct console *console, const struct applet_arguments *arguments)
{
	int error = parse_ports(console, arguments);

	if (!error)
		choose_consoles(console);
	return error;
}

int plan_check(const struct applet_arguments *arguments)
{
	const struct console_options *options = arguments->values;
	struct console console = {.port_count = 0};
	int error = parse_ports(&console, arguments);

	if (!error)
		error = check_ports(&console, arguments->socket);
	if (!error)
		error = check_link(&console, options->link);
	if (!error)
		error = size_check(options->size);
	for (unsigned i = 0; console.ports && i < console.port_count; i++)
		port_fini(&console.ports[i]);
	free(console.ports);
	return error;
}
