// SPDX-License-Identifier: Apache-2.0
// The steps of the jail, in their order. Each undoes itself if a later one fails.
#include "jail/jail.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "core/log.h"
#include "core/sys.h"
#include "jail/cgroup.h"
#include "jail/folder.h"
#include "jail/path.h"

// What the applet's process has of the jail. A process is in one for life, or in none.
static struct {
	struct supervised launcher;
	int netns_fd;			  // -1: no --netns
	int null_fd;			  // -1: no --daemonize
	const struct option_list *limits; // NULL: no jail
} jail = {{-1, -1}, -1, -1, NULL};

// What the launcher has made and will remove.
struct premises {
	const struct jail_options *options;
	struct folder folder;
	struct cgroup cgroup;
	struct supervisor supervisor;
};

static int open_netns(const char *path)
{
	if (!path)
		return 0;
	jail.netns_fd = path_open(AT_FDCWD, path, O_RDONLY);
	return jail.netns_fd < 0
		       ? log_errno(jail.netns_fd,
				   "--netns: cannot open %s (symlinks are not followed: say "
				   "/run/netns/NAME, not /var/run)",
				   path)
		       : 0;
}

static void remove_premises(struct premises *premises)
{
	cgroup_remove(&premises->cgroup);
	folder_remove(&premises->folder);
}

static int make_premises(struct premises *premises)
{
	const struct jail_options *options = premises->options;
	int error = folder_open(&premises->folder, options->base, options->id);

	if (!error && options->parent_cgroup)
		error = cgroup_open(&premises->cgroup, options->parent_cgroup, options->id,
				    &options->cgroup_values);
	if (error)
		remove_premises(premises);
	return error;
}

// A lower limit that the sandbox has set stays.
static int set_limit(const char *text, unsigned fds)
{
	struct rlimit limit;
	int resource, error;
	u64 value;

	error = jail_split_limit(text, &resource, &value);
	if (!error)
		error = sys_int(syscall(SYS_prlimit64, 0, resource, NULL, &limit));
	if (error)
		return error;
	if (resource == RLIMIT_NOFILE && value < fds)
		return log_errno(-EMFILE,
				 "--resource-limit %s: the applet needs %u; use fewer queues, "
				 "workers or ports",
				 text, fds);
	limit.rlim_cur = limit.rlim_max = min_u64(limit.rlim_max, value);
	error = sys_int(syscall(SYS_prlimit64, 0, resource, &limit, NULL));
	return error ? log_errno(error, "--resource-limit %s cannot be set", text) : 0;
}

static int set_limits(const struct option_list *limits, unsigned fds)
{
	int error = 0;

	for (unsigned i = 0; i < limits->count && !error; i++)
		error = set_limit(limits->items[i], fds);
	return error;
}

// In the applet's process.
static int move_in(const struct premises *premises)
{
	const struct jail_options *options = premises->options;
	int error = 0;

	if (premises->cgroup.fd >= 0)
		error = cgroup_join(&premises->cgroup);
	if (!error && jail.netns_fd >= 0 && setns(jail.netns_fd, CLONE_NEWNET) != 0)
		error = log_errno(-errno, "--netns %s is no network namespace", options->netns);
	if (!error && fchdir(premises->folder.fd) != 0)
		error = log_errno(-errno, "cannot enter the VM's folder");
	log_set_folder(premises->folder.path);
	jail.limits = &options->limits;
	if (!error && options->daemonize) {
		jail.null_fd = sys_int(open("/dev/null", O_RDWR | O_CLOEXEC));
		if (jail.null_fd < 0)
			error = log_errno(jail.null_fd, "--daemonize: cannot open /dev/null");
	}
	return error;
}

static bool is_among(int fd, const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] == fd)
			return true;
	return false;
}

// The launcher keeps no fd but its own, and stands in nobody's way.
static void settle(const struct premises *premises)
{
	const int keep[] = {premises->folder.parent_fd,	     premises->folder.fd,
			    premises->cgroup.parent_fd,	     premises->cgroup.fd,
			    premises->supervisor.ready_fd,   premises->supervisor.life_fd,
			    premises->supervisor.waiting_fd, premises->supervisor.signal_fd};
	int last = STDERR_FILENO;

	for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
		last = keep[i] > last ? keep[i] : last;
	for (int fd = STDERR_FILENO + 1; fd < last; fd++)
		if (!is_among(fd, keep, ARRAY_SIZE(keep)))
			close(fd);
	syscall(SYS_close_range, last + 1, ~0U, 0);
	(void)!chdir("/");
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int hand_over(void *context)
{
	struct premises *premises = context;
	const struct jail_options *options = premises->options;
	int error = folder_hand_over(&premises->folder, options->socket_uid, options->socket_gid);

	if (error)
		return error;
	log_info("%s is ready in %s", options->id, premises->folder.path);
	return supervisor_announce(&premises->supervisor);
}

// Forks, and from here on the applet's process has nothing to remove.
static int divide(struct premises *premises)
{
	int side = supervisor_fork(&premises->supervisor, premises->options->new_pid_ns,
				   &jail.launcher);

	if (side == 0)
		return move_in(premises);
	if (side > 0) {
		settle(premises);
		side = supervisor_wait(&premises->supervisor, hand_over, premises);
		remove_premises(premises);
		_exit(side);
	}
	remove_premises(premises);
	return side;
}

int jail_enter(const struct jail_options *options, enum log_level log_level)
{
	struct premises premises = {
		.options = options,
		.folder = {.parent_fd = -1, .fd = -1},
		.cgroup = {.parent_fd = -1, .fd = -1},
		.supervisor = {.signal_fd = -1, .ready_fd = -1, .life_fd = -1, .waiting_fd = -1}};
	int error = 0;

	if (geteuid() != 0) {
		log_error("a jail is made by root; the applet itself can be run by anybody");
		return -EPERM;
	}
	if (options->daemonize)
		error = supervisor_detach(&premises.supervisor);
	log_init("vhost-multi jail", log_level); // in the new process
	if (!error)
		error = supervisor_hold_signals(&premises.supervisor);
	if (!error)
		error = open_netns(options->netns);
	if (!error)
		error = make_premises(&premises);
	return error ? error : divide(&premises);
}

unsigned jail_fds(int *fds)
{
	const int all[JAIL_MAX_FDS] = {jail.launcher.ready_fd, jail.launcher.life_fd, jail.netns_fd,
				       jail.null_fd};
	unsigned count = 0;

	for (unsigned i = 0; i < JAIL_MAX_FDS; i++)
		if (all[i] >= 0)
			fds[count++] = all[i];
	return count;
}

int jail_netns_fd(void)
{
	return take_fd(&jail.netns_fd);
}

static void release_terminal(int null_fd)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null_fd, fd);
}

// Its copy of null_fd may be closed.
void jail_release_helper(void)
{
	cleanup_fd int null_fd = jail.null_fd < 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd >= 0)
		release_terminal(null_fd);
}

// Not earlier: memory is reserved in files that are larger than what a guest may write.
int jail_seal(unsigned fds)
{
	int error = jail.limits ? set_limits(jail.limits, fds) : 0;

	if (!error && jail.null_fd >= 0)
		release_terminal(jail.null_fd);
	close_fd(&jail.null_fd);
	return error;
}

void jail_ready(void)
{
	if (jail.launcher.ready_fd >= 0)
		(void)!write(jail.launcher.ready_fd, "r", 1);
	close_fd(&jail.launcher.ready_fd);
}
