// SPDX-License-Identifier: Apache-2.0
// Locks the medium against other processes, with locks of the open file description.
//
// Bytes 0 to 99 are for us and for who locks whole files. By the others we agree with QEMU's programs: each takes read locks alone, of
// byte 100 + n if it uses right n, of 200 + n if nobody else may, and then looks whether others have the opposite.
#include "applets/blk/medium.h"

#include <fcntl.h>
#include <time.h>

#include "core/log.h"
#include "core/sys.h"

enum { LOCK_TRIES = 20, LOCK_RETRY_NS = 25 * 1000 * 1000 };
enum { USES = 100, DOES_NOT_SHARE = 200, TO_READ = 0, TO_WRITE = 1, RIGHTS = 5 };

// len 0: to the end of all bytes
static int set_lock(const struct medium *medium, short type, off_t start, off_t len)
{
	struct flock lock = {.l_whence = SEEK_SET, .l_type = type, .l_start = start, .l_len = len};
	int error = sys_int(fcntl(medium->fd, F_OFD_SETLK, &lock));

	return error == -EACCES ? -EAGAIN : error;
}

// -EAGAIN if a program of QEMU's has locked one of these bytes. Our own locks reach below its bytes or to the end, as do those of
// whole files, and have been respected already. They may hide one of QEMU's, but only one that they bear.
static int look(const struct medium *medium, off_t start, off_t len)
{
	struct flock lock = {
		.l_whence = SEEK_SET, .l_type = F_WRLCK, .l_start = start, .l_len = len};
	int error = sys_int(fcntl(medium->fd, F_OFD_GETLK, &lock));
	bool is_theirs = lock.l_start >= USES && lock.l_len > 0;

	return error ? error : lock.l_type != F_UNLCK && is_theirs ? -EAGAIN : 0;
}

// A writer that is alone lets nobody read either.
static int try_lock(const struct medium *medium)
{
	const off_t used = medium->read_only ? TO_READ + 1 : TO_WRITE + 1;
	const off_t not_shared = medium->read_only ? TO_WRITE : TO_READ;
	int error = set_lock(medium, medium->lock_shared ? F_RDLCK : F_WRLCK, 0, USES);

	if (!error)
		error = set_lock(medium, F_RDLCK, USES, used);
	if (!error && medium->lock_alone)
		error = set_lock(medium, F_RDLCK, DOES_NOT_SHARE + not_shared, 0);
	if (!error)
		error = look(medium, DOES_NOT_SHARE, used);
	if (!error && medium->lock_alone)
		error = look(medium, USES + not_shared, RIGHTS - not_shared);
	return error;
}

int medium_lock(const struct medium *medium)
{
	int error = try_lock(medium);

	if (error)
		medium_unlock(medium);
	return error;
}

void medium_unlock(const struct medium *medium)
{
	(void)set_lock(medium, F_UNLCK, 0, 0);
}

// The kernel may take a moment to let go of the lock of a process that has just ended.
static int lock_patiently(const struct medium *medium)
{
	const struct timespec moment = {.tv_nsec = LOCK_RETRY_NS};
	int error = medium_lock(medium);

	for (int i = 1; i < LOCK_TRIES && error == -EAGAIN; i++) {
		nanosleep(&moment, NULL);
		error = medium_lock(medium);
	}
	return error;
}

int medium_lock_at_open(struct medium *medium, const struct medium_options *options)
{
	int error;

	medium->locks = options->lock != MEDIUM_LOCK_OFF;
	medium->lock_alone = options->lock != MEDIUM_LOCK_SHARED;
	medium->lock_shared = !medium->lock_alone ||
			      (options->lock != MEDIUM_LOCK_EXCLUSIVE && medium->read_only);
	if (options->lock == MEDIUM_LOCK_EXCLUSIVE && medium->read_only)
		return log_errno(-EINVAL,
				 "--lock exclusive needs a disk that can be written, and %s is "
				 "open for reading alone",
				 options->path);
	if (!medium->locks || options->lock_handover)
		return 0;
	error = lock_patiently(medium);
	if (error == -EAGAIN)
		return log_errno(-EBUSY,
				 "%s is in use by another process; stop that, or use "
				 "--read-only on both sides, or --lock off",
				 options->path);
	return error ? log_errno(error, "cannot lock %s; --lock off does without", options->path)
		     : 0;
}
