// SPDX-License-Identifier: Apache-2.0
// The options that every applet has, and the list of applets.
#pragma once

#include "applets/applet.h"

struct common_options {
	const char *socket, *connect, *cpus;
	u64 fd, socket_mode, workers;
	unsigned on_disconnect, log_level, packed, postcopy;
	bool in_order;
	const char *user, *group, *netns, *socket_user, *socket_group;
	unsigned sandbox;
	bool help, version, list, print_capabilities, sandbox_report;
	const char *install;
};

enum { ON_DISCONNECT_LISTEN, ON_DISCONNECT_EXIT };

// The first SERVING_OPTIONS rows are about serving, for every applet's --help; the rest for the binary as a whole.
extern const struct option common_option_table[];
extern const size_t common_option_count, serving_option_count;

// All applets in this build, NULL at the end.
extern const struct applet *const applet_list[];

// By the name of a command: "blk", "vhost-blk", or a path that ends so. NULL if none is called so.
const struct applet *applet_find(const char *name);

// One line that `name`, which is none, is no applet's, and which one may be meant. `what` is said of it.
void applet_unknown(const char *name, const char *what);

void print_version(void);
void print_list(void);
void print_usage(void);
void print_applet_help(const struct applet *applet);
void print_capabilities(const struct applet *applet);
void print_rules(const char *thread, const struct syscall_rule *rules, size_t count);

// Makes a symlink in `folder` to this program for each applet. 0 or -errno, logged.
must_check int install_symlinks(const char *folder);
