// SPDX-License-Identifier: Apache-2.0
// What is said of the host's errors, and the one that is never forgotten: a flush that has failed.
#include <stdio.h>
#include <string.h>

#include "applets/blk/blk.h"
#include "core/log.h"
#include "core/sys.h"

enum { SECOND_NS = 1000000000 };

// A guest may cause as many errors as it likes. *unsaid: those that found no room since the last that did.
static bool has_room(struct blk *blk, unsigned *unsaid)
{
	u64 second = sys_clock_coarse_ns() / SECOND_NS;

	if (__atomic_exchange_n(&blk->error_second, second, __ATOMIC_RELAXED) == second) {
		__atomic_fetch_add(&blk->errors_unsaid, 1, __ATOMIC_RELAXED);
		return false;
	}
	*unsaid = __atomic_exchange_n(&blk->errors_unsaid, 0, __ATOMIC_RELAXED);
	return true;
}

static const char *operation(const struct blk_request *request)
{
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
		return "read";
	case VIRTIO_BLK_T_OUT:
		return "write";
	case VIRTIO_BLK_T_DISCARD:
		return "discard";
	default:
		return "write zeroes";
	}
}

static void say(struct blk *blk, const char *what, int error)
{
	char earlier[64] = "";
	unsigned unsaid = 0;

	if (error == -EFAULT || !has_room(blk, &unsaid))
		return; // guest memory has gone, which is said elsewhere
	if (unsaid > 0)
		snprintf(earlier, sizeof(earlier), " (%u more errors before)", unsaid);
	log_error("the disk cannot %s%s: %s", what, earlier,
		  error ? strerror(-error) : "it has become shorter");
}

void blk_error_log(const struct blk_request *request, int error)
{
	char what[64] = "flush";

	if (request->step != BLK_FLUSH)
		snprintf(what, sizeof(what), "%s at byte %llu", operation(request),
			 (unsigned long long)request->offset);
	say(request->worker->blk, what, error);
}

int blk_error_of_flush(struct blk *blk, int result)
{
	int none = 0;

	if (result < 0 && !blk->medium.direct &&
	    __atomic_compare_exchange_n(&blk->flush_error, &none, result, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED))
		log_error("the host may have lost what the guest has written, so flushes fail from "
			  "now on; check the disk, then start anew: %s",
			  strerror(-result));
	return result < 0 ? result : __atomic_load_n(&blk->flush_error, __ATOMIC_RELAXED);
}

int blk_error_flush_now(struct blk *blk)
{
	int error = blk_error_of_flush(blk, 0);

	if (error)
		return error;
	error = sys_int(fdatasync(blk->medium.fd));
	if (error)
		say(blk, "flush", error);
	return blk_error_of_flush(blk, error);
}
