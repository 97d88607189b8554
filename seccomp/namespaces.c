// SPDX-License-Identifier: Apache-2.0
// unshare, pivot_root, and what an unprivileged process needs first for them.
#include "seccomp/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "core/sys.h"

static bool mounts_are_ours;

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

static int unshare_all(int flags)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int error = sys_int(unshare(flags));

	if (error == -EPERM)
		error = sys_int(unshare(flags | CLONE_NEWUSER)) ?: map_ids(uid, gid);
	return error;
}

int namespaces_enter(int netns_fd)
{
	int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	int error;

	// never in a user namespace of our own instead: there is no way from there into the network namespace that is asked for
	if (netns_fd >= 0)
		error = sys_int(setns(netns_fd, CLONE_NEWNET)) ?: unshare_all(flags);
	else
		error = unshare_all(flags | CLONE_NEWNET);
	mounts_are_ours = error == 0;
	return error;
}

static int mount_empty(const char *folder)
{
	return sys_int(mount("empty", folder, "tmpfs", MS_NODEV | MS_NOEXEC | MS_NOSUID | MS_RDONLY,
			     "nr_inodes=2,mode=0555"));
}

// A folder to mount on, which becomes the root: any that exists does, its content is not touched.
static int mount_anywhere(const char **folder)
{
	static const char *const folders[] = {"/tmp", "/run", "/var", "/mnt", "/proc", "/dev"};
	int error = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(folders) && error; i++) {
		*folder = folders[i];
		error = mount_empty(folders[i]);
	}
	return error;
}

int namespaces_empty_root(void)
{
	const char *folder;
	int error;

	if (!mounts_are_ours)
		return -EPERM; // or every process of this mount namespace would get the empty root
	error = sys_int(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	if (!error)
		error = mount_anywhere(&folder);
	if (!error)
		error = sys_int(chdir(folder));
	if (!error)
		error = sys_int(
			syscall(SYS_pivot_root, ".", ".")); // the old root is now above the new
	if (!error)
		error = sys_int(umount2(".", MNT_DETACH));
	if (!error)
		error = sys_int(chdir("/"));
	return error;
}
