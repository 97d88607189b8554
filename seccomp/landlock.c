// SPDX-License-Identifier: Apache-2.0
// landlock(7), by its system calls: the C libraries have no wrappers, and the header may be older than the kernel.
#include "seccomp/landlock.h"

#include <sys/syscall.h>

#include "core/sys.h"

struct ruleset {
	u64 file_rights;
	u64 net_rights; // since version 4
	u64 scopes;	// since version 6
};

enum { CREATE_RULESET_VERSION = 1 };

// How many file rights each version knows; the last stands for all later ones.
static const unsigned file_right_counts[] = {13, 14, 15, 15, 16};

int landlock_deny_all(void)
{
	int version =
		sys_int(syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION));
	struct ruleset ruleset;
	cleanup_fd int fd = -1;

	if (version < 1)
		return version < 0 ? version : -EOPNOTSUPP;
	ruleset.file_rights =
		BIT64(file_right_counts[min_uint((unsigned)version, ARRAY_SIZE(file_right_counts)) -
					1]) -
		1;
	ruleset.net_rights = version >= 4 ? 3 : 0; // bind and connect
	ruleset.scopes = version >= 6 ? 3 : 0;	   // abstract sockets and signals
	fd = sys_int(syscall(SYS_landlock_create_ruleset, &ruleset,
			     version >= 6   ? sizeof(ruleset)
			     : version >= 4 ? offsetof(struct ruleset, scopes)
					    : offsetof(struct ruleset, net_rights),
			     0));
	if (fd < 0)
		return fd;
	return sys_int(syscall(SYS_landlock_restrict_self, fd, 0));
}
