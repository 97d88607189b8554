// SPDX-License-Identifier: Apache-2.0
// Who may use what we make for others in the file system: sockets, ptys, fifos, links.
#pragma once

#include <sys/stat.h>

#include "core/base.h"

struct file_access {
	mode_t mode;
	uid_t uid; // FILE_ACCESS_OURS: as the kernel makes it
	gid_t gid;
};

#define FILE_ACCESS_OURS ((uid_t)-1)

// Of this mode, and ours.
#define FILE_ACCESS(permissions) \
	(&(const struct file_access){ \
		.mode = (permissions), .uid = FILE_ACCESS_OURS, .gid = FILE_ACCESS_OURS})

// Gives the file at `path`, which must be of this type (S_IFSOCK, …) and is not followed if it is a link, to its user and group.
// *file: what it is. 0, or -errno, logged.
must_check int file_access_give(const struct file_access *access, const char *path, mode_t type,
				struct stat *file);

// As that, for a file of no other's folder, whose permissions are set as well: first, so that nobody has more on the way.
must_check int file_access_set(const struct file_access *access, const char *path, mode_t type);
