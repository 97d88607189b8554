// SPDX-License-Identifier: Apache-2.0
// By an fd that stands for the file itself, so that nothing depends on what the path leads to meanwhile.
#include "core/file_access.h"

#include <fcntl.h>

#include "core/log.h"
#include "core/sys.h"

int file_access_give(const struct file_access *access, const char *path, mode_t type,
		     struct stat *file)
{
	cleanup_fd int fd = sys_int(open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
	int error = fd < 0 ? fd : sys_int(fstat(fd, file));

	if (!error && (file->st_mode & S_IFMT) != type)
		error = -ESTALE; // another stands there now
	if (error)
		return log_errno(error, "cannot look at %s, which we have made", path);
	if (access->uid == FILE_ACCESS_OURS && access->gid == FILE_ACCESS_OURS)
		return 0;
	error = sys_int(fchownat(fd, "", access->uid, access->gid, AT_EMPTY_PATH));
	return error ? log_errno(error,
				 "cannot give %s to user %d, group %d; who is not root can only "
				 "give it to a group of his own",
				 path, (int)access->uid, (int)access->gid)
		     : sys_int(fstat(fd, file));
}

int file_access_set(const struct file_access *access, const char *path, mode_t type)
{
	struct stat file;

	if (chmod(path, access->mode) != 0)
		return log_errno(-errno, "cannot set the permissions of %s", path);
	return file_access_give(access, path, type, &file);
}
