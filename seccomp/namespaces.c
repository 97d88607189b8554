// SPDX-License-Identifier: Apache-2.0
// unshare, pivot_root or what takes its place, and what an unprivileged process needs first for them.
#include "seccomp/namespaces.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "core/sys.h"
#include "seccomp/refusal.h"

static bool mounts_are_ours;
static enum refused tried;

bool namespaces_is_network(int fd)
{
	return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

static int write_file(const char *path, const char *text)
{
	cleanup_fd int fd = sys_int(open(path, O_WRONLY | O_CLOEXEC));

	if (fd < 0)
		return fd;
	long written = sys(write(fd, text, strlen(text)));

	return written < 0 ? (int)written : 0;
}

// Without a mapping the kernel would not let us own files in a new file system. user_namespaces(7)
static int map_ids(uid_t uid, gid_t gid)
{
	char line[64];
	int error = write_file("/proc/self/setgroups", "deny");

	if (error && error != -ENOENT)
		return error;
	snprintf(line, sizeof(line), "%u %u 1", uid, uid);
	error = write_file("/proc/self/uid_map", line);
	if (error)
		return error;
	snprintf(line, sizeof(line), "%u %u 1", gid, gid);
	return write_file("/proc/self/gid_map", line);
}

static int unshare_as_user(int flags)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int error;

	tried = REFUSED_USER_NAMESPACE;
	error = sys_int(unshare(flags | CLONE_NEWUSER));
	if (error)
		return error;
	tried = REFUSED_ID_MAP;
	return map_ids(uid, gid);
}

static int unshare_all(int flags)
{
	int error;

	tried = REFUSED_NAMESPACES;
	error = sys_int(unshare(flags));
	return error == -EPERM ? unshare_as_user(flags) : error;
}

int namespaces_enter(int netns_fd)
{
	int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	int error;

	// never in a user namespace of our own instead: there is no way from there into the network namespace that is asked for
	tried = REFUSED_NETNS;
	if (netns_fd >= 0)
		error = sys_int(setns(netns_fd, CLONE_NEWNET)) ?: unshare_all(flags);
	else
		error = unshare_all(flags | CLONE_NEWNET);
	mounts_are_ours = error == 0;
	return error;
}

// Who joins a mount namespace, be it its own, gets the namespace's root: out of a chroot, where neither pivot_root works nor
// anything that we mount is sure to stay ours. If it fails, what follows may still do, if there is no chroot.
static void leave_chroot(void)
{
	cleanup_fd int self = sys_int(syscall(SYS_pidfd_open, getpid(), 0));

	if (self >= 0)
		(void)setns(self, CLONE_NEWNS);
}

// mountinfo has blanks and the like as \040. proc(5)
static void unescape(char *text)
{
	char *to = text, digits[] = "000";

	for (const char *from = text; *from; from++) {
		if (*from == '\\' && strlen(from) > 3) {
			memcpy(digits, from + 1, 3);
			*to++ = (char)strtoul(digits, NULL, 8);
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = 0;
}

// What is mounted below the old root would else stay busy as long as we run. What the kernel has locked, since our user
// namespace did not mount it, stays: covered like the old root.
static void detach_mounts(void)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, folder[PATH_MAX];
	size_t size = 0;

	while (table && getline(&line, &size, table) > 0) {
		if (sscanf(line, "%*s %*s %*s %*s %4095s", folder) != 1)
			continue;
		unescape(folder);
		if (strcmp(folder, "/") != 0)
			(void)umount2(folder, MNT_DETACH);
	}
	free(line);
	if (table)
		fclose(table);
}

// From the old root into the working directory, which is mounted upon it. The kernel answers EINVAL to pivot_root from an
// initramfs, whose file system it keeps for good.
static int change_root(void)
{
	tried = REFUSED_LEAVING_OLD_ROOT;
	if (syscall(SYS_pivot_root, ".", ".") == 0) // the old root is now above the new
		return sys_int(umount2(".", MNT_DETACH));
	detach_mounts();
	return sys_int(chroot("."));
}

// "/" is what is below what was mounted there; ".." of it is what is on top.
static int cover_root(void)
{
	tried = REFUSED_EMPTY_ROOT;
	return sys_int(mount("empty", "/", "tmpfs", MS_NODEV | MS_NOEXEC | MS_NOSUID | MS_RDONLY,
			     "nr_inodes=2,mode=0555"))
		       ?: sys_int(chdir("/.."));
}

int namespaces_empty_root(void)
{
	int error;

	tried = REFUSED_EMPTY_ROOT;
	if (!mounts_are_ours)
		return -EPERM; // or every process of this mount namespace would get the empty root
	leave_chroot();
	tried = REFUSED_PRIVATE_MOUNTS;
	error = sys_int(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	if (!error)
		error = cover_root();
	if (!error)
		error = change_root();
	if (!error)
		error = sys_int(chdir("/"));
	return error;
}

const char *namespaces_advice(int error)
{
	return refusal_advice(tried, error);
}
