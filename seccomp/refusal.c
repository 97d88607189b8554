// SPDX-License-Identifier: Apache-2.0
// One errno has many reasons. What the kernel tells about itself decides among them, the certain signs first.
#include "seccomp/refusal.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <linux/stat.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "core/sys.h"

#define START_AS_ROOT "start as root with CAP_SYS_ADMIN"
#define APPARMOR \
	START_AS_ROOT ", give the program an AppArmor profile with userns, or set the sysctl " \
		      "kernel.apparmor_restrict_unprivileged_userns to 0"

// A sysctl of one digit. False too if there is none of that name.
static bool sysctl_is(const char *path, char digit)
{
	cleanup_fd int fd = sys_int(open(path, O_RDONLY | O_CLOEXEC));
	char value = 0;

	return fd >= 0 && sys(read(fd, &value, 1)) == 1 && value == digit;
}

static bool is_restricted_by_apparmor(int error)
{
	return (error == -EACCES || error == -EPERM) &&
	       sysctl_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1');
}

// A root that is no mount's is one that chroot was told. One that is may be, too.
static bool is_chrooted_for_sure(void)
{
	struct statx root;

	return sys_int(syscall(SYS_statx, AT_FDCWD, "/", 0, 0, &root)) == 0 &&
	       (root.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
	       (root.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0;
}

static bool has_filter(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER;
}

static const char *no_user_namespace(int error)
{
	if (error == -ENOSPC)
		return START_AS_ROOT
			", or raise the sysctl user.max_user_namespaces, which allows no more";
	if (error == -EINVAL)
		return START_AS_ROOT ": this kernel has no user namespaces (CONFIG_USER_NS)";
	if (is_restricted_by_apparmor(error))
		return APPARMOR;
	if (sysctl_is("/proc/sys/kernel/unprivileged_userns_clone", '0'))
		return START_AS_ROOT ", or set the sysctl kernel.unprivileged_userns_clone to 1";
	if (is_chrooted_for_sure())
		return START_AS_ROOT ": in a chroot the kernel allows no user namespaces";
	if (has_filter())
		return START_AS_ROOT
			", or allow unprivileged user namespaces, which a seccomp filter, as a "
			"container's, forbids";
	return START_AS_ROOT
		", or allow unprivileged user namespaces; in a chroot the kernel allows none";
}

static const char *no_id_map(int error)
{
	if (error == -ENOENT)
		return START_AS_ROOT ", or mount /proc, which an unprivileged start needs";
	if (is_restricted_by_apparmor(error))
		return APPARMOR;
	return START_AS_ROOT ": the ids of the user namespace cannot be mapped";
}

static const char *no_namespaces(int error)
{
	if (error == -ENOSPC)
		return "raise the sysctls user.max_*_namespaces, one of which allows no more";
	if (error == -EINVAL)
		return "this kernel lacks namespaces: it needs CONFIG_NET_NS, IPC_NS, UTS_NS and CGROUPS";
	return START_AS_ROOT ", or allow unprivileged user namespaces";
}

static const char *no_mounts(int error)
{
	if (error == -ENODEV)
		return "this kernel has no tmpfs (CONFIG_TMPFS)";
	if (error == -EINVAL && is_chrooted_for_sure())
		return "to leave a chroot takes CAP_SYS_CHROOT, setns and Linux 5.8";
	if (is_restricted_by_apparmor(error))
		return APPARMOR;
	if (error == -EACCES)
		return "the container must allow mounts: its AppArmor or SELinux policy does not";
	return "the container must allow mounts: CAP_SYS_ADMIN, and a seccomp filter that knows them";
}

const char *refusal_advice(enum refused what, int error)
{
	switch (what) {
	case REFUSED_NETNS:
		return error == -EINVAL ? "the file of --netns is no network namespace"
					: "only root may join the network namespace of --netns";
	case REFUSED_NAMESPACES:
		return no_namespaces(error);
	case REFUSED_USER_NAMESPACE:
		return no_user_namespace(error);
	case REFUSED_ID_MAP:
		return no_id_map(error);
	case REFUSED_PRIVATE_MOUNTS:
	case REFUSED_EMPTY_ROOT:
		return no_mounts(error);
	case REFUSED_LEAVING_OLD_ROOT:
	default:
		return "the container must allow pivot_root, or chroot with CAP_SYS_CHROOT";
	}
}
