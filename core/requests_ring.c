// SPDX-License-Identifier: Apache-2.0
// Ring setup (vhost-user.rst, "Ring states"). Each message is remembered whatever the order; a ring runs as
// soon as all that it needs has been said, which the dispatcher looks for after every message.
#include "core/requests_ring.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/sys.h"

static struct queue *state_queue(struct session *session, const struct message *message)
{
	return &session->queues[message->payload.state.index];
}

static struct queue *fd_queue(struct session *session, const struct message *message)
{
	return &session->queues[message->payload.u64 & VHOST_USER_VRING_INDEX_MASK];
}

// True unless the driver has taken, or can only take, the split layout.
static bool may_be_packed(const struct session *session)
{
	u64 features = session->negotiated ? session->features : session_offered_features(session);

	return features & BIT64(VIRTIO_F_RING_PACKED);
}

int request_set_vring_num(struct session *session, struct message *message, struct reply *reply)
{
	struct queue *queue = state_queue(session, message);
	u32 num = message->payload.state.num;

	(void)reply;
	if (num == 0 || num > queue->max_size || (!may_be_packed(session) && !is_power_of_two(num)))
		return log_errno(-EINVAL, "SET_VRING_NUM: %u entries: not %s up to %u%s", num,
				 may_be_packed(session) ? "1" : "a power of two", queue->max_size,
				 session->device->ops->queue_size ? ", which --queue-size says"
								  : "");
	queue->layout.num = (u16)num;
	return 0;
}

// True if the part begins in guest memory but does not end in the same region: no later message can mend that.
static bool part_is_torn(const struct session *session, u64 addr, u64 len)
{
	struct frontend_addr start = {addr};

	return guest_memory_ring(&session->memory, start, 1) &&
	       !guest_memory_ring(&session->memory, start, len);
}

int request_set_vring_addr(struct session *session, struct message *message, struct reply *reply)
{
	const struct vhost_user_vring_addr *addr = &message->payload.addr;
	struct queue *queue = state_queue(session, message);
	bool packed = session->features & BIT64(VIRTIO_F_RING_PACKED);
	struct vring_parts parts = vring_parts(queue->layout.num, packed);

	(void)reply;
	if (addr->descriptor % parts.desc_align || addr->available % parts.avail_align ||
	    addr->used % parts.used_align)
		return log_errno(-EINVAL, "SET_VRING_ADDR: ring %u is not aligned", addr->index);
	if (part_is_torn(session, addr->descriptor, parts.desc_len) ||
	    part_is_torn(session, addr->available, parts.avail_len) ||
	    part_is_torn(session, addr->used, parts.used_len))
		return log_errno(-EINVAL, "SET_VRING_ADDR: ring %u is not within one memory region",
				 addr->index);
	queue->layout.desc.value = addr->descriptor;
	queue->layout.avail.value = addr->available;
	queue->layout.used.value = addr->used;
	queue->layout.log_used = addr->flags & VHOST_VRING_F_LOG;
	queue->layout.log_addr = addr->log;
	queue->have_addr = true;
	queue->vring.misplaced = false;
	return 0;
}

// vhost-user.rst, "Vring descriptor indices for packed virtqueues": both halves, each an index and a wrap counter.
static bool is_base(const struct session *session, u32 base, u32 num)
{
	const u32 index = 0x7fff;

	if (!may_be_packed(session))
		return base <= UINT16_MAX;
	return num == 0 || !(session->features & BIT64(VIRTIO_F_RING_PACKED)) ||
	       ((base & index) < num && (base >> 16 & index) < num);
}

int request_set_vring_base(struct session *session, struct message *message, struct reply *reply)
{
	struct queue *queue = state_queue(session, message);
	u32 base = message->payload.state.num;

	(void)reply;
	if (!is_base(session, base, queue->layout.num))
		return log_errno(-EINVAL, "SET_VRING_BASE: %#x is not in a ring of %u", base,
				 queue->layout.num);
	queue->layout.base = base;
	queue->have_base = true;
	return 0;
}

// vhost-user.rst, VHOST_USER_GET_VRING_BASE: stops the ring, with everything in flight completed.
int request_get_vring_base(struct session *session, struct message *message, struct reply *reply)
{
	struct queue *queue = state_queue(session, message);

	reply->wanted = true;
	reply->len = sizeof(reply->payload.state);
	reply->payload.state.index = message->payload.state.index;
	reply->payload.state.num = queue_take_base(queue);
	return 0;
}

// Only an eventfd takes eight bytes of zero, which change nothing.
static bool is_eventfd(int fd, const struct stat *file)
{
	const u64 nothing = 0;

	return (file->st_mode & S_IFMT) == 0 &&
	       sys(write(fd, &nothing, sizeof(nothing))) == sizeof(nothing);
}

// A driver kicks by an eventfd, which alone is never full. To be called, some front-ends use a pipe, and User Mode Linux one end of
// a pair of sockets; it reads as many bytes as there are.
static bool is_notification_fd(int fd, enum notification_fd kind)
{
	struct stat file;

	if (fstat(fd, &file) != 0)
		return false;
	return is_eventfd(fd, &file) || (kind != NOTIFICATION_KICK && S_ISFIFO(file.st_mode)) ||
	       (kind == NOTIFICATION_CALL && sys_is_unix_socket(fd));
}

int request_take_event_fd(struct message *message, const char *name, enum notification_fd kind,
			  int *fd)
{
	int error = sys_int(fcntl(message->fds[0], F_GETFL));

	if (error >= 0)
		// no other flag may stay: the lockdown ends who sets it (core/server.c)
		error = sys_int(fcntl(message->fds[0], F_SETFL, (error & O_APPEND) | O_NONBLOCK));
	if (error < 0)
		return log_errno(error, "%s: the file descriptor cannot be made nonblocking", name);
	// not before, since even a write of zero to an eventfd whose counter has run over would wait
	if (!is_notification_fd(message->fds[0], kind))
		return log_errno(-EINVAL, "%s: the file descriptor is no eventfd", name);
	*fd = message_take_fd(message, 0);
	return 0;
}

// The message's fd in *fd, or -1 if it says that there is none.
static int take_notification_fd(struct message *message, const char *name,
				enum notification_fd kind, int *fd)
{
	bool none = message->payload.u64 & VHOST_USER_VRING_NO_FD;

	*fd = -1;
	if (none != (message->fd_count == 0))
		return log_errno(-EINVAL, "%s: %u file descriptors with payload %#" PRIx64, name,
				 message->fd_count, message->payload.u64);
	return none ? 0 : request_take_event_fd(message, name, kind, fd);
}

int request_set_vring_kick(struct session *session, struct message *message, struct reply *reply)
{
	struct queue *queue = fd_queue(session, message);
	int fd, error = take_notification_fd(message, "SET_VRING_KICK", NOTIFICATION_KICK, &fd);

	(void)reply;
	if (error)
		return error;
	queue_set_kick_fd(queue, fd);
	queue->started = true;
	return 0;
}

int request_set_vring_call(struct session *session, struct message *message, struct reply *reply)
{
	int fd, error = take_notification_fd(message, "SET_VRING_CALL", NOTIFICATION_CALL, &fd);

	(void)reply;
	if (!error)
		queue_set_call_fd(fd_queue(session, message), fd);
	return error;
}

int request_set_vring_err(struct session *session, struct message *message, struct reply *reply)
{
	int fd, error = take_notification_fd(message, "SET_VRING_ERR", NOTIFICATION_OTHER, &fd);

	(void)reply;
	if (!error)
		queue_set_err_fd(fd_queue(session, message), fd);
	return error;
}

// vhost-user.rst, VHOST_USER_SET_VRING_ENABLE: only with the feature bit, without which rings are always enabled.
int request_set_vring_enable(struct session *session, struct message *message, struct reply *reply)
{
	u32 enable = message->payload.state.num;

	(void)reply;
	if (enable > 1)
		return log_errno(-EINVAL, "SET_VRING_ENABLE: %u is neither 0 nor 1", enable);
	if (session->negotiated && !(session->features & BIT64(VHOST_USER_F_PROTOCOL_FEATURES)))
		return log_errno(-EINVAL,
				 "SET_VRING_ENABLE: VHOST_USER_F_PROTOCOL_FEATURES was not "
				 "negotiated");
	state_queue(session, message)->enabled = enable;
	return 0;
}
