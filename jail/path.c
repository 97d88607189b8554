// SPDX-License-Identifier: Apache-2.0
// openat2(2) with every way of following anything turned off.
#include "jail/path.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/log.h"
#include "core/sys.h"

int path_open(int folder, const char *path, int flags)
{
	struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
			       .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};

	return sys_int(syscall(SYS_openat2, folder, path, &how, sizeof(how)));
}

int path_make_folder(int folder, const char *name, unsigned mode)
{
	int error = sys_int(mkdirat(folder, name, mode));

	return error && error != -EEXIST ? error : path_open(folder, name, O_RDONLY | O_DIRECTORY);
}

int path_write(int folder, const char *name, const char *text)
{
	cleanup_fd int fd = path_open(folder, name, O_WRONLY);
	long written;

	if (fd < 0)
		return fd;
	written = sys(write(fd, text, strlen(text)));
	return written < 0 ? (int)written : 0;
}

// Nobody but root may replace what is in the folder; `strict`: or add to it.
static int check_folder(int fd, const char *path, bool strict)
{
	struct stat folder;

	if (fstat(fd, &folder) != 0)
		return log_errno(-errno, "cannot look at %s", path);
	if (folder.st_uid != 0)
		return log_errno(-EPERM,
				 "--chroot-base-dir: %s is user %u's, who could replace what is "
				 "in it; choose a folder of root's",
				 path, folder.st_uid);
	if ((folder.st_mode & (S_IWGRP | S_IWOTH)) && (strict || !(folder.st_mode & S_ISVTX)))
		return log_errno(-EPERM,
				 "--chroot-base-dir: others than root may write to %s (mode %04o); "
				 "chmod go-w it or choose another",
				 path, folder.st_mode & 07777);
	return 0;
}

// Replaces *fd by its folder `name`, which ends at `end` of `path`.
static int descend(int *fd, char *path, const char *name, char *end)
{
	bool last = end[strspn(end, "/")] == '\0';
	char after = *end;
	int next, error;

	*end = '\0';
	if (strcmp(name, "..") == 0)
		return log_errno(-EINVAL, "--chroot-base-dir: %s must not hold ..", path);
	next = path_make_folder(*fd, name, 0755);
	if (next == -ELOOP || next == -ENOTDIR)
		return log_errno(next,
				 "--chroot-base-dir: %s is no folder, or a symlink, which is not "
				 "followed",
				 path);
	if (next < 0)
		return log_errno(next, "--chroot-base-dir: cannot make or open %s", path);
	close(*fd);
	*fd = next;
	error = check_folder(next, path, last);
	*end = after;
	return error;
}

int path_open_trusted(int folder, const char *path)
{
	cleanup_fd int fd = path_open(folder, ".", O_RDONLY | O_DIRECTORY);
	char walked[PATH_MAX];
	char *name = walked;
	int error;

	if (fd < 0)
		return log_errno(fd, "cannot open a folder; openat2(2) needs Linux 5.6");
	if (strlen(path) >= sizeof(walked))
		return log_errno(-ENAMETOOLONG, "--chroot-base-dir: %zu bytes are too many",
				 strlen(path));
	memcpy(walked, path, strlen(path) + 1);
	error = check_folder(fd, "/", path[strspn(path, "/")] == '\0');
	while (!error && *(name += strspn(name, "/"))) {
		char *end = name + strcspn(name, "/");

		error = descend(&fd, walked, name, end);
		name = end;
	}
	return error ? error : take_fd(&fd);
}
