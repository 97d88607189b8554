// SPDX-License-Identifier: Apache-2.0
// Locks of an open file description, on one byte of the folder for each name: no file is made, none is left behind. A folder can only
// be open for reading, and is locked so, but the kernel tells as well who is in the way of a lock for writing.
#include "core/fence.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "core/log.h"
#include "core/sys.h"

enum {
	LOOK_AGAIN_NS = 1000 * 1000,
	LOOKS_UNTIL_SAID = 100,
	MOST_LOOKS = 30 * 1000, // as long as Linux gives a disk to answer
};

// FNV-1a, one of 2^63 bytes.
static off_t byte_of(const char *name)
{
	u64 hash = 0xcbf29ce484222325;

	for (; *name; name++)
		hash = (hash ^ (u8)*name) * 0x100000001b3;
	return (off_t)(hash >> 1);
}

static bool is_held(int fd, off_t start, off_t len)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

// Who holds it is no process that has ended: it was starting as we did, and serves now.
static bool is_served(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_fd int fd = sys_int(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	int error;

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, path, strlen(path));
	error = sys_int(connect(fd, (const struct sockaddr *)&address, sizeof(address)));
	return error == 0 || error == -EAGAIN;
}

// Says from time to time what it waits for, unless that is in vain. `path` NULL: nothing is known, nor said.
static int look_round(int looks, const char *path, bool listens)
{
	if (!path || looks % LOOKS_UNTIL_SAID)
		return 0;
	if (listens && is_served(path))
		return -EADDRINUSE;
	if (looks == LOOKS_UNTIL_SAID)
		log_info("waits until the kernel is done with what an earlier process on %s left "
			 "it to read and write",
			 path);
	return 0;
}

static int await(int fd, off_t start, off_t len, const char *path, bool listens)
{
	const struct timespec moment = {.tv_nsec = LOOK_AGAIN_NS};

	for (int looks = 1; is_held(fd, start, len); looks++) {
		int error = looks == MOST_LOOKS ? -EBUSY : look_round(looks, path, listens);

		if (error)
			return error;
		nanosleep(&moment, NULL);
	}
	return 0;
}

int fence_await_folder(int folder_fd)
{
	return await(folder_fd, 0, 0, NULL, false);
}

static int open_folder(const char *path, const char *name)
{
	char folder[PATH_MAX] = ".";

	if (name - path >= PATH_MAX)
		return -ENAMETOOLONG;
	if (name > path) {
		memcpy(folder, path, (size_t)(name - path));
		folder[name - path] = '\0';
	}
	return sys_int(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int wait_and_hold(int fd, const char *name, const char *path, bool listens)
{
	struct flock lock = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte_of(name), .l_len = 1};
	int error = await(fd, lock.l_start, lock.l_len, path, listens);

	return error ? error : sys_int(fcntl(fd, F_OFD_SETLK, &lock));
}

int fence_pass(const char *path, bool listens, int *fd)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	const char *name = slash ? slash + 1 : path;
	cleanup_fd int folder_fd = -1;
	int error;

	*fd = -1;
	if (!path)
		return 0;
	folder_fd = open_folder(path, name);
	error = folder_fd < 0 ? folder_fd : wait_and_hold(folder_fd, name, path, listens);
	if (!error) {
		*fd = take_fd(&folder_fd);
		return 0;
	}
	if (error == -EADDRINUSE)
		return log_errno(error,
				 "another process listens on %s; stop it or choose another path",
				 path);
	if (error == -EBUSY)
		return log_errno(error,
				 "what an earlier process on %s left the kernel to read and write "
				 "is not done after 30 s; does its disk answer, and has it ended?",
				 path);
	log_warning(
		"cannot lock the folder of %s, so the next process there will not wait for what "
		"this one may leave the kernel to read and write: %s",
		path, strerror(-error));
	return 0;
}
