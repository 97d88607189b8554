// SPDX-License-Identifier: Apache-2.0
// Locks the medium against other processes, with locks of the open file description, as other virtual machine
// software uses them too.
#include "applets/blk/medium.h"

#include <fcntl.h>
#include <time.h>

#include "core/log.h"
#include "core/sys.h"

enum { LOCK_TRIES = 20, LOCK_RETRY_NS = 25 * 1000 * 1000 };

static int set_lock(const struct medium *medium, short type)
{
	struct flock lock = {.l_whence = SEEK_SET, .l_type = type};
	int error = sys_int(fcntl(medium->fd, F_OFD_SETLK, &lock));

	return error == -EACCES ? -EAGAIN : error;
}

int medium_lock(const struct medium *medium)
{
	return set_lock(medium, medium->lock_shared ? F_RDLCK : F_WRLCK);
}

void medium_unlock(const struct medium *medium)
{
	(void)set_lock(medium, F_UNLCK);
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
	medium->lock_shared = options->lock == MEDIUM_LOCK_SHARED ||
			      (options->lock != MEDIUM_LOCK_EXCLUSIVE && medium->read_only);
	if (options->lock == MEDIUM_LOCK_EXCLUSIVE && medium->read_only)
		return log_errno(-EINVAL,
				 "--lock exclusive needs a disk that can be written; leave "
				 "out --read-only");
	if (options->lock == MEDIUM_LOCK_OFF || options->lock_handover)
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
