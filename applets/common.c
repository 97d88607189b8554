// SPDX-License-Identifier: Apache-2.0
// What is asked of the binary as a whole: its options, its applets, help, and the symlinks.
#include "applets/common.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "applets/nearest.h"
#include "core/log.h"
#include "core/sys.h"

// clang-format off
const struct option common_option_table[] = {
	{.name = "socket", .aliases = "socket-path", .letter = 's', .type = OPTION_TEXT, .argument = "PATH",
	 .help = "listen on this unix socket; @NAME: an abstract one",
	 .offset = offsetof(struct common_options, socket)},
	{.name = "fd", .aliases = "socket-fd", .type = OPTION_NUMBER, .argument = "N", .max = INT_MAX,
	 .help = "or: an inherited socket, listening or connected",
	 .offset = offsetof(struct common_options, fd)},
	{.name = "connect", .type = OPTION_TEXT, .argument = "PATH",
	 .help = "or: call the front-end that listens there",
	 .offset = offsetof(struct common_options, connect)},
	{.name = "socket-mode", .type = OPTION_MODE, .argument = "MODE", .initial = "0600", .max = 0777,
	 .help = "permissions of the socket file, in octal",
	 .offset = offsetof(struct common_options, socket_mode)},
	{.name = "socket-user", .type = OPTION_TEXT, .argument = "NAME", .help = "whose it is [who starts us]",
	 .offset = offsetof(struct common_options, socket_user)},
	{.name = "socket-group", .type = OPTION_TEXT, .argument = "NAME", .help = "and of which group [of --group]",
	 .offset = offsetof(struct common_options, socket_group)},
	{.name = "on-disconnect", .type = OPTION_CHOICE, .choices = "listen|exit", .initial = "listen",
	 .help = "when the front-end goes",
	 .offset = offsetof(struct common_options, on_disconnect)},
	{.name = "workers", .type = OPTION_NUMBER, .argument = "N", .initial = "1", .min = 1, .max = 64,
	 .help = "threads that serve the queues",
	 .offset = offsetof(struct common_options, workers)},
	{.name = "cpus", .type = OPTION_TEXT, .argument = "LIST",
	 .help = "processors for the workers in turn, such as 2,4-7",
	 .offset = offsetof(struct common_options, cpus)},
	{.name = "packed", .type = OPTION_CHOICE, .choices = "off|on", .initial = "off",
	 .help = "offer the packed ring layout",
	 .offset = offsetof(struct common_options, packed)},
	{.name = "in-order", .type = OPTION_FLAG,
	 .help = "offer to answer requests in their order",
	 .offset = offsetof(struct common_options, in_order)},
	{.name = "postcopy", .type = OPTION_CHOICE, .choices = "off|on", .initial = "off",
	 .help = "offer that a guest runs here before its memory has come",
	 .offset = offsetof(struct common_options, postcopy)},
	{.name = "sandbox", .type = OPTION_CHOICE, .choices = "strict|best-effort|none", .initial = "strict",
	 .help = "what to do if the host hinders it",
	 .offset = offsetof(struct common_options, sandbox)},
	{.name = "user", .type = OPTION_TEXT, .argument = "NAME", .help = "run as [nobody, if started as root]",
	 .offset = offsetof(struct common_options, user)},
	{.name = "group", .type = OPTION_TEXT, .argument = "NAME", .help = "and with this group",
	 .offset = offsetof(struct common_options, group)},
	{.name = "netns", .type = OPTION_TEXT, .argument = "PATH", .help = "join this network namespace [a new one]",
	 .offset = offsetof(struct common_options, netns)},
	{.name = "sandbox-report", .type = OPTION_FLAG, .help = "print the system calls of each thread",
	 .offset = offsetof(struct common_options, sandbox_report)},
	{.name = "log-level", .type = OPTION_CHOICE, .choices = "error|warning|info|debug|trace", .initial = "info",
	 .help = "how much to say; trace: each message in words",
	 .offset = offsetof(struct common_options, log_level)},
	{.name = "print-capabilities", .type = OPTION_FLAG,
	 .help = "print what vhost-user.json asks for, as JSON",
	 .offset = offsetof(struct common_options, print_capabilities)},
	{.name = "help", .letter = 'h', .type = OPTION_FLAG, .help = "print this",
	 .offset = offsetof(struct common_options, help)},
	{.name = "version", .letter = 'V', .type = OPTION_FLAG, .help = "print the version",
	 .offset = offsetof(struct common_options, version)},
	{.name = "list", .type = OPTION_FLAG, .help = "print the applets' names, one a line",
	 .offset = offsetof(struct common_options, list)},
	{.name = "install", .type = OPTION_TEXT, .argument = "-s DIR",
	 .help = "make a symlink in DIR for each applet",
	 .offset = offsetof(struct common_options, install)},
};
// clang-format on

const size_t common_option_count = ARRAY_SIZE(common_option_table);
const size_t serving_option_count = 20;

#define APPLET(name) extern const struct applet name##_applet;
#include "generated/applet_list.h"
#undef APPLET

#define APPLET(name) &name##_applet,
const struct applet *const applet_list[] = {
#include "generated/applet_list.h"
	NULL,
};
#undef APPLET

static const char prefix[] = "vhost-";

// What is left of a command's name without its folder and "vhost-".
static const char *bare_name(const char *name)
{
	const char *slash = strrchr(name, '/');

	name = slash ? slash + 1 : name;
	return strncmp(name, prefix, strlen(prefix)) == 0 ? name + strlen(prefix) : name;
}

const struct applet *applet_find(const char *name)
{
	name = bare_name(name);
	for (size_t i = 0; applet_list[i]; i++)
		if (strcmp(applet_list[i]->name, name) == 0)
			return applet_list[i];
	return NULL;
}

void applet_unknown(const char *name, const char *what)
{
	const char *bare = bare_name(name);
	struct nearest nearest;

	nearest_init(&nearest, bare, strlen(bare));
	for (size_t i = 0; applet_list[i]; i++)
		nearest_offer(&nearest, applet_list[i]->name, strlen(applet_list[i]->name));
	nearest_offer(&nearest, "jail", strlen("jail"));
	log_error("%s: %s%s%.*s%s vhost-multi --list names them", name, what,
		  nearest.best ? "; do you mean " : "", (int)nearest.best_len, nearest.best ?: "",
		  nearest.best ? "?" : ";");
}

void print_version(void)
{
	printf("vhost-multi %s\n", VHOST_MULTI_VERSION);
}

void print_list(void)
{
	for (size_t i = 0; applet_list[i]; i++)
		printf("%s\n", applet_list[i]->name);
}

void print_usage(void)
{
	print_version();
	printf("Serves one virtio device of one virtual machine over a vhost-user socket.\n\n"
	       "Usage: vhost-multi [OPTIONS] APPLET [OPTIONS]\n"
	       "   or: vhost-APPLET [OPTIONS]          (by a symlink)\n"
	       "   or: vhost-multi jail [OPTIONS] -- APPLET [OPTIONS]\n"
	       "   or: vhost-multi --install -s DIR    (makes these symlinks)\n\n"
	       "Applets:\n");
	for (size_t i = 0; applet_list[i]; i++)
		printf("  %-10s %s\n", applet_list[i]->name, applet_list[i]->summary);
	printf("\nvhost-multi APPLET --help says more.\n");
}

void print_applet_help(const struct applet *applet)
{
	printf("Usage: vhost-multi %s [OPTIONS]\n"
	       "Serves %s.\n\nExamples:\n%s\nDevice:\n",
	       applet->name, applet->summary, applet->examples);
	options_print_help(applet->options, applet->option_count);
	printf("\nServing:\n");
	options_print_help(common_option_table, serving_option_count);
}

void print_capabilities(const struct applet *applet)
{
	printf("{\n  \"type\": \"%s\",\n  \"features\": [%s]\n}\n", applet->backend_type,
	       applet->capabilities);
}

int install_symlinks(const char *folder)
{
	char target[PATH_MAX] = "";
	long len = sys(readlink("/proc/self/exe", target, sizeof(target) - 1));

	if (len < 0)
		return log_errno((int)len, "cannot find out where this program is");
	for (size_t i = 0; applet_list[i]; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s%s", folder, prefix, applet_list[i]->name);
		if (symlink(target, path) != 0)
			return log_errno(-errno, "cannot make the symlink %s", path);
		printf("%s -> %s\n", path, target);
	}
	return 0;
}

static void print_check(const struct syscall_check *check)
{
	static const char *const known[] = {"REPLACEMENT-FD", "DEVICE-FD", "LISTENER-FD",
					    "USERFAULT-FD",   "OWN-FDS",   "OWN-PID"};

	printf(" arg%u", check->index);
	if (check->mask != UINT64_MAX && check->mask != UINT32_MAX)
		printf("&%#llx", (unsigned long long)check->mask);
	if (check->value >= RULE_REPLACEMENT_FD && check->value <= RULE_OWN_PID)
		printf("=%s", known[check->value - RULE_REPLACEMENT_FD]);
	else
		printf("=%#llx", (unsigned long long)check->value);
}

void print_rules(const char *thread, const struct syscall_rule *rules, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		printf("%s %s", thread, rules[i].name);
		for (unsigned c = 0; c < rules[i].check_count; c++)
			print_check(&rules[i].checks[c]);
		printf(" # %s\n", rules[i].reason);
	}
}
