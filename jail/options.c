// SPDX-License-Identifier: Apache-2.0
// The launcher's options: their table, and what is wrong with their values.
#include "jail/options.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "core/log.h"
#include "seccomp/ids.h"
#include "seccomp/sandbox.h"

enum { ID_MAX_LEN = 64, LEAST_FILES = 32 };

// clang-format off
static const struct option jail_option_table[] = {
	{.name = "id", .type = OPTION_TEXT, .argument = "ID", .may_be_empty = true,
	 .help = "of the VM: 1 to 64 of A-Z, a-z, 0-9 and -; required",
	 .offset = offsetof(struct jail_options, id)},
	{.name = "uid", .type = OPTION_NUMBER, .argument = "N", .initial = "65534", .min = 1, .max = UINT32_MAX - 1,
	 .help = "user of the process and of the socket",
	 .offset = offsetof(struct jail_options, uid)},
	{.name = "gid", .type = OPTION_NUMBER, .argument = "N", .min = 1, .max = UINT32_MAX - 1,
	 .help = "and group [as --uid]",
	 .offset = offsetof(struct jail_options, gid)},
	{.name = "chroot-base-dir", .type = OPTION_TEXT, .argument = "DIR", .initial = "/srv/jailer",
	 .help = "the VM's folder is DIR/vhost-multi/ID",
	 .offset = offsetof(struct jail_options, base)},
	{.name = "netns", .type = OPTION_TEXT, .argument = "PATH",
	 .help = "join this network namespace [a new one]",
	 .offset = offsetof(struct jail_options, netns)},
	{.name = "cgroup", .type = OPTION_LIST, .argument = "FILE=VALUE", .max = OPTION_LIST_MAX,
	 .help = "of the VM's cgroup v2, such as pids.max=8; may be repeated",
	 .offset = offsetof(struct jail_options, cgroup_values)},
	{.name = "parent-cgroup", .type = OPTION_TEXT, .argument = "NAME",
	 .help = "the VM's cgroup is NAME/ID [vhost-multi, if --cgroup is given]",
	 .offset = offsetof(struct jail_options, parent_cgroup)},
	{.name = "resource-limit", .type = OPTION_LIST, .argument = "no-file=N|fsize=N", .max = 2,
	 .help = "open files; bytes of a file that is written",
	 .offset = offsetof(struct jail_options, limits)},
	{.name = "new-pid-ns", .type = OPTION_FLAG, .help = "run as process 1 of a new pid namespace",
	 .offset = offsetof(struct jail_options, new_pid_ns)},
	{.name = "daemonize", .type = OPTION_FLAG,
	 .help = "return when front-ends can connect, and go on in the background",
	 .offset = offsetof(struct jail_options, daemonize)},
	{.name = "help", .letter = 'h', .type = OPTION_FLAG, .help = "print this",
	 .offset = offsetof(struct jail_options, help)},
};

const struct option firecracker_option_table[] = {
	{.name = "id", .type = OPTION_TEXT, .argument = "ID", .may_be_empty = true},
	{.name = "start-time-us", .type = OPTION_TEXT, .argument = "N", .may_be_empty = true},
	{.name = "start-time-cpu-us", .type = OPTION_TEXT, .argument = "N", .may_be_empty = true},
	{.name = "parent-cpu-time-us", .type = OPTION_TEXT, .argument = "N", .may_be_empty = true},
};
// clang-format on

const size_t firecracker_option_count = ARRAY_SIZE(firecracker_option_table);

// One line; -EINVAL.
#define usage(...) (log_error(__VA_ARGS__), -EINVAL)

static int check_id(const char *id)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";

	if (!id)
		return usage("jail: needs --id ID, the VM's name");
	if (!*id || strlen(id) > ID_MAX_LEN || id[strspn(id, allowed)])
		return usage("--id %.80s: must be 1 to %d of A-Z, a-z, 0-9 and -", id, ID_MAX_LEN);
	return 0;
}

// Of the core's own files only those that limit: the others move, freeze or kill processes, those of the host too, or change what
// kind of cgroup it is.
static bool is_limit(const char *text, size_t len)
{
	static const char *const limits[] = {"cgroup.max.depth", "cgroup.max.descendants",
					     "cgroup.pressure"};

	if (strncmp(text, "cgroup.", 7) != 0)
		return true; // a controller's
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (strlen(limits[i]) == len && memcmp(text, limits[i], len) == 0)
			return true;
	return false;
}

// Names of cgroup files have a dot inside; a slash would lead to another group's.
static int check_cgroup_value(const char *text)
{
	size_t len = strcspn(text, "=/"), dot = strcspn(text, ".");

	if (text[len] != '=' || dot == 0 || dot >= len || !text[len + 1])
		return usage("--cgroup %s: must be FILE=VALUE, such as pids.max=8", text);
	if (!is_limit(text, len))
		return usage("--cgroup %s: %.*s is no limit; what processes are in the cgroup, and "
			     "what becomes of them, is the jail's",
			     text, (int)len, text);
	return 0;
}

static bool goes_up(const char *path)
{
	while (*(path += strspn(path, "/"))) {
		size_t len = strcspn(path, "/");

		if (len == 2 && memcmp(path, "..", 2) == 0)
			return true;
		path += len;
	}
	return false;
}

static int check_parent_cgroup(const char *path)
{
	if (*path == '/' || goes_up(path))
		return usage("--parent-cgroup %s: must be below the cgroup mount, such as vms",
			     path);
	return 0;
}

int jail_split_limit(const char *text, int *resource, u64 *value)
{
	static const struct {
		const char *name;
		int resource;
	} known[] = {{"no-file=", RLIMIT_NOFILE}, {"fsize=", RLIMIT_FSIZE}};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t len = strlen(known[i].name);

		if (strncmp(text, known[i].name, len) != 0)
			continue;
		*resource = known[i].resource;
		return options_parse_size(text + len, value);
	}
	return -EINVAL;
}

static int check_limit(const char *text)
{
	int resource;
	u64 value;

	if (jail_split_limit(text, &resource, &value))
		return usage("--resource-limit %s: must be no-file=N or fsize=N", text);
	if (resource == RLIMIT_NOFILE && value < LEAST_FILES)
		return usage("--resource-limit %s: must be %d or more, or no front-end could be "
			     "served",
			     text, LEAST_FILES);
	return 0;
}

static int check(const struct jail_options *options)
{
	int error = check_id(options->id);

	if (!error && (options->base[0] != '/' || goes_up(options->base)))
		error = usage("--chroot-base-dir %s: must be an absolute path without ..",
			      options->base);
	if (!error && options->parent_cgroup)
		error = check_parent_cgroup(options->parent_cgroup);
	for (unsigned i = 0; i < options->cgroup_values.count && !error; i++)
		error = check_cgroup_value(options->cgroup_values.items[i]);
	for (unsigned i = 0; i < options->limits.count && !error; i++)
		error = check_limit(options->limits.items[i]);
	return error;
}

int jail_parse(struct jail_options *options, char *const *arguments, int count, int *next)
{
	u64 given = 0;
	const struct option_table table = {.options = jail_option_table,
					   .count = ARRAY_SIZE(jail_option_table),
					   .values = options,
					   .given = &given};

	options_set_defaults(&table, 1);
	if (options_parse(&table, 1, arguments, count, next))
		return -EINVAL;
	if (options->help)
		return 0;
	if (options->gid == OPTION_UNSET)
		options->gid = options->uid;
	if (options->cgroup_values.count && !options->parent_cgroup)
		options->parent_cgroup = "vhost-multi";
	if (check(options))
		return -EINVAL;
	if (*next >= count)
		return usage("jail: what is to run? put it at the end, such as "
			     "-- blk --socket disk.sock --path /disk.img");
	return 0;
}

// The VM's user, unless another program of another user is to connect.
static int decide_socket(struct jail_options *options, struct common_options *common)
{
	gid_t ignored;
	int error;

	common->socket_user = common->socket_user ?: common->user;
	common->socket_group = common->socket_group ?: common->group;
	error = ids_find_user("socket-user", common->socket_user, &options->socket_uid, &ignored);
	return error ? error
		     : ids_find_group("socket-group", common->socket_group, &options->socket_gid);
}

int jail_decide(struct jail_options *options, struct common_options *common)
{
	static char user[16], group[16];

	if (common->user || common->group || common->netns)
		return usage("--user, --group and --netns are the jail's: give --uid, "
			     "--gid and --netns in front of the applet");
	if (common->sandbox == SANDBOX_NONE)
		return usage("--sandbox none: in a jail it would leave root to the "
			     "applet; best-effort is the least");
	if (common->socket && (strchr(common->socket, '/') || *common->socket == '@'))
		return usage("--socket %s: in a jail it is a name without / or @, as the socket is "
			     "made in the VM's folder",
			     common->socket);
	snprintf(user, sizeof(user), "%u", (unsigned)options->uid);
	snprintf(group, sizeof(group), "%u", (unsigned)options->gid);
	common->user = user;
	common->group = group;
	return decide_socket(options, common);
}

void jail_print_help(void)
{
	printf("Usage: vhost-multi jail --id ID [OPTIONS] -- APPLET [OPTIONS]\n"
	       "Runs an applet for one VM in a folder, a cgroup and with ids of the VM's own, and "
	       "cleans up at its end.\n\n"
	       "Examples:\n"
	       "  vhost-multi jail --id vm1 --uid 1001 -- blk --socket disk.sock --path /disk.img\n"
	       "  vhost-multi jail --id vm1 --uid 1001 --cgroup pids.max=8 --new-pid-ns \\\n"
	       "      --daemonize -- rng --socket rng.sock\n\nOptions:\n");
	options_print_help(jail_option_table, ARRAY_SIZE(jail_option_table));
}
