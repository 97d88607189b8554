// SPDX-License-Identifier: Apache-2.0
// All is done relative to open folders, so nothing depends on what a path leads to meanwhile.
#include "jail/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "core/fence.h"
#include "core/log.h"
#include "core/sys.h"
#include "jail/path.h"

static const char room[] =
	"vhost-multi"; // below BASE, as Firecracker's jailer has one for each program

// Calls `function` for each entry until it answers an error.
static int each_entry(int fd,
		      int (*function)(int fd, const char *name, const struct stat *file,
				      void *context),
		      void *context)
{
	int own = path_open(fd, ".", O_RDONLY | O_DIRECTORY), error = 0;
	const struct dirent *entry;
	struct stat file;
	DIR *entries;

	if (own < 0)
		return own;
	entries = fdopendir(own);
	if (!entries) {
		close(own);
		return -ENOMEM;
	}
	while (!error && (entry = readdir(entries))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(fd, entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0)
			error = function(fd, entry->d_name, &file, context);
	}
	closedir(entries);
	return error;
}

// What an applet has made while it was root, such as a console's log, and what only root can have put there: nobody else has a hand
// in it, so it may stay, and the next applet may go on with it.
static bool is_roots_file(const struct stat *file)
{
	return S_ISREG(file->st_mode) && file->st_uid == 0 && file->st_nlink == 1 &&
	       !(file->st_mode & (S_IWGRP | S_IWOTH));
}

// What is found beside what applets make.
struct left {
	char name[NAME_MAX + 1]; // the first of it that is neither ours nor root's; empty: none
	unsigned files;		 // of root
};

// Sockets, fifos and symlinks are what applets make for as long as they live; anything else somebody may want to keep.
static int remove_entry(int fd, const char *name, const struct stat *file, void *context)
{
	struct left *left = context;
	int error = 0;

	if (S_ISSOCK(file->st_mode) || S_ISLNK(file->st_mode) || S_ISFIFO(file->st_mode))
		error = sys_int(unlinkat(fd, name, 0));
	else if (is_roots_file(file))
		left->files++;
	else if (!left->name[0])
		snprintf(left->name, sizeof(left->name), "%s", name);
	return error == -ENOENT ? 0 : error;
}

// Who waited for the lock may have opened a folder that is gone.
static bool is_gone(int fd)
{
	struct stat file;

	return fstat(fd, &file) == 0 && file.st_nlink == 0;
}

static int open_and_lock(struct folder *folder)
{
	int error;

	do {
		close_fd(&folder->fd);
		folder->fd = path_make_folder(folder->parent_fd, folder->id, 0700);
		if (folder->fd == -ELOOP || folder->fd == -ENOTDIR)
			return log_errno(folder->fd,
					 "--id %s: a symlink or file stands where the VM's folder "
					 "belongs; remove it",
					 folder->id);
		if (folder->fd < 0)
			return log_errno(folder->fd, "--id %s: cannot make the VM's folder",
					 folder->id);
		error = sys_int(flock(folder->fd, LOCK_EX | LOCK_NB));
		if (error) {
			log_error("--id %s: a jail of this id runs; stop it or choose another id",
				  folder->id);
			return error;
		}
	} while (is_gone(folder->fd));
	return 0;
}

// Root's alone until it is handed over: nobody can put anything in the applet's way.
static int take_back(const struct folder *folder)
{
	struct left left = {.name = ""};
	int error = sys_int(fchown(folder->fd, 0, 0));

	if (!error)
		error = sys_int(fchmod(folder->fd, 0700));
	if (!error)
		error = each_entry(folder->fd, remove_entry, &left);
	if (error)
		return log_errno(error, "--id %s: cannot empty %s", folder->id, folder->path);
	return left.name[0] ? log_errno(-ENOTEMPTY,
					"--id %s: %s holds %s, which is neither a jail's nor "
					"root's; move it elsewhere",
					folder->id, folder->path, left.name)
			    : 0;
}

static int open_base(const char *base)
{
	cleanup_fd int top = path_open(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);

	return top < 0 ? log_errno(top, "cannot open /; openat2(2) needs Linux 5.6")
		       : path_open_trusted(top, base);
}

int folder_open(struct folder *folder, const char *base, const char *id)
{
	cleanup_fd int base_fd = open_base(base);
	int error;

	*folder = (struct folder){.parent_fd = -1, .fd = -1, .id = id};
	snprintf(folder->path, sizeof(folder->path), "%.400s%s%s/%s", base,
		 base[strlen(base) - 1] == '/' ? "" : "/", room, id);
	if (base_fd < 0)
		return base_fd;
	folder->parent_fd = path_open_trusted(base_fd, room);
	if (folder->parent_fd < 0)
		return folder->parent_fd;
	error = open_and_lock(folder);
	if (!error)
		error = take_back(folder);
	if (error) {
		close_fd(&folder->fd);
		close_fd(&folder->parent_fd);
	}
	return error;
}

int folder_hand_over(const struct folder *folder, uid_t uid, gid_t gid)
{
	int error = sys_int(fchmod(folder->fd, 0750));

	if (!error)
		error = sys_int(fchown(folder->fd, uid, gid));
	return error ? log_errno(error, "cannot give %s to user %u, group %u", folder->path, uid,
				 gid)
		     : 0;
}

void folder_remove(struct folder *folder)
{
	struct left left = {.name = ""};
	int error;

	if (folder->fd < 0)
		return;
	(void)!fchown(folder->fd, 0, 0); // nobody shall add to it meanwhile
	(void)!each_entry(folder->fd, remove_entry, &left);
	// what the applet has left is looked for in this folder, not in one that is made anew
	error = fence_await_folder(folder->fd);
	if (!error)
		error = sys_int(unlinkat(folder->parent_fd, folder->id, AT_REMOVEDIR));
	if (left.name[0])
		log_warning("%s is left, since it holds %s; move that elsewhere", folder->path,
			    left.name);
	else if (left.files)
		log_info("%s is left, with %u files in it", folder->path, left.files);
	else if (error)
		log_warning("%s is left: %s", folder->path, strerror(-error));
	close_fd(&folder->fd); // last: gives up the lock
	close_fd(&folder->parent_fd);
}
