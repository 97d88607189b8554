// SPDX-License-Identifier: Apache-2.0
// Which applet, its options, what is wrong with them, and what is only asked.
#include "command_line.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/postcopy.h"
#include "core/server.h"
#include "seccomp/sandbox.h"

static struct option_table common_table(struct invocation *invocation)
{
	return (struct option_table){.options = common_option_table,
				     .count = common_option_count,
				     .values = &invocation->common,
				     .given = &invocation->common_given};
}

// "--install -s DIR" as busybox spells it: the -s says "symlinks", which is all that we make.
static bool is_install(char **arguments, int count)
{
	return count == 4 && strcmp(arguments[1], "--install") == 0 &&
	       strcmp(arguments[2], "-s") == 0;
}

// What stands between the word `jail` and the applet's name, up to which *next is moved.
static int parse_jail(struct invocation *invocation, char **arguments, int count, int *next)
{
	invocation->jailed = true;
	if (jail_parse(&invocation->jail, arguments, count, next))
		return EXIT_USAGE;
	if (invocation->jail.help)
		jail_print_help();
	return EXIT_OK;
}

// Finds the applet by the program's name or, behind global options, by the first word; *next is moved past it.
static int find_applet(struct invocation *invocation, char **arguments, int count, int *next)
{
	const char *ignored, *name = count > 0 ? arguments[0] : "";
	const struct option_table tables[] = {common_table(invocation),
					      {.options = firecracker_option_table,
					       .count = firecracker_option_count,
					       .values = &ignored}};

	options_set_defaults(tables, 1);
	invocation->applet = applet_find(name);
	if (invocation->applet)
		return EXIT_OK;
	if (options_parse(tables, ARRAY_SIZE(tables), arguments, count, next))
		return EXIT_USAGE;
	if (*next < count && strcmp(arguments[*next], "jail") == 0) {
		++*next;
		if (parse_jail(invocation, arguments, count, next))
			return EXIT_USAGE;
	}
	if (*next >= count || invocation->jail.help)
		return EXIT_OK;
	name = arguments[(*next)++];
	invocation->applet = applet_find(name);
	if (invocation->applet)
		return EXIT_OK;
	applet_unknown(name, "no such applet");
	return EXIT_NO_APPLET;
}

static int parse_applet(struct invocation *invocation, char **arguments, int count, int next)
{
	const struct applet *applet = invocation->applet;
	u64 given = 0;
	struct option_table tables[] = {
		{.options = applet->options, .count = applet->option_count, .given = &given},
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

// The kernel says best what is there and ours: it is asked for each.
static int check_cpus(const struct invocation *invocation)
{
	cpu_set_t before, wanted;
	int error = invocation->cpu_count ? sched_getaffinity(0, sizeof(before), &before) : 0;

	for (unsigned i = 0; i < invocation->cpu_count && !error; i++) {
		CPU_ZERO(&wanted);
		CPU_SET((unsigned)invocation->cpus[i], &wanted);
		error = sched_setaffinity(0, sizeof(wanted), &wanted);
		if (error)
			log_error("--cpus %s: processor %d is not there, or not ours to use",
				  invocation->common.cpus, invocation->cpus[i]);
		else
			error = sched_setaffinity(0, sizeof(before), &before);
	}
	return error ? -EINVAL : 0;
}

// "2,4-7" to cpus. 0 or -EINVAL, logged.
static int parse_cpus(struct invocation *invocation)
{
	const char *text = invocation->common.cpus;

	while (text && *text) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;
		bool is_number = *text >= '0' && *text <= '9';

		if (*end == '-') {
			is_number = is_number && end[1] >= '0' && end[1] <= '9';
			last = strtoul(end + 1, &end, 10);
		}
		if (!is_number || (*end && (*end != ',' || !end[1])) || last < first ||
		    last >= 8 * sizeof(cpu_set_t))
			return log_errno(-EINVAL, "--cpus %s: not a list such as 2,4-7",
					 invocation->common.cpus);
		for (; first <= last && invocation->cpu_count < SERVER_MAX_WORKERS; first++)
			invocation->cpus[invocation->cpu_count++] = (int)first;
		text = *end ? end + 1 : end;
	}
	return 0;
}

static void report_sandbox(const struct invocation *invocation)
{
	size_t count;
	const struct syscall_rule *rules = invocation->applet->rules(NULL, &count);

	print_rules("control", server_rules, server_rule_count);
	if (invocation->common.postcopy)
		print_rules("control", postcopy_rules, postcopy_rule_count);
	print_rules("worker", worker_rules, worker_rule_count);
	print_rules("worker", rules, count);
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
	else if (invocation->applet && common->sandbox_report)
		report_sandbox(invocation);
	else if (!invocation->applet && !invocation->jail.help)
		print_usage();
	else
		return false;
	return true;
}

// What is asked of the binary as a whole; without any word it says what it is.
static int answer_without_applet(const struct invocation *invocation, char **arguments, int count)
{
	const char *slash = count > 0 ? strrchr(arguments[0], '/') : NULL;
	const char *name = slash ? slash + 1 : count > 0 ? arguments[0] : "";

	if (invocation->common.install) {
		log_error("--install %s: is said as --install -s DIR, and nothing else with it",
			  invocation->common.install);
		return EXIT_USAGE;
	}
	if (invocation->common.version || invocation->common.list || invocation->common.help ||
	    invocation->jail.help) {
		print_asked(invocation);
		return EXIT_OK;
	}
	if (strncmp(name, "vhost-", 6) == 0 && strncmp(name, "vhost-multi", 11) != 0) {
		applet_unknown(name, "is called by the name of no applet");
		return EXIT_USAGE;
	}
	if (count > 1) {
		log_error("which applet? vhost-multi --list names them, and its name stands behind "
			  "%s",
			  arguments[count - 1]);
		return EXIT_USAGE;
	}
	print_usage();
	return EXIT_OK;
}

// Which of them it is, one has to say.
static int check_socket(const struct common_options *common)
{
	bool has_fd = common->fd != OPTION_UNSET;

	if (!!common->socket + !!common->connect + has_fd != 1)
		return log_errno(-EINVAL,
				 "needs exactly one of --socket PATH, --fd N and --connect PATH");
	return 0;
}

// Options that do nothing here, so that nobody relies on them.
static void warn_of_no_effect(const struct invocation *invocation)
{
	const struct common_options *common = &invocation->common;

	if (!common->socket && (common->socket_user || common->socket_group))
		log_warning(
			"--socket-user and --socket-group are for what we make, not for --fd and "
			"--connect");
	if (common->sandbox == SANDBOX_NONE && (common->user || common->group || common->netns))
		log_warning(
			"--user, --group and --netns have no effect with --sandbox none: we stay "
			"who and where we are");
}

// vhost-user.rst, "Backend program conventions": then all else that is asked for is ignored.
static bool asks_for_capabilities(char **arguments, int count)
{
	for (int i = 1; i < count; i++)
		if (strcmp(arguments[i], "--print-capabilities") == 0)
			return true;
	return false;
}

// All that is wrong with the command line itself. 0 or -EINVAL, logged.
static int check_usage(struct invocation *invocation)
{
	struct common_options *common = &invocation->common;
	const struct applet_arguments arguments = {.values = invocation->values,
						   .socket = common->socket};
	int error = parse_cpus(invocation);

	if (!error)
		error = check_cpus(invocation);
	if (!error && invocation->jailed)
		error = jail_decide(&invocation->jail, common);
	if (!error)
		error = check_socket(common);
	if (!error && invocation->applet->check)
		error = invocation->applet->check(&arguments);
	if (!error)
		warn_of_no_effect(invocation);
	return error;
}

// *serves: nothing else was asked for.
static int read_applet(struct invocation *invocation, char **arguments, int count, int next,
		       bool *serves)
{
	snprintf(invocation->log_name, sizeof(invocation->log_name), "vhost-multi %s",
		 invocation->applet->name);
	log_init(invocation->log_name, LOG_LEVEL_INFO);
	if (asks_for_capabilities(arguments, count)) {
		print_capabilities(invocation->applet);
		return EXIT_OK;
	}
	if (parse_applet(invocation, arguments, count, next))
		return EXIT_USAGE;
	log_init(invocation->log_name, (enum log_level)invocation->common.log_level);
	if (print_asked(invocation))
		return EXIT_OK;
	if (check_usage(invocation))
		return EXIT_USAGE;
	*serves = true;
	return EXIT_OK;
}

int command_line_read(struct invocation *invocation, char **arguments, int count, bool *serves)
{
	int next = 1, status;

	if (is_install(arguments, count))
		return install_symlinks(arguments[3]) ? EXIT_FAILED : EXIT_OK;
	status = find_applet(invocation, arguments, count, &next);
	if (status != EXIT_OK)
		return status;
	return invocation->applet ? read_applet(invocation, arguments, count, next, serves)
				  : answer_without_applet(invocation, arguments, count);
}
