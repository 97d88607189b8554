// SPDX-License-Identifier: Apache-2.0
// Finds the mount, walks down and turns controllers on from level to level.
#include "jail/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/sys.h"
#include "jail/path.h"

enum { NAME_MAX_LEN = 64 };

// proc(5), mountinfo: "36 35 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw". 0 or -errno.
static int find_mount(char mount[PATH_MAX])
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char line[2 * PATH_MAX];
	bool found = false;

	if (!table)
		return log_errno(-errno, "--cgroup: cannot read /proc/self/mountinfo");
	while (!found && fgets(line, sizeof(line), table))
		found = strstr(line, " - cgroup2 ") &&
			sscanf(line, "%*s %*s %*s %*s %4095s", mount) == 1;
	fclose(table);
	return found ? 0
		     : log_errno(-ENOENT, "--cgroup: no cgroup v2 is mounted; "
					  "mount -t cgroup2 none /sys/fs/cgroup");
}

static int read_text(int folder, const char *name, char *text, size_t size)
{
	cleanup_fd int fd = path_open(folder, name, O_RDONLY);
	long len = fd < 0 ? fd : sys(read(fd, text, size - 1));

	text[len < 0 ? 0 : len] = '\0';
	return len < 0 ? (int)len : 0;
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	while (*(text += strspn(text, " \n"))) {
		size_t next = strcspn(text, " \n");

		if (next == len && memcmp(text, word, len) == 0)
			return true;
		text += next;
	}
	return false;
}

// "memory.max=64M": to the controller "memory"; false for the core's own files, which need none.
static bool controller_of(const char *value, char name[NAME_MAX_LEN])
{
	snprintf(name, NAME_MAX_LEN, "%.*s", (int)strcspn(value, "."), value);
	return strcmp(name, "cgroup") != 0;
}

static int enable(int fd, const char *path, const char *controller)
{
	char text[1024], command[NAME_MAX_LEN + 1];
	int error = read_text(fd, "cgroup.controllers", text, sizeof(text));

	if (error)
		return log_errno(error, "--cgroup: cannot read %s/cgroup.controllers", path);
	if (!has_word(text, controller))
		return log_errno(-EINVAL,
				 "--cgroup: %s has no controller %s, only: %.*s; another may be "
				 "bound to a cgroup v1 mount (boot with cgroup_no_v1=all)",
				 path, controller, (int)strcspn(text, "\n"), text);
	snprintf(command, sizeof(command), "+%s", controller);
	error = path_write(fd, "cgroup.subtree_control", command);
	return error ? log_errno(error,
				 "--cgroup: cannot turn on %s below %s; does that cgroup hold "
				 "processes itself? choose another --parent-cgroup",
				 controller, path)
		     : 0;
}

static int enable_all(int fd, const char *path, const struct option_list *values)
{
	char controller[NAME_MAX_LEN];
	int error = 0;

	for (unsigned i = 0; i < values->count && !error; i++)
		if (controller_of(values->items[i], controller))
			error = enable(fd, path, controller);
	return error;
}

// Moves *fd down from the mount to MOUNT/PARENT; `path` follows.
static int descend(int *fd, char path[PATH_MAX], const char *parent,
		   const struct option_list *values)
{
	int error = enable_all(*fd, path, values);

	while (!error && *(parent += strspn(parent, "/"))) {
		size_t len = strcspn(parent, "/"), used = strlen(path);
		char name[NAME_MAX + 1];
		int next;

		if (len >= sizeof(name) || used + len + 2 > PATH_MAX)
			return log_errno(-ENAMETOOLONG, "--parent-cgroup: %s", parent);
		snprintf(name, sizeof(name), "%.*s", (int)len, parent);
		snprintf(path + used, PATH_MAX - used, "/%s", name);
		next = strcmp(name, "..") == 0 ? -EINVAL : path_make_folder(*fd, name, 0755);
		if (next < 0)
			return log_errno(next, "--parent-cgroup: cannot make or open %s", path);
		close(*fd);
		*fd = next;
		error = enable_all(next, path, values);
		parent += len;
	}
	return error;
}

static int write_value(int fd, const char *text)
{
	char name[NAME_MAX + 1];
	size_t len = strcspn(text, "=");
	int error;

	snprintf(name, sizeof(name), "%.*s", (int)len, text);
	error = path_write(fd, name, text + len + 1);
	return error ? log_errno(error, "--cgroup %s: the kernel does not take it", text) : 0;
}

static int make_own(struct cgroup *cgroup, const char *path)
{
	int error = sys_int(unlinkat(cgroup->parent_fd, cgroup->id, AT_REMOVEDIR));

	if (error && error != -ENOENT)
		return log_errno(error, "--id %s: the cgroup %s/%s is in use; end what runs in it",
				 cgroup->id, path, cgroup->id);
	snprintf(cgroup->path, sizeof(cgroup->path), "%.400s/%s", path, cgroup->id);
	cgroup->fd = path_make_folder(cgroup->parent_fd, cgroup->id, 0755);
	return cgroup->fd < 0
		       ? log_errno(cgroup->fd, "cannot make the cgroup %s/%s", path, cgroup->id)
		       : 0;
}

int cgroup_open(struct cgroup *cgroup, const char *parent, const char *id,
		const struct option_list *values)
{
	char path[PATH_MAX];
	int error;

	*cgroup = (struct cgroup){.parent_fd = -1, .fd = -1, .id = id};
	error = find_mount(path);
	if (error)
		return error;
	cgroup->parent_fd = path_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
	if (cgroup->parent_fd < 0)
		return log_errno(cgroup->parent_fd, "--cgroup: cannot open %s", path);
	error = descend(&cgroup->parent_fd, path, parent, values);
	if (!error)
		error = make_own(cgroup, path);
	for (unsigned i = 0; i < values->count && !error; i++)
		error = write_value(cgroup->fd, values->items[i]);
	if (error)
		cgroup_remove(cgroup);
	return error;
}

int cgroup_join(const struct cgroup *cgroup)
{
	int error = path_write(cgroup->fd, "cgroup.procs", "0");

	return error ? log_errno(error, "cannot enter the cgroup of %s", cgroup->id) : 0;
}

void cgroup_remove(struct cgroup *cgroup)
{
	int error = 0;

	if (cgroup->fd >= 0)
		error = sys_int(unlinkat(cgroup->parent_fd, cgroup->id, AT_REMOVEDIR));
	if (error)
		log_warning("the cgroup %s is left: %s", cgroup->path, strerror(-error));
	close_fd(&cgroup->fd);
	close_fd(&cgroup->parent_fd);
}
