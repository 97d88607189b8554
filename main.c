// SPDX-License-Identifier: Apache-2.0
// The life of a process: find the applet, parse, open, listen, start the workers, serve, give back.
#include <stdio.h>
#include <string.h>

#include "applets/common.h"
#include "core/log.h"
#include "core/server.h"

// What the exit status tells.
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_DEVICE = 3,   // the device could not be opened
	EXIT_SOCKET = 4,   // the socket could not
	EXIT_PROTOCOL = 6, // the only front-end broke the protocol
	EXIT_NO_APPLET = 127,
};

struct invocation {
	const struct applet *applet; // NULL: none was named
	struct common_options common;
	void *values; // of the applet's options
	int cpus[SERVER_MAX_WORKERS];
	unsigned cpu_count;
};

static struct option_table common_table(struct invocation *invocation)
{
	return (struct option_table){.options = common_option_table,
				     .count = common_option_count,
				     .values = &invocation->common};
}

// "--install -s DIR" as busybox spells it: the -s says "symlinks", which is all that we make.
static bool is_install(char **arguments, int count)
{
	return count == 4 && strcmp(arguments[1], "--install") == 0 &&
	       strcmp(arguments[2], "-s") == 0;
}

// Finds the applet by the program's name or, behind global options, by the first word; *next is moved past it.
static int find_applet(struct invocation *invocation, char **arguments, int count, int *next)
{
	const struct option_table table = common_table(invocation);
	const char *name = count > 0 ? arguments[0] : "";

	options_set_defaults(&table, 1);
	invocation->applet = applet_find(name);
	if (invocation->applet)
		return EXIT_OK;
	if (options_parse(&table, 1, arguments, count, next))
		return EXIT_USAGE;
	if (*next >= count)
		return EXIT_OK;
	name = arguments[(*next)++];
	invocation->applet = applet_find(name);
	if (invocation->applet)
		return EXIT_OK;
	log_error("%s: no such applet; vhost-multi --list names them", name);
	return EXIT_NO_APPLET;
}

static int parse_applet(struct invocation *invocation, char **arguments, int count, int next)
{
	const struct applet *applet = invocation->applet;
	struct option_table tables[] = {
		{.options = applet->options, .count = applet->option_count},
		common_table(invocation),
	};

	invocation->values = calloc(1, applet->values_size);
	if (!invocation->values)
		return -ENOMEM;
	tables[0].values = invocation->values;
	options_set_defaults(tables, 1);
	if (options_parse(tables, ARRAY_SIZE(tables), arguments, count, &next))
		return -EINVAL;
	if (next < count)
		return log_errno(-EINVAL, "%s: options only, please; see --help", arguments[next]);
	return 0;
}

// "2,4-7" to cpus. 0 or -EINVAL, logged.
static int parse_cpus(struct invocation *invocation)
{
	const char *text = invocation->common.cpus;

	while (text && *text) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (end == text || (*end && *end != ',') || last < first || last >= CPU_SETSIZE)
			return log_errno(-EINVAL, "--cpus %s: not a list such as 2,4-7",
					 invocation->common.cpus);
		for (; first <= last && invocation->cpu_count < SERVER_MAX_WORKERS; first++)
			invocation->cpus[invocation->cpu_count++] = (int)first;
		text = *end ? end + 1 : end;
	}
	return 0;
}

// True if the process was only asked to print something.
static bool print_asked(const struct invocation *invocation)
{
	const struct common_options *common = &invocation->common;

	if (common->version)
		print_version();
	else if (common->list)
		print_list();
	else if (invocation->applet && common->help)
		print_applet_help(invocation->applet);
	else if (!invocation->applet)
		print_usage();
	else
		return false;
	return true;
}

static int open_listener(struct listener *listener, const struct common_options *common)
{
	bool has_fd = common->fd != OPTION_UNSET;

	if (!!common->socket + !!common->connect + has_fd != 1)
		return log_errno(-EINVAL,
				 "needs exactly one of --socket PATH, --fd N and --connect PATH");
	if (common->socket)
		return listener_open_path(listener, common->socket, (mode_t)common->socket_mode);
	if (common->connect)
		return listener_open_client(listener, common->connect);
	return listener_open_fd(listener, (int)common->fd);
}

static int serve(const struct invocation *invocation, struct device *device,
		 struct listener *listener)
{
	static struct server server; // too large for a stack
	const struct server_options options = {
		.workers = (unsigned)invocation->common.workers,
		.cpus = invocation->cpus,
		.cpu_count = invocation->cpu_count,
		.exit_on_disconnect = invocation->common.on_disconnect == ON_DISCONNECT_EXIT,
	};
	int error = server_init(&server, device, listener, &options);

	if (error)
		return EXIT_FAILED;
	if (listener->path)
		log_info("%s %s", listener->connects ? "calling" : "listening on", listener->path);
	error = server_serve(&server);
	listener_close(listener); // before the drain: nobody should connect to who is ending
	server_fini(&server);
	return error ? EXIT_PROTOCOL : EXIT_OK;
}

static int run(const struct invocation *invocation)
{
	const struct applet_arguments arguments = {.values = invocation->values,
						   .socket = invocation->common.socket};
	struct listener listener;
	struct device *device;
	int status;

	if (invocation->applet->open(&arguments, &device))
		return EXIT_DEVICE;
	if (open_listener(&listener, &invocation->common)) {
		invocation->applet->close(device);
		return EXIT_SOCKET;
	}
	status = serve(invocation, device, &listener);
	listener_close(&listener);
	invocation->applet->close(device);
	return status;
}

// vhost-user.rst, "Backend program conventions": then all else that is asked for is ignored.
static bool asks_for_capabilities(char **arguments, int count)
{
	for (int i = 1; i < count; i++)
		if (strcmp(arguments[i], "--print-capabilities") == 0)
			return true;
	return false;
}

static int run_applet(struct invocation *invocation, char **arguments, int count, int next)
{
	static char log_name[64];
	int status;

	snprintf(log_name, sizeof(log_name), "vhost-multi %s", invocation->applet->name);
	log_init(log_name, LOG_LEVEL_INFO);
	if (asks_for_capabilities(arguments, count)) {
		print_capabilities(invocation->applet);
		return EXIT_OK;
	}
	if (parse_applet(invocation, arguments, count, next) || parse_cpus(invocation)) {
		free(invocation->values);
		return EXIT_USAGE;
	}
	log_init(log_name, (enum log_level)invocation->common.log_level);
	status = print_asked(invocation) ? EXIT_OK : run(invocation);
	free(invocation->values);
	return status;
}

int main(int count, char **arguments)
{
	struct invocation invocation = {0};
	int next = 1, status;

	log_init("vhost-multi", LOG_LEVEL_INFO);
	if (is_install(arguments, count))
		return install_symlinks(arguments[3]) ? EXIT_FAILED : EXIT_OK;
	status = find_applet(&invocation, arguments, count, &next);
	if (status != EXIT_OK)
		return status;
	if (invocation.applet)
		return run_applet(&invocation, arguments, count, next);
	print_asked(&invocation);
	return EXIT_OK;
}
