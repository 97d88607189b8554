// SPDX-License-Identifier: Apache-2.0
// The steps of the lockdown, in their order, and what is said when one fails.
#include "seccomp/sandbox.h"

#include <cap-ng.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "core/log.h"
#include "core/sys.h"
#include "seccomp/ids.h"
#include "seccomp/landlock.h"
#include "seccomp/namespaces.h"

enum { NOBODY = 65534, SET_MDWE = 65, MDWE_REFUSE_EXEC_GAIN = 1 };

static bool is_kept(int fd, const int *keep, unsigned keep_count)
{
	for (unsigned i = 0; i < keep_count; i++)
		if (keep[i] == fd)
			return true;
	return fd <= STDERR_FILENO;
}

// Closes every gap between the kept fds, so that no list of open ones is needed.
static void close_inherited(const int *keep, unsigned keep_count)
{
	unsigned first = STDERR_FILENO + 1;

	for (int fd = STDERR_FILENO + 1; keep_count > 0 && fd <= INT16_MAX; fd++) {
		if (!is_kept(fd, keep, keep_count))
			continue;
		if ((unsigned)fd > first)
			syscall(SYS_close_range, first, (unsigned)fd - 1, 0);
		first = (unsigned)fd + 1;
	}
	syscall(SYS_close_range, first, ~0U, 0);
}

static int open_netns(struct sandbox *sandbox, const char *path)
{
	sandbox->netns_fd = sys_int(open(path, O_RDONLY | O_CLOEXEC));
	if (sandbox->netns_fd < 0)
		return log_errno(sandbox->netns_fd, "--netns: cannot open %s", path);
	return namespaces_is_network(sandbox->netns_fd)
		       ? 0
		       : log_errno(-EINVAL, "--netns %s is no network namespace", path);
}

int sandbox_prepare(struct sandbox *sandbox, const struct sandbox_options *options, const int *keep,
		    unsigned keep_count)
{
	int error = 0;

	*sandbox = (struct sandbox){.mode = options->mode,
				    .uid = NOBODY,
				    .gid = NOBODY,
				    .change_ids = geteuid() == 0,
				    .netns_fd = -1};
	close_inherited(keep, keep_count);
	if ((options->user || options->group) && !sandbox->change_ids)
		return log_errno(-EPERM, "--user and --group: only root can change them");
	if (options->user)
		error = ids_find_user("user", options->user, &sandbox->uid, &sandbox->gid);
	if (!error && options->group)
		error = ids_find_group("group", options->group, &sandbox->gid);
	if (error)
		return error;
	return options->netns ? open_netns(sandbox, options->netns) : 0;
}

static void note_missing(struct sandbox *sandbox, const char *step)
{
	size_t len = strlen(sandbox->missing);

	if (!strstr(sandbox->missing, step)) // each thread may fail at the same
		snprintf(sandbox->missing + len, sizeof(sandbox->missing) - len, "%s%s",
			 len ? "," : "", step);
}

int sandbox_step_failed(struct sandbox *sandbox, const char *step, int error, const char *advice)
{
	note_missing(sandbox, step);
	if (error == -EMFILE)
		advice = "raise the limit of open files: ulimit -n, or LimitNOFILE= of a unit";
	if (sandbox->mode == SANDBOX_STRICT) {
		log_error("sandbox: %s failed (%s), and --sandbox is strict: %s", step, advice,
			  strerror(-error));
		return error;
	}
	log_debug("sandbox: %s failed: %s", step, strerror(-error));
	return 0;
}

static int drop_bounding(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	return capng_apply(CAPNG_SELECT_BOUNDS) ? -EPERM : 0;
}

static int lock_securebits(void)
{
	return sys_int(prctl(PR_SET_SECUREBITS,
			     SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
				     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
				     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
			     0, 0, 0));
}

// Whether we are in another group than this one.
static bool is_in_groups(gid_t own)
{
	gid_t groups[NGROUPS_MAX];
	int count = getgroups(NGROUPS_MAX, groups);

	for (int i = 0; i < count; i++)
		if (groups[i] != own)
			return true;
	return count < 0;
}

static int leave_groups(const struct sandbox *sandbox)
{
	int error = sandbox->change_ids ? sys_int(setgroups(0, NULL)) : 0;

	return error && is_in_groups(sandbox->gid) ? error : 0;
}

static int change_ids(const struct sandbox *sandbox)
{
	int error = 0;

	if (!sandbox->change_ids)
		return 0;
	error = sys_int(setresgid(sandbox->gid, sandbox->gid, sandbox->gid));
	if (!error)
		error = sys_int(setresuid(sandbox->uid, sandbox->uid, sandbox->uid));
	return error;
}

static int drop_capabilities(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	return capng_apply(CAPNG_SELECT_CAPS) || capng_apply(CAPNG_SELECT_AMBIENT) ? -EPERM : 0;
}

// After the last change of ids, which would undo PR_SET_DUMPABLE.
static int give_up_privileges(void)
{
	int error = sys_int(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));

	if (!error)
		error = sys_int(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	prctl(SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0); // Linux 6.3 has it
	return error;
}

// A step and what to do if it fails; `advise` for what has many reasons.
struct step {
	const char *name, *advice;
	int (*run)(const struct sandbox *sandbox);
	const char *(*advise)(int error);
};

static int step_namespaces(const struct sandbox *sandbox)
{
	return namespaces_enter(sandbox->netns_fd);
}

static int step_root(const struct sandbox *sandbox)
{
	(void)sandbox;
	return namespaces_empty_root();
}

static int step_bounding(const struct sandbox *sandbox)
{
	(void)sandbox;
	int error = drop_bounding();

	return error ? error : lock_securebits();
}

static int step_capabilities(const struct sandbox *sandbox)
{
	(void)sandbox;
	return drop_capabilities();
}

static int step_privileges(const struct sandbox *sandbox)
{
	(void)sandbox;
	return give_up_privileges();
}

static int step_landlock(const struct sandbox *sandbox)
{
	(void)sandbox;
	return landlock_deny_all();
}

static const struct step steps[] = {
	{"namespaces", NULL, step_namespaces, namespaces_advice},
	{"empty-root", NULL, step_root, namespaces_advice},
	{"bounding", "the capability SETPCAP is needed to drop all", step_bounding, NULL},
	{"groups", "setgroups must be allowed to leave them, or start without any", leave_groups,
	 NULL},
	{"ids",
	 "they must exist in our user namespace: give --user and --group that do, such as 0 under "
	 "unshare -r",
	 change_ids, NULL},
	{"capabilities", "they could not be dropped", step_capabilities, NULL},
	{"privileges", "prctl is forbidden", step_privileges, NULL},
	{"landlock", "needs Linux 5.13 with landlock among its LSMs", step_landlock, NULL},
};

int sandbox_isolate(struct sandbox *sandbox)
{
	if (sandbox->mode == SANDBOX_NONE)
		return 0;
	// only root can leave them, which is no reason to refuse to others: behind the lockdown nothing is left that they would open
	if (!sandbox->change_ids && is_in_groups(getegid()))
		note_missing(sandbox, "groups");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct step *step = &steps[i];
		int error = step->run(sandbox);

		if (error)
			error = sandbox_step_failed(sandbox, step->name, error,
						    step->advise ? step->advise(error)
								 : step->advice);
		if (error)
			return error;
	}
	close_fd(&sandbox->netns_fd);
	return 0;
}

// Removing a socket file from another user's folder, or calling a peer there, takes DAC_OVERRIDE, if we have it.
static int keep_file_access(void)
{
	bool privileged = capng_get_caps_process() == 0 &&
			  capng_have_capability(CAPNG_EFFECTIVE, CAP_DAC_OVERRIDE);

	capng_clear(CAPNG_SELECT_ALL);
	if (privileged)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_DAC_OVERRIDE);
	return capng_apply(CAPNG_SELECT_CAPS) || capng_apply(CAPNG_SELECT_AMBIENT) ? -EPERM : 0;
}

int sandbox_lock_keeper(struct sandbox *sandbox)
{
	int error = keep_file_access();

	if (!error)
		error = give_up_privileges();
	return error ? sandbox_step_failed(sandbox, "keeper", error,
					   "it could not give up its capabilities")
		     : 0;
}

// A lower limit that the process was started with stays: it could not be raised.
static int limit(unsigned resource, rlim_t most)
{
	struct rlimit limits = {0};
	int error = sys_int(syscall(SYS_prlimit64, 0, resource, NULL, &limits));

	limits.rlim_cur = limits.rlim_max = min_u64(limits.rlim_max, most);
	return error ? error : sys_int(syscall(SYS_prlimit64, 0, resource, &limits, NULL));
}

int sandbox_limit(struct sandbox *sandbox, unsigned max_fds, bool kernel_threads)
{
	int error;

	if (sandbox->mode == SANDBOX_NONE)
		return 0;
	error = limit(RLIMIT_CORE, 0);
	if (!error && !kernel_threads)
		error = limit(RLIMIT_NPROC, 0);
	if (!error)
		error = limit(RLIMIT_MEMLOCK, 0);
	if (!error)
		error = limit(RLIMIT_NOFILE, max_fds);
	if (!error)
		error = limit(RLIMIT_DATA, 0); // what is reserved stays; nothing comes to it
	return error ? sandbox_step_failed(sandbox, "limits", error, "setrlimit is forbidden") : 0;
}

void sandbox_report(const struct sandbox *sandbox)
{
	if (sandbox->mode == SANDBOX_NONE)
		log_alarm("sandbox: none");
	else if (sandbox->missing[0])
		log_alarm("sandbox: partial, missing %s", sandbox->missing);
	else
		log_info("sandbox: strict");
}
