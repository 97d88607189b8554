// SPDX-License-Identifier: Apache-2.0
//
// A connection that sends messages, and what the back-end may do about each.

#include <errno.h>
#include <string.h>
#include "tests/hostile/hostile.h"

int memory_file(uint64_t len)
{
	int fd = vm_memory_file(len);

	expect(fd >= 0, "memfd: %s", strerror(-fd));
	return fd;
}

static void set_features(struct frontend *frontend)
{
	uint64_t features;

	expect(frontend_get_features(frontend, &features) == 0, "GET_FEATURES has no answer");
	features &= VU_BIT(VM_F_VERSION_1) | VU_BIT(VM_F_PROTOCOL_FEATURES);
	expect(frontend_set_features(frontend, features) == 0, "SET_FEATURES is refused");
}

void meet(const struct target *target, struct frontend *frontend, uint64_t protocol_features)
{
	uint64_t offered;
	int error = frontend_connect(frontend, target->socket, SOON_MS);

	expect(error == 0, "cannot connect: %s", strerror(-error));
	frontend->timeout_ms = SOON_MS;
	set_features(frontend);
	expect(frontend_get_protocol_features(frontend, &offered) == 0,
	       "GET_PROTOCOL_FEATURES has no answer");
	expect(frontend_set_protocol_features(frontend, offered & protocol_features) == 0,
	       "SET_PROTOCOL_FEATURES is refused");
	frontend->need_reply = FRONTEND_ALL_REQUESTS;
}

void expect_answers(struct frontend *frontend)
{
	uint64_t features;
	int error = frontend_get_features(frontend, &features);

	expect(error == 0, "the connection does not go on: %s", strerror(-error));
}

void expect_closed(struct frontend *frontend)
{
	expect(frontend_wait_closed(frontend) == 0, "the connection is not closed");
}

/* Above 63 the mask has no bit: the answer is asked for by hand. */
static int64_t send_asking(struct frontend *frontend, const struct message *message)
{
	struct frontend_message reply;
	int error = frontend_send(frontend, message->request, VU_VERSION | VU_NEED_REPLY,
				  message->payload, message->size, message->fds, message->fd_count);

	if (!error)
		error = frontend_receive_reply(frontend, message->request, &reply);
	if (error)
		return error;
	expect(reply.header.size == sizeof(uint64_t), "request %u is answered by %u bytes",
	       message->request, reply.header.size);
	return reply.payload.u64 != 0;
}

void expect_accepted(struct frontend *frontend, const struct message *message)
{
	int64_t answer = send_asking(frontend, message);

	expect(answer == 0, "request %u with %u bytes and %zu fds is not accepted: %jd",
	       message->request, message->size, message->fd_count, (intmax_t)answer);
}

void expect_refused(const struct target *target, struct frontend *frontend,
		    const struct message *message)
{
	unsigned fds = target_fds(target), maps = target_maps(target);
	int64_t answer = send_asking(frontend, message);

	expect(answer == 1, "request %u with %u bytes and %zu fds is not refused: %jd",
	       message->request, message->size, message->fd_count, (intmax_t)answer);
	expect_answers(frontend);
	expect(target_fds(target) == fds, "request %u was refused and left %u fds, before it %u",
	       message->request, target_fds(target), fds);
	expect(target_maps(target) == maps, "request %u was refused and left a mapping",
	       message->request);
}

void expect_refused_or_closed(const struct target *target, const struct message *message)
{
	struct frontend frontend;

	meet(target, &frontend, EVERYTHING);
	expect_refused(target, &frontend, message);
	frontend_send(&frontend, message->request, VU_VERSION, message->payload, message->size,
		      message->fds, message->fd_count);
	expect_closed(&frontend);
	frontend_close(&frontend);
}

void expect_bytes_close(const struct target *target, const void *bytes, size_t len, const int *fds,
			size_t fd_count)
{
	struct frontend frontend;
	int error;

	meet(target, &frontend, EVERYTHING);
	error = frontend_send_bytes(&frontend, bytes, len, fds, fd_count);
	expect(error == 0, "cannot send: %s", strerror(-error));
	expect_closed(&frontend);
	frontend_close(&frontend);
}
