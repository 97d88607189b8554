// SPDX-License-Identifier: Apache-2.0
// Postcopy (vhost-user.rst, VHOST_USER_POSTCOPY_ADVISE, _LISTEN, _END, and what VHOST_USER_SET_MEM_TABLE says of it): the front-end
// gets the userfaultfd, then is told where each region is mapped here, and brings the pages that are waited for.
#include "core/requests_postcopy.h"

#include <inttypes.h>

#include "core/log.h"

// The answer carries the userfaultfd; without one the front-end gives up postcopy. There is one for the life of the process.
int request_postcopy_advise(struct session *session, struct message *message, struct reply *reply)
{
	(void)message;
	reply->wanted = true;
	reply->fd = session->postcopy.fd;
	if (reply->fd < 0)
		log_error("POSTCOPY_ADVISE: this process has received a guest before; start "
			  "another for the next one");
	session->postcopy.advised = reply->fd >= 0;
	session->postcopy.given |= reply->fd >= 0;
	return 0;
}

// Memory that is here already would be touched without the front-end's knowing.
int request_postcopy_listen(struct session *session, struct message *message, struct reply *reply)
{
	(void)message;
	(void)reply;
	if (!session->postcopy.advised)
		return log_errno(-EINVAL, "POSTCOPY_LISTEN: without POSTCOPY_ADVISE");
	if (session->memory.count > 0)
		return log_errno(-EBUSY, "POSTCOPY_LISTEN: %u memory regions are shared already",
				 session->memory.count);
	session->postcopy.listening = true;
	return 0;
}

int request_postcopy_end(struct session *session, struct message *message, struct reply *reply)
{
	(void)message;
	postcopy_end(&session->postcopy, &session->memory);
	return reply_u64(reply, 0);
}

bool postcopy_is_word(const struct session *session, const struct message *message)
{
	return session->postcopy.listening && message->header.size == sizeof(u64) &&
	       message->fd_count == 0;
}

int postcopy_take_word(struct session *session, const struct message *message)
{
	if (message->payload.u64 != 0)
		return log_errno(-ECANCELED,
				 "the front-end cannot bring guest memory: it says %#" PRIx64,
				 message->payload.u64);
	session->postcopy.awaited = false;
	return 0;
}

int request_none(struct session *session, struct message *message, struct reply *reply)
{
	(void)reply;
	if (!postcopy_is_word(session, message))
		return log_errno(-EOPNOTSUPP, "request 0 is not supported");
	return postcopy_take_word(session, message);
}

int postcopy_share(struct session *session, const struct guest_memory *memory,
		   struct vhost_user_region *answer)
{
	unsigned hint = 0;
	const struct guest_region *region =
		guest_memory_find(memory, (struct guest_addr){answer->guest_addr}, &hint);
	int error = postcopy_register(&session->postcopy, region);

	answer->frontend_addr = (uintptr_t)region->host;
	return error;
}
