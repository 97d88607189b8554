// SPDX-License-Identifier: Apache-2.0
// The life of a process: read the command line, open, listen, start the workers, serve, give back.
#include <sys/auxv.h>

#include "command_line.h"
#include "core/keeper.h"
#include "core/log.h"
#include "core/memory_fault.h"
#include "core/postcopy.h"
#include "core/process.h"
#include "core/process_name.h"
#include "core/server.h"
#include "jail/jail.h"
#include "seccomp/ids.h"
#include "seccomp/sandbox.h"

enum {
	MOST_INHERITED = 64,
};

static int open_listener(struct listener *listener, const struct common_options *common,
			 const struct file_access *access)
{
	if (common->socket)
		return listener_open_path(listener, common->socket, access);
	if (common->connect)
		return listener_open_client(listener, common->connect);
	return listener_open_fd(listener, (int)common->fd);
}

static const char *front_end_path(const struct common_options *common)
{
	if (common->fd != OPTION_UNSET)
		return listener_path_of_fd((int)common->fd);
	return common->socket ? common->socket : common->connect;
}

// Without more being said, who is in the group of --group may be let in by --socket-mode.
static int find_access(struct file_access *access, const struct common_options *common,
		       const struct sandbox *sandbox)
{
	gid_t ignored;
	int error = 0;

	*access = *FILE_ACCESS((mode_t)common->socket_mode);
	if (common->user || common->group)
		access->gid = sandbox->gid;
	if (common->socket_user)
		error = ids_find_user("socket-user", common->socket_user, &access->uid, &ignored);
	if (!error && common->socket_group)
		error = ids_find_group("socket-group", common->socket_group, &access->gid);
	return error;
}

// A process beside ours needs the file system, so all that it gives up is what it has no use for.
static int lock_helper(void *context, const struct syscall_rule *rules, size_t count)
{
	static struct sandbox_filter filter;
	struct sandbox *sandbox = context;
	const struct sandbox_table table = {rules, count};
	const struct sandbox_fds fds = {-1, -1, -1, -1, NULL, 0};
	int error;

	jail_release_helper();
	if (sandbox->mode == SANDBOX_NONE)
		return 0;
	error = sandbox_compile(sandbox, &filter, &table, 1, &fds);
	if (!error)
		error = sandbox_lock_keeper(sandbox);
	return error ? error : sandbox_install(sandbox, &filter);
}

// Last of all, since it has its own lockdown to do meanwhile.
static int await_keeper(struct sandbox *sandbox, const struct listener *listener)
{
	int error = listener_wait_keeper(listener);

	return error ? sandbox_step_failed(sandbox, "keeper", error,
					   "it has ended before it was locked in")
		     : 0;
}

// A worker's thread installs its filter.
struct installation {
	struct sandbox *sandbox;
	struct sandbox_filter filter;
	int error;
};

static void install(void *context)
{
	struct installation *installation = context;

	if (!installation->error)
		installation->error = sandbox_install(installation->sandbox, &installation->filter);
}

static int compile(struct sandbox *sandbox, const struct invocation *invocation,
		   const struct server *server, struct sandbox_filter *control,
		   struct sandbox_filter *worker)
{
	const struct sandbox_fds fds = {.replacement = memory_fault_fd(),
					.device = server->device->main_fd,
					.listener = server->listener->fd,
					.userfault = server->session.postcopy.fd,
					.own = server->device->own_fds,
					.own_count = server->device->own_fd_count};
	// without a vDSO, which is rare, the control thread needs a call to know the time
	static const struct syscall_rule clock_rule[] = {RULE(clock_gettime, "the time")};
	const struct sandbox_table control_tables[] = {
		{server_rules, server_rule_count},
		{clock_rule, getauxval(AT_SYSINFO_EHDR) ? 0 : 1},
		{postcopy_rules, fds.userfault >= 0 ? postcopy_rule_count : 0},
	};
	struct sandbox_table worker_tables[] = {{worker_rules, worker_rule_count}, {0}};
	int error =
		sandbox_compile(sandbox, control, control_tables, ARRAY_SIZE(control_tables), &fds);

	worker_tables[1].rules = invocation->applet->rules(server->device, &worker_tables[1].count);
	return error ? error : sandbox_compile(sandbox, worker, worker_tables, 2, &fds);
}

// The last steps of the lockdown: each kind of thread gets its filter.
static int lock_threads(struct sandbox *sandbox, const struct invocation *invocation,
			struct server *server, unsigned fds)
{
	static struct sandbox_filter control;
	static struct installation installation;
	int error;

	installation.sandbox = sandbox;
	error = compile(sandbox, invocation, server, &control, &installation.filter);
	if (!error)
		error = sandbox_limit(sandbox, fds, server->device->kernel_threads);
	if (error)
		return error;
	server_on_workers(server, install, &installation);
	if (installation.error)
		return installation.error;
	error = jail_seal(fds);
	return error ? error : sandbox_install(sandbox, &control);
}

static u64 ring_features(const struct common_options *common)
{
	return (common->packed ? BIT64(VIRTIO_F_RING_PACKED) : 0) |
	       (common->in_order ? BIT64(VIRTIO_F_IN_ORDER) : 0);
}

static int start(struct sandbox *sandbox, const struct invocation *invocation,
		 struct server *server, struct device *device, struct listener *listener)
{
	const struct server_options options = {
		.workers = (unsigned)invocation->common.workers,
		.cpus = invocation->cpus,
		.cpu_count = invocation->cpu_count,
		.exit_on_disconnect = invocation->common.on_disconnect == ON_DISCONNECT_EXIT,
		.ring_features = ring_features(&invocation->common),
	};
	int userfault_fd = -1, fds;

	if (sandbox->mode != SANDBOX_NONE && keeper_start(listener, lock_helper, sandbox))
		return EXIT_FAILED;
	if (invocation->common.postcopy) {
		userfault_fd = postcopy_open();
		if (userfault_fd < 0)
			return EXIT_FAILED;
	}
	if (sandbox_isolate(sandbox))
		return EXIT_SANDBOX;
	fds = process_fd_limit(server_more_fds(device, &options));
	if (fds < 0 || server_init(server, device, listener, &options))
		return EXIT_FAILED;
	server_offer_postcopy(server, userfault_fd);
	if (lock_threads(sandbox, invocation, server, (unsigned)fds) ||
	    await_keeper(sandbox, listener))
		return EXIT_SANDBOX;
	return EXIT_OK;
}

// Once locked in, the process does not take itself apart: it drains, has the socket removed, and ends.
static int serve(struct sandbox *sandbox, const struct invocation *invocation,
		 struct device *device, struct listener *listener)
{
	static struct server server; // too large for a stack
	int status = start(sandbox, invocation, &server, device, listener);

	if (status == EXIT_OK) {
		sandbox_report(sandbox);
		if (listener->path)
			log_info("%s %s", listener->connects ? "calling" : "listening on",
				 listener->path);
		jail_ready();
		status = server_serve(&server) ? EXIT_PROTOCOL : EXIT_OK;
	}
	listener_close(listener); // before the drain: nobody should connect to who is ending
	if (server.device)
		server_drain(&server);
	_exit(status);
}

static int prepare(struct sandbox *sandbox, const struct invocation *invocation)
{
	const struct sandbox_options options = {
		.mode = (enum sandbox_mode)invocation->common.sandbox,
		.user = invocation->common.user,
		.group = invocation->common.group,
		.netns = invocation->common.netns};
	int keep[MOST_INHERITED + JAIL_MAX_FDS];
	unsigned count = 0;

	if (invocation->common.fd != OPTION_UNSET)
		keep[count++] = (int)invocation->common.fd;
	if (invocation->applet->inherited_fds)
		count += invocation->applet->inherited_fds(invocation->values, keep + count,
							   MOST_INHERITED - count);
	count += jail_fds(keep + count);
	return sandbox_prepare(sandbox, &options, keep, count);
}

// Everything from here on happens in the jail's own process, which says so in its lines.
static int enter_jail(const struct invocation *invocation)
{
	enum log_level level = (enum log_level)invocation->common.log_level;
	int error = jail_enter(&invocation->jail, level);

	log_init(invocation->log_name, level);
	return error;
}

// Who is started as inetd(8) does it has the socket as all standard fds, and would log into it.
static int take_socket_apart(struct common_options *common)
{
	struct stat file;
	int fd = (int)common->fd;

	if (common->fd == OPTION_UNSET || fstat(fd, &file) != 0 || !S_ISSOCK(file.st_mode))
		return 0; // what it is instead is said when it is to be used
	fd = process_take_apart(fd);
	if (fd >= 0)
		common->fd = (u64)fd;
	return fd < 0 ? log_errno(fd, "cannot keep standard error off --fd") : 0;
}

static int run(struct invocation *invocation)
{
	static struct sandbox sandbox;
	struct applet_arguments arguments = {.values = invocation->values,
					     .socket = invocation->common.socket,
					     .front_end = front_end_path(&invocation->common),
					     .lock_helper = lock_helper,
					     .lock_context = &sandbox};
	struct listener listener;
	struct device *device;
	int error;

	if (take_socket_apart(&invocation->common))
		return EXIT_SOCKET;
	if (invocation->jailed && enter_jail(invocation))
		return EXIT_SANDBOX;
	if (prepare(&sandbox, invocation))
		return EXIT_SANDBOX;
	if (find_access(&arguments.access, &invocation->common, &sandbox))
		return EXIT_USAGE;
	if (invocation->jailed) {
		sandbox.netns_fd = jail_netns_fd();
		listener_own_working_folder();
	}
	// before the device may wait for what an ended process there has left: one that serves is another matter
	if (arguments.socket && listener_clear_path(arguments.socket))
		return EXIT_SOCKET;
	error = invocation->applet->open(&arguments, &device);
	if (error)
		return error == -EADDRINUSE ? EXIT_SOCKET : EXIT_DEVICE;
	server_catch_signals();
	if (open_listener(&listener, &invocation->common, &arguments.access)) {
		invocation->applet->close(device);
		return EXIT_SOCKET;
	}
	return serve(&sandbox, invocation, device, &listener);
}

int main(int count, char **arguments)
{
	struct invocation invocation = {0};
	bool serves = false;
	int status;

	if (process_begin())
		return EXIT_FAILED;
	log_init("vhost-multi", LOG_LEVEL_INFO);
	arguments = process_name_take_place(count, arguments);
	if (!arguments)
		return EXIT_FAILED;
	status = command_line_read(&invocation, arguments, count, &serves);
	if (serves)
		status = run(&invocation);
	free(invocation.values);
	return status;
}
