// SPDX-License-Identifier: Apache-2.0
// What stands between `vhost-multi jail` and the applet, with the names of Firecracker's jailer.
#pragma once

#include "applets/common.h"

struct jail_options {
	const char *id, *base, *netns, *parent_cgroup;
	u64 uid, gid;
	uid_t socket_uid; // of the socket, and of the folder around it
	gid_t socket_gid;
	struct option_list cgroup_values, limits;
	bool new_pid_ns, daemonize, help;
};

// What Firecracker's jailer puts in front of the arguments of the program that it starts: accepted and ignored. All rows
// share one text as their value.
extern const struct option firecracker_option_table[];
extern const size_t firecracker_option_count;

// Parses arguments[*next] and what follows, up to the applet's name. 0, or -EINVAL with one line that says why; nothing is
// asked of the options if one of them is --help.
must_check int jail_parse(struct jail_options *options, char *const *arguments, int count,
			  int *next);

// Gives the applet what the jail decides for it: user and group, and those of its socket unless it says otherwise, which the folder
// around it gets too. 0, or -EINVAL, logged, if the applet was told what is the jail's to say.
must_check int jail_decide(struct jail_options *options, struct common_options *common);

// Splits "no-file=64" into the resource of setrlimit(2) and the number. 0 or -EINVAL, nothing logged.
must_check int jail_split_limit(const char *text, int *resource, u64 *value);

void jail_print_help(void);
